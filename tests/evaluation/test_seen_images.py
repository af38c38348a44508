"""A run is not scored unasked on images that it was trained on, in whatever data set they stand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from conftest import SIZE, SPLITS, discs, write_discs

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.seen import seen_images

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
TURNED: tuple[SplitName, ...] = ("test", "test", *("train",) * 6, "val", "val", "test", "val", "test")
"""Of the test images, two are training images of `disc_run`, one is a validation image, and one is a test image."""
TINY = ("--width", 2, "--steps", 1, "--quiet")


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `disc_dataset` with other splits."""
    return write_discs(tmp_path_factory.mktemp("data") / "turned.h5", TURNED)


@pytest.fixture
def copied_run(disc_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(disc_run, tmp_path / "copied")


def scored(bioseg: Cli, run: Path, *options: object) -> dict[str, Any]:
    result = bioseg("evaluate", run, "--json", "--baselines", "none", *options)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["runs"]
    return found


def said(result: Result) -> str:
    return " ".join(result.output.split())


def copied_without_its_data(run: Path, to: Path) -> Path:
    """A copy of a run whose data set is gone."""
    shutil.copytree(run, to)
    manifest = to / "manifest.yaml"
    data = RunDirectory.open(to).manifest.data.path
    manifest.write_text(manifest.read_text().replace(data, str(to.with_name("gone.h5"))))
    return to


def test_images_that_it_was_trained_on_are_refused_and_named_where_they_are_wanted(
    bioseg: Cli, disc_run: Path, turned: Path
) -> None:
    refused = bioseg("evaluate", disc_run, "--data", turned, "--split", "test")
    assert refused.exit_code == 3
    assert f"{disc_run} was trained on 2 of the 4 scored images: disc0, disc1" in said(refused)
    assert "Score it on other images, or give --allow-seen." in said(refused)
    found = scored(bioseg, disc_run, "--data", turned, "--split", "test", "--allow-seen")
    assert found["seen"] == {"trained": ["disc0", "disc1"], "validated": ["disc10"]}
    assert found["images"] == 4
    notes = " ".join(found["notes"])
    assert "trained on 2 of the 4 scored images: disc0, disc1. Its figures say little of new images." in notes
    assert "were chosen on 1 of the scored images, which flatters it." in notes
    shown = bioseg("evaluate", disc_run, "--data", turned, "--split", "test", "--allow-seen")
    assert "was trained on 2 of the 4 scored images" in said(shown)


def test_a_run_alone_is_refused_and_others_are_scored(
    bioseg: Cli, disc_run: Path, disc_control: Path, tmp_path: Path
) -> None:
    labelled = RunDirectory.open(disc_control).manifest.labels.images
    unused = [index for index in range(8) if f"disc{index}" not in labelled]
    splits = tuple("test" if index in unused else "train" for index in range(8))
    data = write_discs(tmp_path / "unused.h5", splits)
    result = bioseg("evaluate", disc_run, disc_control, "--data", data, "--split", "test", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    # The control learnt from its labelled images alone.
    assert [row["run"] for row in document["runs"]] == [str(disc_control)]
    assert document["runs"][0]["seen"] == {"trained": [], "validated": []}
    assert "was trained on 4 of the 4 scored images" in document["failures"][0]["error"]
    refused = bioseg(
        "evaluate", disc_control, "--control", disc_control, "--data", turned_to_labels(tmp_path, labelled)
    )
    assert refused.exit_code == 3 and "was trained on 4 of the 4 scored images" in said(refused)


def turned_to_labels(folder: Path, labelled: tuple[str, ...]) -> Path:
    splits = tuple("val" if f"disc{index}" in labelled else "train" for index in range(8))
    return write_discs(folder / "labels.h5", splits)


def test_images_of_its_own_data_set_are_scored_as_ever(bioseg: Cli, disc_run: Path, disc_dataset: Path) -> None:
    for options in ((), ("--data", disc_dataset), ("--split", "train"), ("--split", "train", "--data", disc_dataset)):
        found = scored(bioseg, disc_run, *options)
        assert "seen" not in found


def write_changed(
    path: Path,
    *,
    file: Callable[[int], str],
    pixels: Callable[[np.ndarray], np.ndarray],
    origin: tuple[int, int] = (0, 0),
) -> Path:
    """The first three training images as test images, from other files, with other pixels, or cut otherwise."""
    with (
        Dataset(write_discs(path.with_name(f"any-{path.name}"), ("train", "val"))) as other,
        DatasetWriter(path, count=3, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer,
    ):
        for index in range(3):
            image, mask = discs(index)
            shape = (SIZE + 30, SIZE + 30)
            source = ItemSource(f"new{index}.tif", file(index), 0, origin, shape)
            writer.add(Item(pixels(image), mask, "test", f"g{index}", source))
        writer.finish(other.info)
    return path


def test_an_image_is_known_by_its_file_and_by_its_pixels(bioseg: Cli, disc_run: Path, tmp_path: Path) -> None:
    same_file, other_file = (lambda index: f"{index:064x}"), (lambda index: f"{99 + index:064x}")
    same, other = (lambda image: image), (lambda image: image + 1)
    cases = {
        "pixels": ({"file": other_file, "pixels": same}, True),
        "file": ({"file": same_file, "pixels": other}, True),
        "neither": ({"file": other_file, "pixels": other}, False),
        "corner": ({"file": same_file, "pixels": other, "origin": (20, 20)}, True),
        "beside": ({"file": same_file, "pixels": other, "origin": (0, SIZE)}, False),
    }
    for name, (changes, seen) in cases.items():
        data = write_changed(tmp_path / f"{name}.h5", **changes)
        result = bioseg("evaluate", disc_run, "--data", data, "--split", "test", "--baselines", "none")
        assert result.exit_code == (3 if seen else 0), (name, result.output)


def test_blank_images_of_other_files_were_not_seen(bioseg: Cli, tmp_path: Path) -> None:
    def blank(image: np.ndarray) -> np.ndarray:
        return np.full_like(image, 700)

    data = tmp_path / "some.h5"
    with (
        Dataset(write_discs(tmp_path / "any.h5")) as other,
        DatasetWriter(data, count=13, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer,
    ):
        for index, split in enumerate(SPLITS):
            image, mask = discs(index)
            writer.add(Item(blank(image) if index < 3 else image, mask, split, f"g{index}", other.source(index)))
        writer.finish(other.info)
    assert bioseg("train-uda", data, "--run", tmp_path / "run", *TINY).exit_code == 0
    scoring = write_changed(tmp_path / "blank.h5", file=lambda index: f"{99 + index:064x}", pixels=blank)
    found = scored(bioseg, tmp_path / "run", "--data", scoring, "--split", "test")
    assert found["seen"]["trained"] == []


def test_a_run_knows_its_images_when_its_data_set_is_gone(
    bioseg: Cli, disc_run: Path, turned: Path, tmp_path: Path
) -> None:
    run = copied_without_its_data(disc_run, tmp_path / "moved")
    refused = bioseg("evaluate", run, "--data", turned, "--split", "test")
    assert refused.exit_code == 3 and "was trained on 2 of the 4 scored images" in said(refused)
    (run / "images.json").unlink()
    found = scored(bioseg, run, "--data", turned, "--split", "test")
    assert found["seen"] == {"trained": None, "validated": None}
    assert any("is not known: its data set is gone or has changed." in note for note in found["notes"])


def test_the_data_set_of_a_run_of_an_earlier_version_tells_its_images(
    bioseg: Cli, copied_run: Path, turned: Path
) -> None:
    recorded = seen_images(RunDirectory.open(copied_run))
    (copied_run / "images.json").unlink()
    assert seen_images(RunDirectory.open(copied_run)) == recorded
    refused = bioseg("evaluate", copied_run, "--data", turned, "--split", "test")
    assert refused.exit_code == 3 and "was trained on 2 of the 4 scored images" in said(refused)


@pytest.mark.parametrize(
    "content",
    [
        "[",
        "[" * 100_000,
        "{}",
        '["a"]',
        '[{"name": "a"}]',
        '[{"name": "a", "use": "labelled", "through": null}]',
        '[{"name": ["a"], "use": "labelled", "through": null, "file": "a", "sha256": "", "frame": 0, '
        '"rows": [0, 1e999], "columns": [0, 1], "in_volume": false, "pixels": ""}]',
    ],
    ids=["broken", "deep", "mapping", "text", "name alone", "no identity", "wrong types"],
)
def test_a_damaged_record_of_the_images_is_named(bioseg: Cli, copied_run: Path, turned: Path, content: str) -> None:
    (copied_run / "images.json").write_text(content)
    refused = bioseg("evaluate", copied_run, "--data", turned)
    assert refused.exit_code == 3
    assert "The record of the images that the run has seen is damaged" in said(refused)


def test_what_the_weights_were_trained_on_that_it_began_with_counts(
    bioseg: Cli, disc_run: Path, tmp_path: Path
) -> None:
    """Also on the run's own data set, whose test images it has not seen by itself."""
    data = tmp_path / "own.h5"
    with (
        Dataset(write_discs(tmp_path / "any.h5", TURNED)) as other,
        DatasetWriter(data, count=13, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer,
    ):
        for index, split in enumerate(TURNED):
            number = index + 50 if split != "test" else index
            image, mask = discs(number)
            source = ItemSource(f"disc{number}.tif", f"{number:064x}", 0, (0, 0), (SIZE, SIZE))
            writer.add(Item(image, mask, split, f"g{index}", source))
        writer.finish(other.info)
    run = tmp_path / "run"
    options = ("--width", 8, "--steps", 1, "--quiet", "--init-from", disc_run)
    assert bioseg("train-uda", data, "--run", run, *options).exit_code == 0
    through = {image.name for image in seen_images(RunDirectory.open(run)) or [] if image.through == str(disc_run)}
    assert through == {f"disc{index}" for index in range(11)}
    refused = bioseg("evaluate", run, "--split", "test")
    assert refused.exit_code == 3 and "was trained on 2 of the 4 scored images: disc0, disc1" in said(refused)
    assert scored(bioseg, run, "--split", "test", "--allow-seen")["seen"]["trained"] == ["disc0", "disc1"]
    assert scored(bioseg, run)["seen"] == {"trained": [], "validated": []}
    # Of a saved model without its run, nobody knows.
    alone = tmp_path / "alone"
    model = disc_run / "checkpoints" / "last.safetensors"
    assert bioseg("train-uda", data, "--run", alone, *options[:-1], model).exit_code == 0
    notes = scored(bioseg, alone, "--split", "test")["notes"]
    assert any("What the weights were trained on" in note for note in notes)


def test_a_new_run_in_its_place_forgets_the_images_of_the_earlier_one(bioseg: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = write_discs(tmp_path / "first.h5")
    second = write_discs(tmp_path / "second.h5", ("train", "train", "val"))
    for data in (first, second):
        assert bioseg("train-uda", data, "--run", run, "--overwrite", "--unsup-loss", "none", *TINY).exit_code == 0
    seen = seen_images(RunDirectory.open(run))
    assert seen is not None and {image.name for image in seen} <= {"disc0", "disc1", "disc2"}


def test_restarts_hand_their_images_up(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--restarts", 2, "--width", 2, "--epochs", 1, "--quiet")
    assert bioseg("train-iic", disc_dataset, "--run", run, *options).exit_code == 0
    seen = copied_without_its_data(run, tmp_path / "moved")
    uses = [image.use for image in seen_images(RunDirectory.open(seen)) or []]
    assert sorted(uses) == ["unlabelled"] * 8 + ["validation"] * 3


def test_the_option_is_for_runs(bioseg: Cli, tmp_path: Path) -> None:
    refused = bioseg("evaluate", "--predictions", tmp_path, "--truth", tmp_path, "--allow-seen")
    assert refused.exit_code == 2 and "--allow-seen are for runs" in said(refused)
