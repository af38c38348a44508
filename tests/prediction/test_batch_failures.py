"""A failure that belongs to one of many never ends the others; one that belongs to all of them ends at once."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from click.testing import Result
from conftest import discs
from helpers.jobs import in_turn
from helpers.models import record_of, save_random_model

from bioseg_cli.config import build_config
from bioseg_cli.errors import DataError, OutputError
from bioseg_cli.io.images import ImageFile
from bioseg_cli.model.unet import UNet
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.prediction import image_output, outputs
from bioseg_cli.prediction.gathered import GatheredFrame
from bioseg_cli.prediction.part import WANTED, Part, PartEnd
from bioseg_cli.prepare.recipes.folder import collect
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.study.results import is_scored, write_scores

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
KINDS: list[Exception] = [
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range"),
    OSError(errno.EIO, "Input/output error"),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    PermissionError(errno.EACCES, "Permission denied"),
    KeyError("axes"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images `a`, `bad` and `c` of one size, `large` of two tiles of 64, and `movie` of two frames."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(("a", "bad", "c")):
        tifffile.imwrite(folder / f"{name}.tif", discs(number)[0][0])
    tifffile.imwrite(folder / "large.tif", discs(4, size=100)[0][0])
    movie = np.stack([discs(number)[0][0] for number in (5, 6)])
    tifffile.imwrite(folder / "movie.tif", movie, photometric="minisblack", metadata={"axes": "TYX"})
    return folder


def raising(original: Callable[..., Any], error: Exception, concerns: Callable[..., bool]) -> Callable[..., Any]:
    """A function that fails where its arguments are such, and is the original elsewhere."""

    def function(*arguments: Any, **options: Any) -> Any:
        if concerns(*arguments):
            raise error
        return original(*arguments, **options)

    return function


def spoil(monkeypatch: pytest.MonkeyPatch, phase: str, name: str, error: Exception) -> None:
    """Have a phase of the prediction of one image fail."""
    if phase == "opening":
        monkeypatch.setattr(
            ImageFile, "__init__", raising(ImageFile.__init__, error, lambda _, path, *__: path.stem == name)
        )
    elif phase == "reading":
        monkeypatch.setattr(ImageFile, "read", raising(ImageFile.read, error, lambda file, *_: file.path.stem == name))
    elif phase == "drawing":
        drawn = image_output.ImageOutput._kept

        def kept(self: image_output.ImageOutput, *arguments: Any) -> Iterator[Any]:
            if self.source.name == name:
                monkeypatch.setattr(GatheredFrame, "draw", raising(GatheredFrame.draw, error, lambda *_: True))
            else:
                monkeypatch.setattr(GatheredFrame, "draw", draw)
            yield from drawn(self, *arguments)

        draw = GatheredFrame.draw
        monkeypatch.setattr(outputs, "THREADS", 1)
        monkeypatch.setattr(image_output.ImageOutput, "_kept", kept)
    else:
        write = image_output.write_pages
        monkeypatch.setattr(
            image_output, "write_pages", raising(write, error, lambda path, *_: f".{name}." in path.name)
        )


@pytest.mark.parametrize("name", ["bad", "large", "movie"])
@pytest.mark.parametrize(("phase", "error"), [("opening", KINDS[0]), ("reading", KINDS[0]), ("writing", KINDS[0])])
def test_memory_that_one_image_needs_fails_that_image(
    bioseg: Bioseg,
    model: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    phase: str,
    error: Exception,
) -> None:
    spoil(monkeypatch, phase, name, error)
    out = tmp_path / "out"
    result = bioseg("predict", model, images, "--out", out, "--tile", 64, "--overlay")
    assert result.exit_code == 1, result.output
    assert f"Left out: Memory ran out over this image. in {images / name}.tif" in result.stderr
    assert "1 of 5 images failed, the rest is done" in result.stderr
    names = sorted({"a", "bad", "c", "large", "movie"} - {name})
    assert sorted(path.stem for path in out.glob("*.tif")) == names
    record = record_of(out)
    assert [entry["name"] for entry in record["files"]] == names
    assert [entry["name"] for entry in record["failures"]] == [name]
    assert not [path for path in out.rglob("*") if name in path.name]


@pytest.mark.parametrize("phase", ["opening", "reading", "drawing", "writing"])
@pytest.mark.parametrize("error", KINDS[1:], ids=lambda error: type(error).__name__)
def test_whatever_fails_for_one_image_fails_that_image(
    bioseg: Bioseg,
    model: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    error: Exception,
) -> None:
    if phase in ("drawing", "writing") and isinstance(error, OSError) and error.errno != errno.ENOENT:
        pytest.skip("a disk that fails, fails for all")
    spoil(monkeypatch, phase, "bad", error)
    result = bioseg("predict", model, images, "--out", tmp_path / "out", "--overlay")
    assert result.exit_code == 1, result.output
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.tif")) == ["a", "c", "large", "movie"]
    (failure,) = record_of(tmp_path / "out")["failures"]
    assert failure["name"] == "bad"
    assert str(images / "bad.tif") in failure["error"] or "out" in failure["error"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_disk_that_fails_ends_at_once(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    spoil(monkeypatch, "writing", "bad", OSError(number, "the disk"))
    result = bioseg("predict", model, images, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "Left out" not in result.stderr


def test_an_image_that_the_network_chokes_on_is_taken_out_of_its_batch(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(images / "bad.tif", np.full((48, 48), 65535, np.uint16))
    forward = UNet.forward

    def choking(self: UNet, pixels: torch.Tensor) -> Any:
        if any(bool((image == 1).all()) for image in pixels):
            raise ValueError("nothing but white")
        return forward(self, pixels)

    monkeypatch.setattr(UNet, "forward", choking)
    result = bioseg("predict", model, images, "--out", tmp_path / "out")
    assert result.exit_code == 1, result.output
    assert "The image could not be predicted (ValueError: nothing but white)" in result.stderr
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.tif")) == ["a", "c", "large", "movie"]


def test_a_device_that_fails_ends_at_once(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: UNet, pixels: torch.Tensor) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(UNet, "forward", failing)
    result = bioseg("predict", model, images, "--out", tmp_path / "out")
    assert result.exit_code == 4 and "illegal memory access" in result.stderr


def test_a_vanished_folder_and_a_file_without_permission_are_not_faults_of_bioseg(
    bioseg: Bioseg, model: Path, tmp_path: Path
) -> None:
    result = bioseg("predict", model, tmp_path / ("n" * 300), "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "The system refuses: File name too long" in result.stderr and "fault in bioseg" not in result.stderr


CRASH_ON_BAD = """
import sys
if "bioseg_cli.prediction.worker" in " ".join(sys.orig_argv):
    import os
    import tifffile
    opened = tifffile.TiffFile.__init__
    def crash(self, file, *arguments, **options):
        if str(file).endswith("bad.tif"):
            os._exit(9)
        return opened(self, file, *arguments, **options)
    tifffile.TiffFile.__init__ = crash
