"""What holds for every recipe: nothing half-written, copies found, manifests that repeat, damaged files named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from bioseg_cli.config import ClassInfo, build_config, read_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Drawn
from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.io.files import sha256_of
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipe import Collection, Loaded, SourceImage
from bioseg_cli.prepare.recipes.settings import DemoConfig, FolderConfig
from bioseg_cli.runs.console import ConsoleOutput

pytestmark = pytest.mark.slow

QUIET = ConsoleOutput(quiet=True)
SIDE = 32


def demo(out: Path, *, overwrite: bool = False, **settings: object) -> dict:
    config = build_config(DemoConfig, {"out": out, "images": 5, "size": 64, **settings})
    return session.run(config, QUIET, overwrite=overwrite).to_json()


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
    return session.run(build_config(FolderConfig, values), QUIET, overwrite=False).to_json()


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
        session.run(build_config(FolderConfig, values), QUIET, overwrite=True)
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
from bioseg_cli.prepare import session
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.prepare.recipe import Collection, SourceImage
from bioseg_cli.prepare.recipes.settings import DemoConfig
from bioseg_cli.runs.console import ConsoleOutput
try:
    session.run(DemoConfig(out=Path(sys.argv[1]), images=20, size=128), ConsoleOutput(quiet=True), overwrite=True)
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
    code = "import bioseg_cli.prepare.session, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_settings_import_nothing_heavy() -> None:
    code = (
        "import bioseg_cli.cli.commands.prepare, sys; sys.exit(bool({'numpy', 'h5py', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_every_error_is_one_of_ours(tmp_path) -> None:
    with pytest.raises(BiosegError):
        prepare(tmp_path)
    json.dumps(demo(tmp_path / "set.h5"), allow_nan=False)


@pytest.fixture
def build_from(monkeypatch, tmp_path) -> Callable[..., dict]:
    """Build `set.h5` from images whose pixels and mask `load(number)` gives, as another recipe would."""

    def build(load: Callable[[int], tuple], *, count: int = 12, crop: int = 0, **collected: object) -> dict:
        plane = collected.pop("plane", None)

        def loaded(number: int) -> Loaded:
            pixels, labels = load(number)
            return Loaded(pixels, Drawn(labels))

        images = tuple(
            SourceImage(f"s{i}", 0, (SIDE, SIDE), f"g{i}", True, partial(loaded, i), plane=plane) for i in range(count)
        )
        classes = (BACKGROUND, ClassInfo(name="tissue", colour=(1, 2, 3)))
        collection = Collection(images, classes, 1, np.dtype(np.uint8), True, "given", **collected)
        monkeypatch.setattr(DemoConfig, "collect", lambda config, output: collection)
        return session.run(DemoConfig(out=tmp_path / "set.h5", crop=crop), QUIET, overwrite=False).to_json()

    return build


def pixels_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.random.default_rng(number).integers(0, 256, (1, SIDE, SIDE), dtype=np.uint8)
    return pixels, (pixels[0] > 99).astype(np.uint8)


def test_images_stay_in_order_however_long_each_takes(build_from, tmp_path) -> None:
    second = threading.Event()

    def load(number: int) -> tuple[np.ndarray, np.ndarray]:
        # The first image is ready only after the second one, where there are threads for both.
        if number == 0:
            second.wait(0.5)
        elif number == 1:
            second.set()
        return pixels_of(number)

    build_from(load)
    with Dataset(tmp_path / "set.h5") as dataset:
        for number in range(12):
            np.testing.assert_array_equal(dataset.image(number), pixels_of(number)[0])
            np.testing.assert_array_equal(dataset.labels(number), pixels_of(number)[1])
            assert dataset.source(number).file == f"s{number}"


def test_of_several_bad_images_the_first_is_named(build_from, tmp_path) -> None:
    def load(number: int) -> tuple[np.ndarray, np.ndarray]:
        if number in (5, 6):
            raise DataError(f"number {number} is bad")
        return pixels_of(number)

    with pytest.raises(DataError, match="number 5"):
        build_from(load)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("heeded")
def test_an_interrupt_ends_all_threads_and_leaves_nothing(build_from, tmp_path) -> None:
    loaded: list[int] = []

    def load(number: int) -> tuple[np.ndarray, np.ndarray]:
        loaded.append(number)
        if number == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return pixels_of(number)

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        build_from(load, count=5000)
    assert threading.active_count() == before
    assert len(loaded) < 2500
    assert list(tmp_path.iterdir()) == []


def test_scratch_files_are_discarded_when_they_are_of_no_more_use(build_from, tmp_path) -> None:
    present: list[list[str]] = []

    def discard() -> None:
        present.append(sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")))

    with pytest.raises(DataError, match="one value"):
        build_from(lambda number: (np.zeros((1, SIDE, SIDE), np.uint8), np.eye(SIDE, dtype=np.uint8)), discard=discard)
    assert present == [[]]
    build_from(pixels_of, discard=discard)
    assert present[1:] == [["set.h5", "set.yaml"]]


def test_a_crops_plane_is_that_of_its_own_pixels(build_from, tmp_path) -> None:
    plane = np.array([[0.5, 0, 0, 10], [0, 0, 1, 20], [0, 0.25, 0, 30]])
    build_from(pixels_of, crop=8, plane=plane)
    with Dataset(tmp_path / "set.h5") as dataset:
        source = dataset.source(0)
        assert source.origin == (12, 12)
        assert source.plane == ((0.5, 0, 0, 16), (0, 0, 1, 20), (0, 0.25, 0, 33))
