"""`bioseg prepare bigbrain` as it is typed: what comes out, what is refused, and what an interruption leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from click.testing import Result
from conftest import Server
from helpers.documented import ROOT, documented_commands
from scipy.ndimage import map_coordinates

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.volumes import open_volume
from bioseg_cli.prepare.recipes import bigbrain
from bioseg_cli.prepare.recipes.bigbrain import IMAGE_FILE, LABELS_FILE, PUBLICATION
from bioseg_cli.prepare.slicing import sweep
from bioseg_cli.prepare.slicing.scratch_file import BandFile

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
PAGE = ROOT / "docs" / "bigbrain.md"
SHAPE = (40, 48, 44)
AFFINE = np.array([[2.0, 0, 0, -40], [0, 2.0, 0, -48], [0, 0, 2.0, -44], [0, 0, 0, 1]])
GREYS = np.array([0, 255, 120, 170, 0, 90, 130])
"""By class, with BigBrain's polarity."""
SMALL = ("--slices", 12, "--crop", 48, "--spacing", 2)


@dataclass(frozen=True)
class Brain:
    """Two files on one grid, and their voxels (i, j, k): an ellipsoid with layers 5, 2, 3 and a core of 6."""

    folder: Path
    intensities: np.ndarray
    classes: np.ndarray

    @property
    def files(self) -> tuple[object, ...]:
        return "--image", self.folder / "brain.nii.gz", "--labels", self.folder / "classes.nii.gz"


