"""`bioseg predict` on volumes: label volumes on the same grid, slice by slice, whichever axis the slices lie across."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import discs
from helpers.models import record_of, save_random_model, write_image
from helpers.volumes import write_minc, write_nifti
from numpy.typing import NDArray
from PIL import Image

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.io.volumes import open_volume
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.predictor import Predictor

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]

SHAPE = (21, 34, 27)  # x, y, z
TURNED = np.array([[0.0, 0.1, -0.5, 20], [0.6, 0, 0.05, -40], [0, 0.7, 0, 3], [0, 0, 0, 1]])
"""The first axis of the file runs to the front, the second upwards, the third to the left."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def voxels() -> NDArray[np.uint16]:
    """Bright discs (x, y, z) that differ from slice to slice whichever way it is cut."""
    whole = np.stack([discs(number, size=48)[0][0] for number in range(SHAPE[2])], axis=-1)
    return np.ascontiguousarray(whole[: SHAPE[0], : SHAPE[1]])


def predicted_by_slices(model: Path, whole: NDArray[Any], axis: int) -> NDArray[Any]:
    """What the predictor says of each slice alone; `whole` has the slowest axis first."""
    device = torch.device("cpu")
    predictor = Predictor(load_model(model, device), resolve_precision("fp32", device))
    slices = [predictor.labels(predictor.probabilities(each[None].copy())) for each in np.moveaxis(whole, axis, 0)]
    return np.moveaxis(np.stack(slices), 0, axis)


def voxels_of(path: Path) -> NDArray[Any]:
    labels: NDArray[Any] = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    return labels


