"""`bioseg predict` on images unlike those of the training: named before they are written, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import SIZE, discs
from helpers.models import record_of, save_random_model, write_image

import bioseg_cli as bioseg_api
from bioseg_cli.compute.device import resolve_device
from bioseg_cli.dataset.intensities import training_intensities
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.io.intensities import Intensities
from bioseg_cli.model.saved import load_model

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]


def disc_image(seed: int = 100) -> np.ndarray:
    return discs(seed)[0][0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images like those of the training, one brighter, one with an offset of 32768, and one without anything."""
    path = tmp_path / "images"
    path.mkdir()
    for number in (1, 2):
        write_image(path / f"like{number}.tif", disc_image(100 + number))
    write_image(path / "brighter.tif", disc_image() + 1500)
    write_image(path / "offset.tif", (disc_image().astype(int) + 32768).astype(np.uint16))
    write_image(path / "saturated.tif", np.full((SIZE, SIZE), 65535, np.uint16))
    return path


def test_a_model_keeps_the_grey_levels_of_all_training_images(disc_run: Path, disc_dataset: Path) -> None:
    card = load_model(disc_run / "checkpoints" / "last.safetensors", resolve_device("cpu")).card
    seen = card.training_intensities()
    with Dataset(disc_dataset) as dataset:
        images = dataset.indices("train").tolist()
        assert seen is not None and seen == training_intensities(dataset) and seen.images == len(images)
        middles = [Intensities.of(dataset.image(index)[0]).middle for index in images]
    assert seen.channels[0]["middle"] == (min(middles), max(middles))