def write(path: Path, voxels: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    """A NIfTI file of voxels (i, j, k)."""
    nibabel.Nifti1Image(voxels, affine).to_filename(path)
    return path


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Brain:
    folder = tmp_path_factory.mktemp("brain")
    place = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    radius = np.linalg.norm(place / (17, 21, 19), axis=-1)
    classes = np.select([radius < 0.25, radius < 0.75, radius < 0.93, radius < 1], [6, 3, 2, 5], 1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(-9, 10, SHAPE)
    intensities = np.where(classes == 1, 255, GREYS[classes] + noise).astype(np.uint8)
    write(folder / "brain.nii.gz", intensities)
    write(folder / "classes.nii.gz", classes)
    return Brain(folder, intensities, classes)


@pytest.fixture
def prepare(bioseg: Cli, brain: Brain, tmp_path: Path) -> Callable[..., Result]:
    """Run the command into `tmp_path/set.h5`; with the brain's files, unless others are given."""

    def run(*options: object) -> Result:
        files = () if {"--image", "--accept-licence"} & {*options} else brain.files
        return bioseg("prepare", "bigbrain", *files, *SMALL, "--out", tmp_path / "set.h5", *options)

    return run


@pytest.fixture
def summary(prepare: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    """Run it to success and return what `--json` says."""

    def run(*options: object) -> dict[str, Any]:
        result = prepare("--json", *options)
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    return run


def refused(result: Result, exit_code: int, message: str) -> None:
    """Two or three lines on standard error, and nothing else anywhere."""
    assert result.exit_code == exit_code, result.output
    assert re.search(message, result.stderr), result.stderr
    assert result.stdout == ""
    error = result.stderr[result.stderr.index("Error: ") :]
    assert 2 <= len(error.strip().splitlines()) <= 3
    assert "Unexpected" not in error


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def positions(plane: object, side: int) -> np.ndarray:
    """(3, side, side) millimetres of the pixels of a stored plane."""
    rows, columns = np.indices((side, side))
    return np.tensordot(np.array(plane), np.stack([rows, columns, 0 * rows, 0 * rows + 1]), axes=1)


def in_voxels(world: np.ndarray, affine: np.ndarray = AFFINE) -> np.ndarray:
    """(3, H, W) coordinates (i, j, k)."""
    to_voxels = np.linalg.inv(affine)
    return np.tensordot(to_voxels[:3, :3], world, axes=1) + to_voxels[:3, 3, None, None]


def within(voxels: np.ndarray, shape: tuple[int, ...] = SHAPE, margin: float = 1e-6) -> np.ndarray:
    limits = np.array(shape)[:, None, None] - 0.5
    return ((voxels > -0.5 + margin) & (voxels < limits - margin)).all(axis=0)


def untied(voxels: np.ndarray) -> np.ndarray:
    """Pixels that are clearly nearer to one voxel than to the next."""
    return (np.abs(voxels % 1 - 0.5) > 1e-6).all(axis=0)


def assert_shown(dataset: Dataset, intensities: np.ndarray, affine: np.ndarray = AFFINE, *, step: float = 1) -> int:
    """Every stored image is what lies in the volume at its stored plane; return the number of pixels compared."""
    compared = 0
    for index in range(dataset.size):
        image = dataset.image(index)[0]
        voxels = in_voxels(positions(dataset.source(index).plane, image.shape[0]), affine)
        inside = within(voxels, intensities.shape)
        inside &= dataset.labels(index) != dataset.ignore if dataset.labelled[index] else True
        expected = map_coordinates(intensities.astype(np.float64), voxels, order=1, mode="nearest")
        np.testing.assert_allclose(image[inside], expected[inside], atol=step / 2 + 1e-3)
        compared += int(inside.sum())
    return compared


def test_what_is_stored_lies_there_in_the_brain(summary, brain, tmp_path) -> None:
    found = summary("--split-by", "random", "--spacing", 1.3)
    assert found["pixel_size"] == {"y": 1300.0, "x": 1300.0, "unit": "µm"}
    assert found["image_dtype"] == "uint8"
    kept = {2: 1, 3: 2, 5: 3}
    codes = np.array([kept.get(value, 0) for value in range(7)])[brain.classes]
    with Dataset(tmp_path / "set.h5") as dataset:
        assert assert_shown(dataset, brain.intensities) > 10_000
        assert [info.name for info in dataset.classes] == [
            "background",
            "cortical grey matter",
            "white matter",
            "layer 1",
        ]
        for index in range(dataset.size):
            voxels = in_voxels(positions(dataset.source(index).plane, 48))
            clear = within(voxels) & untied(voxels)
            expected = map_coordinates(codes, voxels, order=0, mode="nearest")
            np.testing.assert_array_equal(dataset.labels(index)[clear], expected[clear])
            outside = ~within(voxels, margin=-1e-6)
            assert (dataset.labels(index)[outside] == 0).all()
            assert (dataset.image(index)[0][outside] == 255).all()
            assert dataset.source(index).file == "brain.nii.gz"
    assert left_in(tmp_path) == ["set.h5", "set.yaml"]


@pytest.mark.parametrize(("axis", "guard"), [("y", 4.0), ("x", 8.5), ("z", 0.0)])
def test_slabs_share_no_pixel_and_keep_the_guard(summary, tmp_path, axis, guard) -> None:
    found = summary("--slab-axis", axis, "--guard", guard, "--slices", 40, "--val-share", 0.3, "--test-share", 0.25)
    reach: dict[str, list[np.ndarray]] = {"train": [], "val": [], "test": []}
    with Dataset(tmp_path / "set.h5") as dataset:
        for index in range(dataset.size):
            along = positions(dataset.source(index).plane, 48)["xyz".index(axis)]
            known = dataset.labels(index) != dataset.ignore
            reach[dataset.split[index]].append(along[known])
            # Nor does the image show anything of the others: beyond its slab there is the outside's grey.
            assert (dataset.image(index)[0][~known] == 255).all()
        assert len(set(dataset.group.tolist())) == 3
    spans = {split: (np.concatenate(parts).min(), np.concatenate(parts).max()) for split, parts in reach.items()}
    assert spans["train"][1] + guard < spans["val"][0] + 1e-6
    assert spans["val"][1] + guard < spans["test"][0] + 1e-6
    assert any("less than two voxels" in note for note in found["notes"]) == (guard < 4)


def test_fewer_slices_are_the_first_of_more(prepare, summary, tmp_path) -> None:
    summary("--slices", 8, "--min-tissue", 0)
    with Dataset(tmp_path / "set.h5") as dataset:
        many = [(dataset.source(index), dataset.split[index], dataset.image(index)) for index in range(8)]
    assert summary("--slices", 3, "--min-tissue", 0, "--overwrite")["images"]["val"]["labelled"] == 1
    with Dataset(tmp_path / "set.h5") as dataset:
        assert dataset.size == 3
        for index, (source, split, image) in enumerate(many[:3]):
            assert (dataset.source(index), dataset.split[index]) == (source, split)
            np.testing.assert_array_equal(dataset.image(index), image)


@pytest.mark.parametrize("rotations", [3, 4, 7])
def test_whole_rotations_in_every_split(summary, tmp_path, rotations) -> None:
    summary("--rotations", rotations, "--split-by", "rotation", "--slices", 3 * rotations, "--min-tissue", 0)
    with Dataset(tmp_path / "set.h5") as dataset:
        splits = {group: set(dataset.split[dataset.group == group].tolist()) for group in set(dataset.group.tolist())}
    assert len(splits) == rotations
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "val", "test"}


@pytest.mark.parametrize("split_by", ["random", "rotation"])
def test_splits_that_leak_are_warned_of(prepare, split_by) -> None:
    result = prepare("--split-by", split_by, "--rotations", 4, "--quiet")
    assert result.exit_code == 0, result.output
    assert "Warning" in result.stderr
    assert "cross each other" in result.stderr
    assert prepare("--overwrite", "--quiet").stderr == ""


def test_slices_depend_on_neither_threads_nor_places(summary, brain, tmp_path) -> None:
    hashes = {summary("--workers", 1)["content_hash"], summary("--workers", 3, "--overwrite")["content_hash"]}
    hashes.add(summary("--out", tmp_path / "elsewhere.h5")["content_hash"])
    assert len(hashes) == 1
    assert summary("--seed", 1, "--overwrite")["content_hash"] not in hashes


def test_the_manifest_repeats_it(summary, bioseg, brain, tmp_path) -> None:
    first = summary("--classes", "3,5", "--guard", 5)
    again = bioseg("prepare", "bigbrain", "--config", tmp_path / "set.yaml", "--out", tmp_path / "again.h5", "--json")
    assert json.loads(again.stdout)["content_hash"] == first["content_hash"]


def test_classes_merged_named_and_coloured(summary, tmp_path) -> None:
    found = summary("--merge", "1:2,5,6,8 2:3,9", "--names", "rest,grey,white", "--colours", "#000000,#FF0000,#0000ff")
    assert found["classes"] == ["rest", "grey", "white"]
    assert found["masks"].startswith(
        "2+5+6+8 is 'grey', 3+9 is 'white', all else 'rest'; the volume holds 1, 2, 3, 5, 6"
    )
    with Dataset(tmp_path / "set.h5") as dataset:
        assert [info.colour for info in dataset.classes] == [(0, 0, 0), (255, 0, 0), (0, 0, 255)]
        merged = sum((dataset.labels(index) == 1).sum() for index in range(dataset.size))
    found = summary("--classes", "2,5,6,3", "--overwrite")
    assert found["classes"] == ["background", "class 2", "class 5", "class 6", "class 3"]
    with Dataset(tmp_path / "set.h5") as dataset:
        assert merged == sum(np.isin(dataset.labels(index), (1, 2, 3)).sum() for index in range(dataset.size))


def test_brain_against_background(summary, brain, tmp_path) -> None:
    assert summary("--binary", "--split-by", "random")["classes"] == ["background", "brain"]
    with Dataset(tmp_path / "set.h5") as dataset:
        for index in range(dataset.size):
            voxels = in_voxels(positions(dataset.source(index).plane, 48))
            clear = within(voxels) & untied(voxels)
            expected = map_coordinates((brain.classes > 1).astype(np.uint8), voxels, order=0, mode="nearest")
            np.testing.assert_array_equal(dataset.labels(index)[clear], expected[clear])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "2,x"], "--classes: values are whole numbers up to 65535"),
        (["--classes", "2,65536"], "--classes: values are whole numbers up to 65535"),
        (["--classes", "2,3,2"], "--classes: a value can belong to one class"),
        (["--merge", ""], "--merge: values are whole numbers"),
        (["--merge", "2,3"], "--merge: '2,3' is not of the form \"1:VALUE,VALUE\""),
        (["--merge", "1:2 3:3"], "--merge: '3:3' is not of the form \"2:VALUE,VALUE\""),
        (["--merge", "1:2 2:5,2"], "--merge: a value can belong to one class"),
        (["--classes", "2", "--binary"], "--classes and --binary exclude each other"),
        (["--merge", "1:2", "--binary"], "--merge and --binary exclude each other"),
        (["--names", "a,b"], "--names: 4 are needed, the background first, got 2"),
        (["--binary", "--names", "a,b,c"], "--names: 2 are needed"),
        (["--names", "a,b,b,c"], "--names: each class needs its own"),
        (["--colours", "#000000,#0000ff"], "--colours: 4 are needed"),
        (["--colours", "black,red,green,blue"], "--colours: a colour is written as #rrggbb, got 'black'"),
        (["--crop", 8], "--crop: input should be greater than or equal to 16"),
        (["--slices", 1], "--slices: input should be greater than or equal to 2"),
        (["--spacing", 0], "--spacing: input should be greater than 0"),
        (["--guard", -1], "--guard: input should be greater than or equal to 0"),
        (["--guard", 30], "--guard of 30 mm leaves nothing of the val slab, 19.2 mm along y"),
        (["--guard", 200], "--guard of 200 mm leaves nothing of the train slab, 57.6 mm along y"),
        (["--split-by", "rotation"], "--split-by rotation needs --rotations 3 or more"),
        (["--slices", 2, "--val-share", 0.01], "None of 2 slices falls to the val split"),
        (["--val-share", 0.5, "--test-share", 0.5], "leave nothing to train on"),
        (["--out", "set.hdf5"], "the name of a data set ends in .h5"),
        (["--resume"], "There is nothing to resume"),
    ],
)
def test_wrong_options(prepare, tmp_path, options, message) -> None:
    refused(prepare(*options), 2, re.escape(message))
    assert left_in(tmp_path) == []