"""


def test_a_file_that_crashes_its_process_takes_no_other_with_it(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CRASH_ON_BAD)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    monkeypatch.setattr("bioseg_cli.prediction.distributed.run_jobs", in_turn)
    monkeypatch.setattr("bioseg_cli.prediction.distributed.PARTS_EACH", 1)
    for name in ("large", "movie"):
        (images / f"{name}.tif").unlink()
    out = tmp_path / "out"
    result = bioseg("predict", model, images, "--out", out, "--jobs", 2)
    assert result.exit_code == 1, result.output
    assert "1 of 3 images failed" in result.stderr and "exit code 9" in result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a.tif", "c.tif", "predictions.yaml"]
    record = record_of(out)
    assert [entry["name"] for entry in record["files"]] == ["a", "c"]
    assert [entry["name"] for entry in record["failures"]] == ["bad"]


def test_a_full_disk_in_a_process_ends_all_of_them(
    bioseg: Bioseg, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def full(_: object, jobs: list[Any], **__: object) -> Iterator[Any]:
        for job in jobs:
            asked.append(job)
            what, fix = "The disk is full: the file was not written", "Free some space and run again."
            yield job, PartEnd(unwritable=(what, fix))

    monkeypatch.setattr("bioseg_cli.prediction.distributed.run_jobs", full)
    result = bioseg("predict", model, images, "--out", tmp_path / "out", "--jobs", 2)
    assert result.exit_code == 3 and len(asked) == 1
    assert result.stderr.endswith(
        f"Error: The disk is full: the file was not written\nin {tmp_path / 'out'}\nFree some space and run again.\n"
    )


def test_what_a_process_says_of_a_full_disk(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioseg_cli.prediction.settings import PredictConfig
    from bioseg_cli.prediction.worker import perform

    spoil(monkeypatch, "writing", "bad", OSError(errno.ENOSPC, "No space left on device"))
    (tmp_path / WANTED).touch()
    config = PredictConfig(run=model, inputs=(images / "bad.tif",), out=tmp_path / "part")
    part = Part(number=0, names=("bad",), config=config, threads=None, processes=1, rules=ObjectRules())
    line = part.to_line().encode()
    assert perform(line) == {
        "unwritable": ["The disk is full: the file was not written", "Free some space and run again."]
    }


def test_a_run_that_cannot_be_scored_leaves_the_others(
    bioseg: Bioseg, disc_run: Path, disc_dataset: Path, tmp_path: Path
) -> None:
    for name in ("damaged", "bare", "gone"):
        shutil.copytree(disc_run, tmp_path / name)
    (tmp_path / "damaged/checkpoints/best-supervised.safetensors").write_bytes(b"\0" * 99)
    (tmp_path / "bare/manifest.yaml").write_text("command: train-uda\n")
    manifest = tmp_path / "gone/manifest.yaml"
    manifest.write_text(manifest.read_text().replace(str(disc_dataset), str(tmp_path / "gone.h5")))
    runs = [tmp_path / "none", tmp_path / "damaged", disc_run, tmp_path / "bare", tmp_path / "gone"]
    result = bioseg("evaluate", *runs, "--json", "--out", tmp_path / "report", "--csv", tmp_path / "table.csv")
    assert result.exit_code == 1, result.output
    assert "4 of 5 runs could not be scored, the others were" in result.stderr
    document = json.loads(result.stdout)
    assert [run["run"] for run in document["runs"]] == [str(disc_run)]
    assert {failure["run"] for failure in document["failures"]} == {str(run) for run in runs if run != disc_run}
    written = json.loads((tmp_path / "report/evaluation.json").read_text())
    assert written["failures"] == document["failures"] and (tmp_path / "table.csv").is_file()
    alone = bioseg("evaluate", disc_run, "--json")
    assert json.loads(alone.stdout)["runs"] == document["runs"]


def test_not_one_run_can_be_scored(bioseg: Bioseg, tmp_path: Path) -> None:
    result = bioseg("evaluate", tmp_path / "a", tmp_path / "b")
    assert result.exit_code == 3 and "Not one of the 2 runs could be scored" in result.stderr


def test_damaged_scores_are_none(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(write_scores([], {"split": "val"}, "hash"))
    assert is_scored(path, {"split": "val"}, "hash")
    path.write_text("{")
    assert not is_scored(path, {"split": "val"}, "hash")


def test_all_unreadable_images_are_named_in_one_error(images: Path) -> None:
    for name in ("a", "c"):
        (images / f"{name}.tif").write_text("not an image")
    config = build_config(FolderConfig, {"images": images, "out": "x.h5"})
    with pytest.raises(DataError, match="2 of 5 files cannot be used") as caught:
        collect(config, ConsoleOutput(quiet=True))
    assert not isinstance(caught.value, OutputError)
    assert "a.tif (" in caught.value.what and "c.tif (" in caught.value.what
    assert caught.value.where == str(images)
