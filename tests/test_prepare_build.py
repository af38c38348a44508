"""What holds for every recipe: nothing half-written, copies found, manifests that repeat, damaged files named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from bioseg_cli.config import build_config, read_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.files import sha256_of
from bioseg_cli.prepare.build import build_dataset
from bioseg_cli.prepare.settings import DemoConfig, FolderConfig
from bioseg_cli.runs.console import Output

QUIET = Output(quiet=True)
SIDE = 32


def demo(out: Path, *, overwrite: bool = False, **settings: object) -> dict:
    config = build_config(DemoConfig, {"out": out, "images": 5, "size": 64, **settings})
    return build_dataset(config, QUIET, overwrite=overwrite)


def fill(root: Path, count: int = 6) -> tuple[Path, Path]:
    images, masks = root / "images", root / "masks"
    images.mkdir()
    masks.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        tifffile.imwrite(images / f"c{number}.tif", rng.integers(0, 5000, (SIDE, SIDE)).astype(np.uint16))
        tifffile.imwrite(masks / f"c{number}.tif", np.eye(SIDE, dtype=np.uint8))
    return images, masks


def prepare(root: Path, **settings: object) -> dict:
    values = {"images": root / "images", "masks": root / "masks", "out": root / "set.h5", **settings}
    return build_dataset(build_config(FolderConfig, values), QUIET, overwrite=False)


def test_an_existing_data_set_is_kept(tmp_path) -> None:
    out = tmp_path / "set.h5"
    demo(out)
    before = sha256_of(out)
    with pytest.raises(UsageError, match="exists already"):
        demo(out, seed=1)
    assert sha256_of(out) == before
    demo(out, seed=1, overwrite=True)
    assert sha256_of(out) != before


def test_another_files_manifest_is_kept_and_nothing_is_read_first(tmp_path) -> None:
    (tmp_path / "set.yaml").write_text("mine: true")
    with pytest.raises(UsageError, match="exists already"):
        prepare(tmp_path)
    assert (tmp_path / "set.yaml").read_text() == "mine: true"


def test_a_failure_keeps_what_was_there_and_leaves_nothing_else(tmp_path) -> None:
    images, _ = fill(tmp_path)
    prepare(tmp_path)
    before = sha256_of(tmp_path / "set.h5")
    last = images / "c5.tif"
    last.write_bytes(last.read_bytes()[: -SIDE * SIDE])
    values = {"images": images, "masks": tmp_path / "masks", "out": tmp_path / "set.h5"}
    with pytest.raises(DataError) as caught:
        build_dataset(build_config(FolderConfig, values), QUIET, overwrite=True)
    assert str(last) in str(caught.value)
    assert sha256_of(tmp_path / "set.h5") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks", "set.h5", "set.yaml"]


def damage_nan(path: Path) -> None:
    pixels = np.ones((SIDE, SIDE), np.float32)
    pixels[3, 3] = np.nan
    for other in path.parent.iterdir():
        tifffile.imwrite(other, np.random.default_rng(1).random((SIDE, SIDE)).astype(np.float32) + len(other.name))
    tifffile.imwrite(path, pixels)


def damage_volume(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((5, SIDE, SIDE), np.uint16), imagej=True, metadata={"axes": "ZYX"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"no image at all"), "could not be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "could not be read|truncated"),
        (damage_nan, "1 values? .*not finite"),
        (damage_volume, "volume|3-D"),
    ],
)
def test_damaged_images_are_named(tmp_path, damage, message) -> None:
    images, _ = fill(tmp_path)
    damage(images / "c3.tif")
    with pytest.raises(DataError, match=message) as caught:
        prepare(tmp_path)
    assert "c3.tif" in str(caught.value)
    assert caught.value.exit_code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks"]


def test_a_copy_in_another_split_is_refused(tmp_path) -> None:
    images, masks = fill(tmp_path, 20)
    # Another header, the same pixels: a hash of the files would not tell.
    tifffile.imwrite(images / "copy.tif", tifffile.imread(images / "c0.tif"), description="exported again")
    shutil.copy(masks / "c0.tif", masks / "copy.tif")
    refused, noted = 0, 0
    for seed in range(6):
        try:
            summary = prepare(tmp_path, seed=seed, out=tmp_path / f"{seed}.h5")
        except DataError as error:
            assert "c0.tif" in str(error)
            assert "copy.tif" in str(error)
            assert not (tmp_path / f"{seed}.h5").exists()
            refused += 1
        else:
            assert "1 images are copies of another one in the same split" in summary["notes"]
            noted += 1
    assert refused
    assert noted


def test_blank_images_are_no_copies(tmp_path) -> None:
    images, masks = fill(tmp_path, 12)
    for number in range(6):
        tifffile.imwrite(images / f"blank{number}.tif", np.zeros((SIDE, SIDE), np.uint16))
        shutil.copy(masks / "c0.tif", masks / f"blank{number}.tif")
    prepare(tmp_path)


def test_a_single_class_in_training_is_refused(tmp_path) -> None:
    _, masks = fill(tmp_path)
    for path in masks.iterdir():
        tifffile.imwrite(path, np.ones((SIDE, SIDE), np.uint8))
    with pytest.raises(DataError, match="one class, 'foreground'"):
        prepare(tmp_path)


def test_the_manifest_repeats_the_data_set(tmp_path) -> None:
    first = demo(tmp_path / "a.h5", seed=7)
    values = read_config(tmp_path / "a.yaml", DemoConfig)
    second = demo(**{**values, "out": tmp_path / "b.h5"})
    assert first["content_hash"] == second["content_hash"]
    manifest = yaml.safe_load((tmp_path / "a.yaml").read_text())
    assert manifest["command"] == "prepare demo"
    assert manifest["dataset"] == first
    assert {"bioseg", "python", "packages"} <= set(manifest["environment"])


def test_the_content_hash_does_not_depend_on_places(tmp_path) -> None:
    hashes = set()
    for name in ("here", "there"):
        root = tmp_path / name
        root.mkdir()
        fill(root)
        hashes.add(prepare(root)["content_hash"])
    assert len(hashes) == 1


def test_no_class_codes_beyond_the_classes(tmp_path) -> None:
    demo(tmp_path / "set.h5", crop=80)
    with Dataset(tmp_path / "set.h5") as dataset:
        assert set(np.unique(dataset.labels(0)).tolist()) == {0, 1, 255}
        assert dataset.info.settings["kind"] == "nuclei"


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from bioseg_cli.errors import BiosegError
from bioseg_cli.prepare.build import build_dataset
from bioseg_cli.prepare.settings import DemoConfig
from bioseg_cli.runs.console import Output
try:
    build_dataset(DemoConfig(out=Path(sys.argv[1]), images=20, size=128), Output(quiet=True), overwrite=True)
except BiosegError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_file_that_cannot_grow_leaves_nothing(tmp_path) -> None:
    """A limit on the size of a file stands in for a full disk: the write fails half way."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "set.h5")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert str(tmp_path / "set.h5") in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_torch_is_never_imported() -> None:
    code = "import bioseg_cli.prepare.build, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_settings_import_nothing_heavy() -> None:
    code = "import bioseg_cli.commands.prepare, sys; sys.exit(bool({'numpy', 'h5py', 'requests'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_every_error_is_one_of_ours(tmp_path) -> None:
    with pytest.raises(BiosegError):
        prepare(tmp_path)
    json.dumps(demo(tmp_path / "set.h5"), allow_nan=False)