def test_options_that_need_labels(prepare, bioseg, brain, tmp_path) -> None:
    for option in (["--binary"], ["--classes", "2"], ["--merge", "1:2"], ["--names", "a,b,c,d"]):
        refused(prepare("--image", brain.folder / "brain.nii.gz", *option), 2, f"{option[0]} needs --labels")
    refused(bioseg("prepare", "bigbrain", "--labels", brain.folder / "classes.nii.gz"), 2, "--labels needs --image")


def bad_volumes(folder: Path, brain: Brain) -> dict[str, tuple[str, Path]]:
    """For each fault, the option and the file that has it."""
    whole = {name: (brain.folder / f"{name}.nii.gz").read_bytes() for name in ("brain", "classes")}
    for name, content in whole.items():
        (folder / f"half-{name}.nii.gz").write_bytes(content[: len(content) // 2])
    (folder / "minc1.mnc").write_bytes(b"CDF\x01" + bytes(500))
    (folder / "text.nii").write_text("not a volume " * 50)
    hot = brain.intensities.astype(np.float32)
    hot[3, 4, 5] = np.nan
    far = AFFINE.copy()
    far[:3, 3] += 300
    flat = AFFINE.copy()
    flat[:3, 2] = flat[:3, 1]
    return {
        "breaks off after": ("--image", folder / "half-brain.nii.gz"),
        "breaks off": ("--labels", folder / "half-classes.nii.gz"),
        "4 axes": ("--image", write(folder / "4d.nii.gz", np.zeros((*SHAPE, 2), np.uint8))),
        r"overlap in space: the image fills x -41\.\.39": ("--labels", write(folder / "far.nii", brain.classes, far)),
        "none of|any of 2, 3, 5: its values are 11, 12": ("--labels", write(folder / "no.nii", brain.classes % 2 + 11)),
        "not the classes of BigBrain: 5 is missing": (
            "--labels",
            write(folder / "three.nii", np.where(brain.classes == 5, 2, brain.classes)),
        ),
        "not the classes of BigBrain: 3, 5 are missing": (
            "--labels",
            write(folder / "one.nii", np.where(brain.classes > 2, 2, brain.classes)),
        ),
        r"0\.9 .*no whole number": ("--labels", write(folder / "part.nii", brain.classes * np.float32(0.9))),
        "is MINC1": ("--image", folder / "minc1.mnc"),
        "No such file": ("--labels", folder / "missing.nii.gz"),
        "no NIfTI volume": ("--image", folder / "text.nii"),
        "not finite": ("--image", write(folder / "hot.nii", hot)),
        "cannot be inverted": ("--image", write(folder / "flat.nii", brain.intensities, flat)),
        "have one value": ("--image", write(folder / "black.nii", np.zeros(SHAPE, np.uint8))),
        "states no position": ("--labels", write(folder / "silent.nii", brain.classes, None)),
    }


def test_bad_volumes_leave_nothing_behind(prepare, summary, brain, tmp_path, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("bad")
    summary()
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for message, (option, path) in bad_volumes(folder, brain).items():
        files = dict(zip(brain.files[::2], brain.files[1::2], strict=True)) | {option: path}
        result = prepare(*(word for pair in files.items() for word in pair), "--overwrite")
        refused(result, 3, message)
        assert f"in {path}" in result.stderr or message == "have one value"
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_too_little_tissue(prepare, tmp_path) -> None:
    refused(prepare("--min-tissue", 1), 3, "No slice of the train split shows 100% of tissue")
    refused(prepare("--spacing", 500), 3, "No slice of the train split shows 2% of tissue")
    assert left_in(tmp_path) == []


def test_an_existing_data_set_is_not_replaced(prepare, summary) -> None:
    summary()
    refused(prepare(), 2, "The output exists already")


TYPES = {
    "int16, air below zero": lambda brain: (brain.intensities.astype(np.int16) * 8 - 1000, "int16", 8),
    "float32": lambda brain: (brain.intensities.astype(np.float32) / 255 - 0.25, "float32", 0),
    "uint16": lambda brain: (brain.intensities.astype(np.uint16) * 257, "uint16", 1),
    "int32": lambda brain: (brain.intensities.astype(np.int32) * 100_000, "float32", 1),
}


@pytest.mark.parametrize("kind", TYPES)
def test_intensities_keep_their_values(summary, brain, tmp_path, kind) -> None:
    values, dtype, step = TYPES[kind](brain)
    image = write(tmp_path / "values.nii.gz", values)
    found = summary("--image", image, "--labels", brain.folder / "classes.nii.gz")
    assert found["image_dtype"] == dtype
    assert found["normalisation"]["high"] == [pytest.approx(float(values[0, 0, 0]))]
    with Dataset(tmp_path / "set.h5") as dataset:
        assert assert_shown(dataset, values, step=step) > 5000


def test_a_scaled_volume_has_its_real_values(summary, brain, tmp_path) -> None:
    # As BigBrain's ICBM version is published: bytes, and a slope of 257.
    header = nibabel.Nifti1Image(brain.intensities, AFFINE).header
    header.set_slope_inter(257, 0)
    header["vox_offset"] = 352
    path = tmp_path / "scaled.nii"
    path.write_bytes(header.binaryblock + bytes(4) + brain.intensities.tobytes(order="F"))
    found = summary("--image", path, "--labels", brain.folder / "classes.nii.gz")
    assert (found["image_dtype"], found["normalisation"]["high"]) == ("uint16", [65535.0])
    with Dataset(tmp_path / "set.h5") as dataset:
        assert assert_shown(dataset, 257.0 * brain.intensities) > 5000


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint32])
def test_labels_of_another_type_are_the_same_labels(summary, brain, tmp_path, dtype) -> None:
    codes = write(tmp_path / "codes.nii.gz", brain.classes.astype(dtype))
    summary("--image", brain.folder / "brain.nii.gz", "--labels", codes)
    summary("--out", tmp_path / "bytes.h5")
    with Dataset(tmp_path / "set.h5") as dataset, Dataset(tmp_path / "bytes.h5") as expected:
        for index in range(dataset.size):
            np.testing.assert_array_equal(dataset.labels(index), expected.labels(index))


def cut_out(brain: Brain, path: Path, low: tuple[int, ...], high: tuple[int, ...]) -> Path:
    """A part of the class volume, where it lies."""
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, :3] @ low
    return write(path, brain.classes[tuple(slice(*ends) for ends in zip(low, high, strict=True))], affine)