def test_padding_is_no_grey_level(bioseg: Bioseg, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number, side in enumerate((40, 40, 64)):
        write_image(tmp_path / "images" / f"{number}.tif", disc_image(number)[:side, :side])
    out = tmp_path / "d.h5"
    result = bioseg("prepare", "folder", "--images", tmp_path / "images", "--out", out, "--crop", 64)
    assert result.exit_code == 0, result.output
    with Dataset(out) as dataset:
        assert training_intensities(dataset).channels[0]["low"][0] > 500


def test_images_are_named_before_they_are_written_and_meaningless_ones_are_refused(
    bioseg: Bioseg, disc_run: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = bioseg("predict", disc_run, folder, "--out", out)
    said = " ".join(result.stderr.split())
    assert result.exit_code == 1, result.output
    assert sorted(path.name for path in out.glob("*.tif")) == ["brighter.tif", "like1.tif", "like2.tif"]
    record = record_of(out)
    unlike = {entry["name"]: entry.get("unlike_training") for entry in record["files"]}
    assert unlike["like1"] is None and unlike["like2"] is None
    assert "darker than" in unlike["brighter"][0]
    assert "brighter.tif is unlike the training images. 1 % of its pixels are darker than" in said
    reasons = {failure["name"]: failure["error"] for failure in record["failures"]}
    assert "lie outside of the range that the network sees" in reasons["offset"]
    assert "All pixels have the value 65535: its mask would mean nothing" in reasons["saturated"]
    assert "--force predicts it all the same" in reasons["saturated"]


def test_force_goes_on_and_leaves_the_flag(bioseg: Bioseg, disc_run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = bioseg("predict", disc_run, folder, "--out", out, "--force")
    assert result.exit_code == 0, result.output
    assert len(list(out.glob("*.tif"))) == 5
    flagged = {entry["name"] for entry in record_of(out)["files"] if entry.get("unlike_training")}
    assert flagged == {"brighter", "offset", "saturated"}
    again = bioseg("predict", disc_run, folder, "--out", out, "--skip-existing")
    assert "5 skipped" in again.output  # what was allowed once is done


def test_several_processes_say_the_same(bioseg: Bioseg, disc_run: Path, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("dask.distributed")
    result = bioseg("predict", disc_run, folder, "--out", tmp_path / "out", "--jobs", 2)
    said = " ".join(result.stderr.split())
    assert "brighter.tif is unlike the training images. 1 % of its pixels" in said
    assert {failure["name"] for failure in record_of(tmp_path / "out")["failures"]} == {"offset", "saturated"}


def test_every_frame_that_is_looked_at_counts(bioseg: Bioseg, disc_run: Path, tmp_path: Path) -> None:
    frames = np.stack([disc_image(number) for number in range(7)])
    frames[3] += 1500
    tifffile.imwrite(tmp_path / "stack.tif", frames, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "plain.tif", np.delete(frames, 3, axis=0), imagej=True, metadata={"axes": "TYX"})
    stacks = tmp_path / "stack.tif", tmp_path / "plain.tif"
    bioseg("predict", disc_run, *stacks, "--out", tmp_path / "out")
    entries = {entry["name"]: entry for entry in record_of(tmp_path / "out")["files"]}
    assert "unlike_training" in entries["stack"] and "unlike_training" not in entries["plain"]


def test_large_images_are_looked_at_in_blocks_of_rows(bioseg: Bioseg, disc_run: Path, tmp_path: Path) -> None:
    tiled = np.tile(disc_image(), (25, 25))
    for name, pixels in (("like", tiled), ("offset", tiled + np.uint16(32768))):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    images = tmp_path / "like.tif", tmp_path / "offset.tif"
    bioseg("predict", disc_run, *images, "--out", tmp_path / "out", "--tile", 512)
    record = record_of(tmp_path / "out")
    assert [entry["name"] for entry in record["files"]] == ["like"] and "unlike_training" not in record["files"][0]
    assert [entry["name"] for entry in record["failures"]] == ["offset"]


def test_missing_pixel_sizes_are_said_once(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "m.safetensors")
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", disc_image(number))
    write_image(tmp_path / "sized.tif", disc_image())
    images = sorted(tmp_path.glob("*.tif"))
    said = " ".join(bioseg("predict", model, *images, "--out", tmp_path / "out").stderr.split())
    assert said.count("no pixel size") == 1
    assert "3 of 4 images state no pixel size. The training images have 0.5 x 0.5 µm" in said
    assert "no pixel size" not in bioseg("predict", model, images[-1], "--out", tmp_path / "sized").stderr


def test_a_model_of_an_earlier_version_knows_no_grey_levels(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "m.safetensors")
    write_image(tmp_path / "a.tif", (disc_image().astype(int) + 32768).astype(np.uint16))
    result = bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out")
    assert result.exit_code == 0 and "unlike_training" not in record_of(tmp_path / "out")["files"][0]


def test_the_python_function_refuses_and_warns_alike(disc_run: Path) -> None:
    model = bioseg_api.load_model(disc_run)
    assert not model.predict(disc_image(), pixel_size=model.pixel_size).warnings
    assert "darker than" in model.predict(disc_image() + 1500).warnings[0]
    constant = np.full((SIZE, SIZE), 3, np.uint16)
    with pytest.raises(DataError, match="All pixels have the value 3"):
        model.predict(constant)
    assert model.predict(constant, force=True).warnings == ("All pixels have the value 3",)


def test_a_volume_is_told_by_most_of_its_slices(bioseg: Bioseg, disc_run: Path, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    slices = np.stack([disc_image(number) for number in range(9)], axis=-1)
    empty = np.concatenate([np.zeros_like(slices[..., :2]), slices], axis=-1)
    shifted = slices.copy()
    shifted[..., :6] += 1500
    for name, voxels in (("like", empty), ("shifted", shifted)):
        nibabel.Nifti1Image(voxels, np.diag([0.0005, 0.0005, 0.01, 1])).to_filename(tmp_path / f"{name}.nii.gz")
    volumes = tmp_path / "like.nii.gz", tmp_path / "shifted.nii.gz"
    result = bioseg("predict", disc_run, *volumes, "--out", tmp_path / "out", "--tile", 64)
    assert result.exit_code == 0, result.output
    entries = {entry["name"]: entry for entry in record_of(tmp_path / "out")["files"]}
    assert "unlike_training" not in entries["like"] and "unlike_training" in entries["shifted"]
    assert "shifted.nii.gz is unlike the training images" in " ".join(result.stderr.split())


@pytest.mark.parametrize("tile", [64, 1024])
def test_a_volume_in_which_the_network_can_see_nothing_is_refused(
    bioseg: Bioseg, disc_run: Path, tmp_path: Path, tile: int
) -> None:
    nibabel = pytest.importorskip("nibabel")
    slices = np.stack([disc_image(number) for number in range(5)], axis=-1)
    empty = np.zeros_like(slices[..., :2])
    offset = (slices.astype(int) + 32768).astype(np.uint16)
    volumes = {"like": slices, "offset": np.concatenate([empty, offset], axis=-1), "empty": empty + 7}
    for name, voxels in volumes.items():
        nibabel.Nifti1Image(voxels, np.diag([0.0005, 0.0005, 0.01, 1])).to_filename(tmp_path / f"{name}.nii.gz")
    out, paths = tmp_path / "out", [tmp_path / f"{name}.nii.gz" for name in volumes]
    result = bioseg("predict", disc_run, *paths, "--out", out, "--tile", tile, "--overlay")
    assert result.exit_code == 1, result.output
    assert [path.name for path in out.glob("*.nii.gz")] == ["like.nii.gz"]
    assert {path.name[:4] for path in (out / "overlays").iterdir()} == {"like"}
    reasons = {failure["name"]: failure["error"] for failure in record_of(out)["failures"]}
    assert "lie outside of the range that the network sees" in reasons["offset"]
    assert "All pixels have the value 7: its mask would mean nothing" in reasons["empty"]
    assert bioseg("predict", disc_run, *paths, "--out", out, "--force", "--overwrite").exit_code == 0
    flagged = {entry["name"] for entry in record_of(out)["files"] if entry.get("unlike_training")}
    assert flagged == {"offset", "empty"}