def assert_same_labels(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Batches round otherwise than single slices: where two classes are equally probable, either may win."""
    assert found.shape == expected.shape
    assert (found == expected).mean() > 0.999
    assert len(np.unique(expected)) > 1


@pytest.mark.parametrize("name", ["brain.nii.gz", "brain.NII"])
@pytest.mark.parametrize("tile", [1024, 64])
def test_a_volume_becomes_labels_on_its_own_grid(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path, name: str, tile: int
) -> None:
    codes, units = (1, 4), "micron"
    write_nifti(tmp_path / name.lower(), voxels, affine=TURNED * 1000, byte_order=">", codes=codes, units=units)
    path = (tmp_path / name.lower()).rename(tmp_path / name)
    result = bioseg("predict", model, path, "--out", tmp_path / "out", "--precision", "fp32", "--tile", tile)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["brain.nii.gz", "predictions.yaml"]
    labels = tmp_path / "out" / "brain.nii.gz"
    assert_same_labels(voxels_of(labels).T, predicted_by_slices(model, voxels.T, axis=0))
    before, after = nibabel.load(path).header, nibabel.load(labels).header  # type: ignore[attr-defined]
    for field in ("pixdim", "xyzt_units", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_c"):
        np.testing.assert_array_equal(before[field], after[field], err_msg=field)
    assert after.get_data_dtype() == np.uint8
    assert after.get_intent()[0] == "label"
    np.testing.assert_array_equal(open_volume(path).affine, open_volume(labels).affine)


def test_version_2_of_the_format_stays_version_2(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "v.nii.gz", np.full((20, 19, 2), 900, "uint16"), image_class=nibabel.Nifti2Image)
    assert bioseg("predict", model, path, "--out", tmp_path / "out").exit_code == 0
    assert type(nibabel.load(tmp_path / "out" / "v.nii.gz")) is nibabel.Nifti2Image  # type: ignore[attr-defined]


@pytest.mark.parametrize(("axis", "stored"), [("x", 0), ("y", 2), ("z", 1)])
def test_slices_lie_across_the_world_axis_that_is_asked_for(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path, axis: str, stored: int
) -> None:
    path = write_nifti(tmp_path / "v.nii.gz", voxels, affine=TURNED)
    options = ("--axis", axis, "--precision", "fp32", "--tile", 64)
    result = bioseg("predict", model, path, "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert_same_labels(voxels_of(tmp_path / "out" / "v.nii.gz").T, predicted_by_slices(model, voxels.T, stored))
    assert ("held in memory" in result.stderr) is (stored != 0)
    entry = record_of(tmp_path / "out")["files"][0]
    edges = 1000 * np.linalg.norm(TURNED[:3, :3], axis=0)[::-1]
    rows, columns = (edges[other] for other in range(3) if other != stored)
    assert (entry["axis"], entry["shape"]) == (axis, list(SHAPE[::-1]))
    assert PixelSize.from_json(entry["pixel_size"]) == PixelSize(pytest.approx(rows), pytest.approx(columns))


def test_naming_the_slowest_axis_changes_nothing(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    path = write_nifti(tmp_path / "v.nii.gz", voxels, affine=TURNED)
    for out, options in (("a", ()), ("b", ("--axis", "x"))):
        assert bioseg("predict", model, path, "--out", tmp_path / out, *options).exit_code == 0
    assert (tmp_path / "a" / "v.nii.gz").read_bytes() == (tmp_path / "b" / "v.nii.gz").read_bytes()


def test_a_minc_volume_becomes_nifti_at_the_same_place(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    stored = np.ascontiguousarray(voxels.transpose(1, 2, 0))  # y, z, x, as MINC files of brains have it
    path = write_minc(
        tmp_path / "v.mnc", stored, real=(0, 65535), steps=(-0.5, 0.6, 0.7), starts=(9, -8, 7), chunks=(10, 27, 21)
    )
    result = bioseg("predict", model, path, "--out", tmp_path / "out", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    image = nibabel.load(tmp_path / "out" / "v.nii.gz")  # type: ignore[attr-defined]
    assert image.shape == stored.shape[::-1]
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms(), (0.7, 0.6, 0.5), rtol=1e-6)
    before = open_volume(path)
    i, j, k = 3, 11, 5
    np.testing.assert_allclose(image.affine @ (i, j, k, 1), before.affine @ (k, j, i, 1), rtol=1e-6)
    assert_same_labels(np.asarray(image.dataobj).T, predicted_by_slices(model, stored, axis=0))
    assert record_of(tmp_path / "out")["files"][0]["axis"] == "y"


def test_memory_does_not_grow_with_the_number_of_slices(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    long = np.random.default_rng(0).integers(500, 3000, (64, 64, 900)).astype(np.uint16)
    path = write_nifti(tmp_path / "v.nii", long)
    few = write_nifti(tmp_path / "few.nii", long[..., :20])
    assert (
        bioseg("predict", model, few, "--out", tmp_path / "few", "--tile", 128).exit_code == 0
    )  # imports what it needs
    tracemalloc.start()
    try:
        assert bioseg("predict", model, path, "--out", tmp_path / "out", "--tile", 128).exit_code == 0
        assert tracemalloc.get_traced_memory()[1] < long.nbytes / 2
    finally:
        tracemalloc.stop()


def test_a_folder_may_hold_images_and_volumes(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_image(folder / "t1.tif", discs(1)[0][0])
    write_nifti(folder / "t1.nii", voxels)
    write_nifti(folder / "t2.nii.gz", voxels[..., 0:1])
    (folder / "notes.gz").write_bytes(gzip.compress(b"no volume"))
    result = bioseg("predict", model, folder, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert "1 image and 2 volumes" in result.stderr
    names = {name for entry in json.loads(result.stdout)["files"] for name in entry["outputs"]}
    assert names == {"t1.tif", "t1.nii.gz", "t2.nii.gz"} == {p.name for p in out.iterdir()} - {"predictions.yaml"}
    assert read_mask(out / "t1.tif").shape == (48, 48)
    # The folder's volumes go with their record, as its masks do.
    assert bioseg("predict", model, folder / "t1.tif", "--out", out, "--overwrite").exit_code == 0
    assert {p.name for p in out.iterdir()} == {"t1.tif", "predictions.yaml"}


def test_a_broken_volume_leaves_nothing_and_the_others_are_done(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(500, 3000, (40, 40, 30)).astype(np.uint16)
    broken = write_nifti(tmp_path / "broken.nii.gz", noise)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    whole = write_nifti(tmp_path / "whole.nii.gz", noise)
    other = write_nifti(tmp_path / "other.nii.gz", noise.astype(np.uint8))
    out = tmp_path / "out"
    result = bioseg("predict", model, broken, other, whole, "--out", out, "--tile", 64, "--overlay")
    assert result.exit_code == 1
    assert "2 of 3 images failed" in result.stderr and "breaks off after" in result.stderr
    assert sorted(p.name for p in out.iterdir()) == ["overlays", "predictions.yaml", "whole.nii.gz"]
    assert all(p.name.startswith("whole") for p in (out / "overlays").iterdir())
    assert [failure["name"] for failure in record_of(out)["failures"]] == ["broken", "other"]
    result = bioseg("predict", model, broken, "--out", tmp_path / "alone", "--tile", 64)
    assert result.exit_code == 3 and "breaks off after" in result.stderr
    assert not (tmp_path / "alone").exists()


def test_what_stands_in_the_way_of_one_mask_stops_nothing_else(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    paths = [write_nifti(tmp_path / f"{name}.nii", voxels[..., :2]) for name in "ab"]
    (tmp_path / "out" / "a.nii.gz").mkdir(parents=True)
    result = bioseg("predict", model, *paths, "--out", tmp_path / "out", "--overwrite")
    assert result.exit_code == 1
    assert "a.nii.gz" in result.stderr and "could not be written (Is a directory)" in result.stderr
    assert (tmp_path / "out" / "b.nii.gz").is_file()


def test_an_output_that_cannot_be_written_stops_everything(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    paths = [write_nifti(tmp_path / f"{name}.nii", voxels[..., :2]) for name in "ab"]
    (tmp_path / "out").write_text("a file where the folder should be")
    result = bioseg("predict", model, *paths, "--out", tmp_path / "out", "--overwrite")
    assert result.exit_code == 2 and "A file is where the folder would go" in result.stderr
    assert "Left out" not in result.stderr


def test_overlays_show_six_slices_upright(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    values = np.full((20, 40, 33), 600, np.uint16)
    values[12:, :, :] = 1500  # the front
    values[:, 25:, :] += 1500  # the upper end
    path = write_nifti(tmp_path / "v.nii.gz", values, affine=TURNED)
    assert bioseg("predict", model, path, "--out", tmp_path / "out", "--overlay").exit_code == 0
    pictures = sorted((tmp_path / "out" / "overlays").iterdir())
    assert [picture.name for picture in pictures] == [f"v_s{number:03d}.png" for number in (2, 8, 13, 19, 24, 30)]
    names = [picture.relative_to(tmp_path / "out").as_posix() for picture in pictures]
    assert record_of(tmp_path / "out")["files"][0]["outputs"] == ["v.nii.gz", *names]
    # Rows are the second axis of the file, columns the first, which runs to the front.
    rgb = np.asarray(Image.open(pictures[0])).astype(float)
    assert rgb.shape == (40, 20, 3)
    grey = np.where(np.ptp(rgb, axis=2) == 0, rgb[..., 0], np.nan)  # without the outlines, which are coloured
    assert np.nanmean(grey[:15]) > np.nanmean(grey[15:]) + 30
    assert np.nanmean(grey[:, 12:]) > np.nanmean(grey[:, :12]) + 30
    short = write_nifti(tmp_path / "w.nii.gz", values[..., :2], affine=TURNED)
    assert bioseg("predict", model, short, "--out", tmp_path / "short", "--overlay").exit_code == 0
    assert len(list((tmp_path / "short" / "overlays").iterdir())) == 2


def test_pixel_sizes_of_slices_are_compared_with_the_training_images(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    edges = np.diag([0.0005, 0.0005, 0.01, 1])  # the model was trained on pixels of 0.5 µm, along both sides
    path = write_nifti(tmp_path / "v.nii.gz", voxels[..., :3], affine=edges)
    for axis, warned in (("z", False), ("y", True), ("x", True)):
        result = bioseg("predict", model, path, "--out", tmp_path / axis, "--axis", axis)
        assert ("Its pixels are" in result.stderr) is warned
    far = write_nifti(tmp_path / "far.nii.gz", voxels[..., :3], affine=edges * 2)
    assert "Its pixels are" in bioseg("predict", model, far, "--out", tmp_path / "far").stderr


@pytest.mark.parametrize(
    ("case", "code", "message"),
    [
        ("probabilities", 2, "Leave out --probabilities"),
        ("axis without volume", 2, "--axis is for volumes"),
        ("axis of nowhere", 3, "neither sform nor qform"),
        ("other type", 3, "the model was trained on uint16"),
        ("same mask", 2, "same mask V.nii.gz"),
        ("replaced", 2, "would replace the image"),
        ("four axes", 3, "a volume has three"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    bioseg: Bioseg, model: Path, tmp_path: Path, case: str, code: int, message: str
) -> None:
    values = np.full((9, 8, 2), 900, np.uint16)
    path, out = tmp_path / "v.nii.gz", tmp_path / "out"
    inputs: list[Path] = [path]
    options: tuple[str, ...] = ()
    if case == "axis of nowhere":
        write_nifti(path, values, affine=np.eye(4), codes=(0, 0))
        options = ("--axis", "x")
    elif case == "other type":
        write_nifti(path, values.astype(np.float32))
    elif case == "four axes":
        write_nifti(path, np.stack([values] * 2, axis=-1))
    else:
        write_nifti(path, values)
    if case == "probabilities":
        options = ("--probabilities",)
    elif case == "axis without volume":
        write_image(tmp_path / "a.tif", discs(1)[0][0])
        inputs, options = [tmp_path / "a.tif"], ("--axis", "z")
    elif case == "same mask":
        inputs.append(write_minc(tmp_path / "V.mnc", values))
    elif case == "replaced":
        out, options = tmp_path, ("--overwrite",)
    result = bioseg("predict", model, *inputs, "--out", out, *options)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_another_type_can_be_allowed(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "v.nii", np.full((9, 8, 2), 0.5, np.float32))
    assert bioseg("predict", model, path, "--out", tmp_path / "out", "--any-dtype").exit_code == 0
    assert voxels_of(tmp_path / "out" / "v.nii.gz").shape == (9, 8, 2)


def test_a_part_may_be_without_a_volume(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    write_nifti(tmp_path / "v.nii", voxels)
    arguments = ("predict", model, tmp_path / "v.nii", "--axis", "x", "--out", tmp_path / "out", "--part")
    for part in ("1/2", "2/2"):
        result = bioseg(*arguments, part)
        assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["predictions-1-2.yaml", "v.nii.gz"]


def test_an_image_and_a_volume_of_one_name_are_gone_on_with(
    bioseg: Bioseg, model: Path, voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    write_image(images / "a.tif", discs(0)[0][0])
    write_nifti(images / "a.nii", voxels)
    assert "2 masks written" in bioseg("predict", model, images, "--out", out).stdout
    command = ("predict", model, images, "--out", out, "--skip-existing")
    assert "2 skipped" in bioseg(*command).stdout
    write_image(images / "a.tif", discs(1)[0][0])
    before = (out / "a.tif").read_bytes()
    assert "1 predicted again, 1 skipped" in bioseg(*command).stdout
    assert (out / "a.tif").read_bytes() != before
    assert sorted(entry["outputs"][0] for entry in record_of(out)["files"]) == ["a.nii.gz", "a.tif"]