@pytest.mark.parametrize(
    ("low", "high", "outside"),
    [((0, 0, 10), (40, 48, 44), "1, 'background'"), ((12, 12, 12), (30, 40, 28), "3, a kept class, so ignored")],
)
def test_what_only_the_image_shows_has_no_label(summary, brain, tmp_path, low, high, outside) -> None:
    part = cut_out(brain, tmp_path / "part.nii.gz", low, high)
    found = summary("--image", brain.folder / "brain.nii.gz", "--labels", part, "--split-by", "random")
    assert any("covers" in note and "is ignored" in note for note in found["notes"])
    assert any(note.endswith(f"labels {outside}") for note in found["notes"])
    box = np.array([low, high])[:, :, None, None] - 0.5
    seen = 0
    with Dataset(tmp_path / "set.h5") as dataset:
        for index in range(dataset.size):
            voxels = in_voxels(positions(dataset.source(index).plane, 48))
            labels = dataset.labels(index)
            known = ((voxels > box[0] + 1e-6) & (voxels < box[1] - 1e-6)).all(axis=0)
            unknown = within(voxels) & ((voxels < box[0] - 1e-6) | (voxels > box[1] + 1e-6)).any(axis=0)
            assert (labels[known] != dataset.ignore).all()
            assert (labels[unknown] == dataset.ignore).all()
            beyond = ~within(voxels, margin=-1e-6)
            assert (labels[beyond] == (0 if "background" in outside else dataset.ignore)).all()
            seen += int(unknown.sum())
    assert seen > 1000


def test_labels_on_another_grid(summary, brain, tmp_path) -> None:
    """Half the voxel size, axes in another order, one of them backwards."""
    fine = brain.classes.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    turned = np.ascontiguousarray(fine.transpose(1, 2, 0)[::-1])
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, 1, 0]]
    # Its voxel (2 * 48 - 1, 0, 0) is the first eighth of voxel (0, 0, 0).
    affine[:3, 3] = AFFINE[:3, 3] - 0.5 - affine[:3, :3] @ (2 * SHAPE[1] - 1, 0, 0)
    other = write(tmp_path / "fine.nii.gz", turned, affine)
    summary("--split-by", "random")
    summary(
        "--split-by", "random", "--image", brain.folder / "brain.nii.gz", "--labels", other, "--out", tmp_path / "o.h5"
    )
    with Dataset(tmp_path / "set.h5") as dataset, Dataset(tmp_path / "o.h5") as fine_set:
        assert fine_set.size == dataset.size
        for index in range(dataset.size):
            clear = untied(in_voxels(positions(dataset.source(index).plane, 48)))
            np.testing.assert_array_equal(fine_set.labels(index)[clear], dataset.labels(index)[clear])


def test_neither_file_says_where_it_lies(summary, brain, tmp_path) -> None:
    image, labels = write(tmp_path / "i.nii", brain.intensities, None), write(tmp_path / "l.nii", brain.classes, None)
    found = summary("--image", image, "--labels", labels, "--spacing", 1)
    assert any("paired voxel by voxel" in note for note in found["notes"])
    assert found["class_shares"]["train"]["white matter"] > 0.02


@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 30, 30), (30, 1, 30), (30, 30, 1)])
def test_the_smallest_volumes(summary, tmp_path, shape) -> None:
    codes = np.ones(shape, np.uint8)
    codes.ravel()[1::2] = 2
    values = np.random.default_rng(1).integers(0, 200, shape).astype(np.uint8)
    files = "--image", write(tmp_path / "i.nii", values), "--labels", write(tmp_path / "l.nii", codes)
    options = "--classes", "2", "--split-by", "random", "--min-tissue", 0, "--spacing", 1, "--crop", 200
    assert summary(*files, *options)["image_shape"] == [1, 200, 200]
    with Dataset(tmp_path / "set.h5") as dataset:
        assert assert_shown(dataset, values) > 0


def test_unlabelled_slices_are_for_clustering(summary, bioseg, brain, tmp_path) -> None:
    found = summary("--image", brain.folder / "brain.nii.gz")
    assert found["classes"] == ["background", "foreground"]
    assert found["masks"] == "there are none: only train-iic can use this data set"
    assert [found["images"][split]["labelled"] for split in ("train", "val", "test")] == [0, 0, 0]
    small = "--run", tmp_path / "run", "--width", 2, "--steps", 1, "--quiet"
    assert bioseg("train-iic", tmp_path / "set.h5", *small).exit_code == 0
    refused(
        bioseg("train-uda", tmp_path / "set.h5", "--run", tmp_path / "uda", "--quiet"), 3, "No training image has a"
    )


def test_the_licence_must_be_accepted(bioseg, tmp_path) -> None:
    result = bioseg("prepare", "bigbrain", "--out", tmp_path / "set.h5")
    refused(result, 2, "licence was not accepted")
    assert "creativecommons.org/licenses/by-nc-sa/4.0" in result.stderr
    assert "--accept-licence" in result.stderr
    assert left_in(tmp_path) == []


def test_without_a_network_both_files_are_named(prepare, server, tmp_path) -> None:
    server.close()
    result = prepare("--accept-licence", "--mirror", server.address)
    refused(result, 3, "No connection")
    assert "Amunts et al., Science 340:1472" in result.stderr
    for name in (IMAGE_FILE, LABELS_FILE):
        assert f"https://ftp.bigbrainproject.org/bigbrain-ftp/BigBrainRelease.2015/{name}" in result.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_of_another_volume_is_not_kept_as_the_published_one(prepare, server: Server, brain, tmp_path) -> None:
    folder = tmp_path / "downloads" / "bigbrain"
    server.files[f"/set/{IMAGE_FILE}"] = b"<html>Try again later</html>"
    refused(prepare("--accept-licence", "--mirror", server.address), 3, "not the published one: The file is no NIfTI")
    assert left_in(folder) == [f"{Path(IMAGE_FILE).name}.wrong"]
    server.files[f"/set/{IMAGE_FILE}"] = (brain.folder / "brain.nii.gz").read_bytes()
    refused(prepare("--accept-licence", "--mirror", server.address), 3, "its voxels measure .* mm, and not 0.2 mm")
    assert left_in(folder) == [f"{Path(IMAGE_FILE).name}.wrong"]


def test_downloaded_once(prepare, summary, server: Server, brain, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigbrain, "VOXEL", open_volume(brain.folder / "brain.nii.gz").voxel_size)
    server.files[f"/set/{IMAGE_FILE}"] = (brain.folder / "brain.nii.gz").read_bytes()
    server.files[f"/set/{LABELS_FILE}"] = (brain.folder / "classes.nii.gz").read_bytes()
    first = summary("--accept-licence", "--mirror", server.address)
    assert len(server.ranges) == 2
    again = prepare("--accept-licence", "--mirror", server.address, "--overwrite", "--json")
    assert len(server.ranges) == 2
    assert json.loads(again.stdout)["content_hash"] == first["content_hash"]
    assert left_in(tmp_path / "downloads" / "bigbrain") == [Path(IMAGE_FILE).name, Path(LABELS_FILE).name]


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int) -> None:
    """Send this process the signal of Ctrl-C after some calls of a method."""
    real, calls = getattr(owner, method), 0

    def counted(self: object, *arguments: object) -> None:
        nonlocal calls
        real(self, *arguments)
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(owner, method, counted)


# Of 11 blocks of 4 planes each: in the labels, in the image, and among the slices that are written.
PHASES = {
    "labels": (BandFile, "append", 3),
    "image": (BandFile, "append", 11 + 5),
    "writing": (DatasetWriter, "add_packed", 4),
}


@pytest.fixture
def thin_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BLOCK_BYTES", 1)


@pytest.mark.usefixtures("thin_blocks", "heeded")
@pytest.mark.parametrize("phase", PHASES)
def test_stopped_and_resumed(prepare, summary, monkeypatch, tmp_path, phase) -> None:
    undisturbed = summary("--out", tmp_path / "whole.h5")["content_hash"]
    sampled: list[int] = []
    with monkeypatch.context() as patched:
        interrupt(patched, *PHASES[phase])
        refused(prepare(), 130, f"Stopped\nin {tmp_path}/.set.slices\nRepeat the command with --resume")
    assert left_in(tmp_path) == [".set.slices", "whole.h5", "whole.yaml"]
    real = BandFile.append
    monkeypatch.setattr(BandFile, "append", lambda self, pixels: (sampled.append(len(pixels)), real(self, pixels))[1])
    assert summary("--resume")["content_hash"] == undisturbed
    assert len(sampled) == {"labels": 11 - 3 + 11, "image": 11 - 5, "writing": 0}[phase]
    assert left_in(tmp_path) == ["set.h5", "set.yaml", "whole.h5", "whole.yaml"]
    assert yaml.safe_load((tmp_path / "set.yaml").read_text())["config"].get("resume") is None


@pytest.mark.usefixtures("thin_blocks", "heeded")
@pytest.mark.parametrize("damage", [b"", b"\xff", b"[1]", b'{"checksums": 3}', b'{"checksums": []}'])
def test_a_damaged_record_of_scratch_files_is_as_none(prepare, summary, monkeypatch, tmp_path, damage) -> None:
    undisturbed = summary("--out", tmp_path / "whole.h5")["content_hash"]
    with monkeypatch.context() as patched:
        interrupt(patched, *PHASES["image"])
        prepare()
    record = tmp_path / ".set.slices" / "image.json"
    assert record.is_file()
    record.write_bytes(damage)
    assert summary("--resume")["content_hash"] == undisturbed


@pytest.mark.usefixtures("thin_blocks", "heeded")
def test_stopped_and_begun_anew(prepare, summary, brain, monkeypatch, tmp_path) -> None:
    undisturbed = summary("--out", tmp_path / "whole.h5")["content_hash"]
    with monkeypatch.context() as patched:
        interrupt(patched, *PHASES["image"])
        prepare()
    refused(prepare("--resume", "--seed", 1), 2, "had other settings or other volumes")
    refused(prepare("--resume", "--image", brain.folder / "brain.nii.gz"), 2, "had other settings or other volumes")
    bands = tmp_path / ".set.slices" / "image.bands"
    bands.write_bytes(bands.read_bytes()[:-100])  # as a power cut may leave it
    assert summary("--resume", "--workers", 1)["content_hash"] == undisturbed
    with monkeypatch.context() as patched:
        interrupt(patched, *PHASES["labels"])
        prepare("--overwrite")
    assert summary("--overwrite")["content_hash"] == undisturbed
    assert left_in(tmp_path) == ["set.h5", "set.yaml", "whole.h5", "whole.yaml"]


def run_apart(before: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, after some lines of Python."""
    program = f"{textwrap.dedent(before)}\nfrom bioseg_cli.cli.app import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip


def test_killed_and_resumed(summary, brain, tmp_path) -> None:
    undisturbed = summary("--out", tmp_path / "whole.h5")["content_hash"]
    kill = """
        import os, signal
        from bioseg_cli.prepare.slicing import sweep
        from bioseg_cli.prepare.slicing.scratch_file import BandFile
        sweep.BLOCK_BYTES, real, calls = 1, BandFile._write_record, []
        def killed(self):
            calls.append(0)
            if len(calls) == 18:
                os.kill(os.getpid(), signal.SIGKILL)  # the block is in the file, and not in its record
            real(self)
        BandFile._write_record = killed
    """
    done = run_apart(kill, "prepare", "bigbrain", *brain.files, *SMALL, "--out", tmp_path / "set.h5")
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert left_in(tmp_path) == [".set.h5.owner", ".set.slices", "whole.h5", "whole.yaml"]
    record = json.loads((tmp_path / ".set.slices" / "image.json").read_text())
    assert len(record["checksums"]) == 5
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sweep, "BLOCK_BYTES", 1)
        assert summary("--resume")["content_hash"] == undisturbed
    assert left_in(tmp_path) == ["set.h5", "set.yaml", "whole.h5", "whole.yaml"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Within the block, a file that would grow beyond `size` bytes meets an error as on a full disk."""
    import resource  # of POSIX

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_while_sampling_leaves_nothing(prepare, summary, tmp_path) -> None:
    summary()
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with files_of_at_most(3000):
        refused(prepare("--overwrite"), 3, "could not be written")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_full_disk_while_writing_leaves_nothing(summary, brain, tmp_path) -> None:
    # Noise is not compressed: the data set becomes larger than the scratch files of images and of labels.
    noise = write(tmp_path / "noise.nii", np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8))
    options = "--image", noise, "--labels", brain.folder / "classes.nii.gz", "--min-tissue", 0, "--slices", 30
    summary(*options)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limit = len(kept["set.h5"]) - 2000
    before = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    out = tmp_path / "set.h5"
    done = run_apart(before, "prepare", "bigbrain", *SMALL, *options, "--out", out, "--overwrite")
    assert done.returncode == 3, done.stderr
    assert f"in {out}\n" in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_narrow_and_piped(brain, tmp_path) -> None:
    command = [
        sys.executable,
        "-m",
        "bioseg_cli",
        "prepare",
        "bigbrain",
        *brain.files,
        *SMALL,
        "--out",
        tmp_path / "s.h5",
    ]
    environment = {**os.environ, "COLUMNS": "40", "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "cortical grey matter" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    for line in done.stderr.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line)


def test_from_volumes_to_a_scored_table(bioseg, brain, tmp_path) -> None:
    """72 is no multiple of the network's 16."""
    data, run, masks = tmp_path / "set.h5", tmp_path / "run", tmp_path / "masks"
    options = "--slices", 16, "--crop", 72, "--spacing", 1.2, "--slab-axis", "x", "--picture"
    for command in (
        ["prepare", "bigbrain", *brain.files, *options, "--out", data],
        ["train-uda", data, "--run", run, "--labels", 3, "--width", 2, "--steps", 2],
        ["predict", run, data, "--out", masks],
    ):
        result = bioseg(*command, "--quiet")
        assert result.exit_code == 0, f"{command}\n{result.output}"
    assert (tmp_path / "set.png").is_file()
    with Dataset(data) as dataset:
        assert len(list(masks.glob("*.tif"))) == len(dataset.indices("val"))
    assert not [path.name for path in masks.iterdir() if " " in path.name]
    scored = bioseg("evaluate", run, "--json")
    assert scored.exit_code == 0, scored.output
    names = ["background", "cortical grey matter", "white matter", "layer 1"]
    assert list(json.loads(scored.stdout)["runs"][0]["iou"]) == names


@pytest.fixture(scope="module")
def documented(bioseg: Cli, brain: Brain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which every command of the page was run, on small files."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("brain", "full_cls_1000um", "head"):
        write(folder / f"{name}.nii.gz", brain.intensities)
    write(folder / "classes.nii.gz", brain.classes)
    write(folder / "full_cls_1000um.nii.gz", brain.classes)
    write(folder / "head_cls.nii.gz", brain.classes)
    commands = documented_commands(PAGE)
    assert len(commands) >= 8
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for command in commands:
            words = shlex.split(command)[1:]
            if words[0] == "prepare":
                words += [] if "--image" in words else ["--image", "brain.nii.gz", "--labels", "classes.nii.gz"]
                words += [*map(str, SMALL), "--overwrite"]
            elif words[0] == "train-uda":
                words += ["--width", "2", "--steps", "1"]
            result = bioseg(*words)
            assert result.exit_code == 0, f"{command}\n{result.output}"
        yield folder


def test_the_commands_of_the_page_run(documented: Path) -> None:
    made = {path.name for path in documented.rglob("*") if path.suffix in (".h5", ".png") or ".nii" in path.name}
    assert {"bigbrain.h5", "brain.h5", "tissue.h5", "shares.h5", "head.h5", "head.png"} < made
    assert (documented / "predicted" / "brain.nii.gz").is_file()


def test_the_program_of_the_page_finds_a_slice_again(documented: Path) -> None:
    found: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0], found)
    with Dataset(documented / "data" / "brain.h5") as dataset:
        shown = (dataset.labels(0) != dataset.ignore) & np.isfinite(found["again"])
    assert shown.sum() > 200
    assert np.ptp(found["image"][shown]) > 100
    np.testing.assert_allclose(found["again"][shown], found["image"][shown], atol=0.5 + 1e-3)


def test_what_the_page_shows_and_names_is_there() -> None:
    text = PAGE.read_text()
    for picture in re.findall(r"\]\((images/[^)]+)\)", text):
        assert (PAGE.parent / picture).stat().st_size < 300_000
    for file in (IMAGE_FILE, LABELS_FILE, PUBLICATION.address):
        assert file in text
