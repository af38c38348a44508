"""Masks that viewers show: a display range or colours, the names of the values, and the axes of the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers.models import CLASSES, record_of, save_clusters, save_random_model, write_image
from helpers.volumes import write_nifti
from PIL import Image

from bioseg_cli.io.axes import NamedAxes, Stacks
from bioseg_cli.io.image_writer import tiff_options
from bioseg_cli.io.images import ImageFile
from bioseg_cli.io.legend import Legend
from bioseg_cli.masks.mask_file import read_mask

Bioseg = Callable[..., Result]
MEANINGS = "0 = background\n1 = cell\n2 = rim"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_random_model(tmp_path / "model.safetensors")


def predict(bioseg: Bioseg, model: Path, image: Path, *options: object) -> Result:
    """Predict an image into `out` beside it."""
    result = bioseg("predict", model, image, "--out", image.parent / "out", "--overwrite", *options)
    assert result.exit_code == 0, result.output
    return result


def predicted(bioseg: Bioseg, model: Path, image: Path, *options: object) -> tifffile.TiffFile:
    """The mask of an image."""
    predict(bioseg, model, image, *options)
    return tifffile.TiffFile(image.parent / "out" / image.name)


def test_a_mask_has_a_display_range_and_the_names_of_its_values(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", discs(0)[0][0])
    with predicted(bioseg, model, tmp_path / "a.tif") as mask:
        metadata = mask.imagej_metadata
        assert metadata is not None
        assert (metadata["min"], metadata["max"], metadata["Info"]) == (0, 2, MEANINGS)
        assert "ColorMap" not in mask.pages.first.tags


def test_colours_change_what_is_shown_and_not_the_values(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", discs(0)[0][0])
    with predicted(bioseg, model, tmp_path / "a.tif") as mask:
        grey = mask.asarray()
    with predicted(bioseg, model, tmp_path / "a.tif", "--lut") as mask:
        metadata = mask.imagej_metadata
        assert metadata is not None
        np.testing.assert_array_equal(mask.asarray(), grey)
        # The display range covers all 256 entries, so that value 2 has the third colour.
        assert (metadata["min"], metadata["max"], metadata["Info"]) == (0, 255, MEANINGS)
        # ImageJ takes the colours of a single channel from here. Other programs see a grey page.
        page = mask.pages.first
        table = page.tags["ColorMap"].value
        assert [tuple(colour) for colour in np.reshape(table, (3, 256)).T[:3] // 257] == [
            value.colour for value in CLASSES
        ]
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
    with Image.open(tmp_path / "out" / "a.tif") as image:
        assert image.mode == "L"
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "a.tif"), grey)


def test_colours_are_for_images_of_up_to_256_values(bioseg: Bioseg, model: Path, tmp_path: Path) -> None:
    volume = write_nifti(tmp_path / "v.nii.gz", np.stack([discs(0)[0][0]] * 2, axis=-1))
    result = bioseg("predict", model, volume, "--out", tmp_path / "out", "--lut")
    assert result.exit_code == 2 and "not into those of volumes" in result.stderr
    write_image(tmp_path / "a.tif", discs(0)[0][0])
    many = save_clusters(tmp_path / "many.safetensors", {}, {"main": 2, "aux": 300})
    clusters = ("--head", "aux", "--raw-clusters")
    result = bioseg("predict", many, tmp_path / "a.tif", "--out", tmp_path / "out", "--lut", *clusters)
    assert result.exit_code == 2 and "256 colours, and the head aux has 300 clusters" in result.stderr
    assert not (tmp_path / "out").exists()


STACKS: Mapping[str, tuple[tuple[int, ...], str]] = {
    "time points": ((3,), "TYX"),
    "planes": ((3,), "ZYX"),
    "time points of planes": ((2, 3), "TZYX"),
}


@pytest.mark.parametrize("name", STACKS)
def test_a_mask_has_the_axes_of_its_image(bioseg: Bioseg, model: Path, tmp_path: Path, name: str) -> None:
    frames, axes = STACKS[name]
    stack = np.stack([discs(number)[0][0] for number in range(int(np.prod(frames)))])
    write_image(tmp_path / "a.tif", stack.reshape(*frames, *stack.shape[1:]), axes=axes)
    result = predict(bioseg, model, tmp_path / "a.tif", "--planes", "--probabilities")
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as mask:
        (series,) = mask.series
        assert (series.axes, series.shape) == (axes, (*frames, *stack.shape[1:]))
        found = series.asarray()
    (entry,) = record_of(tmp_path / "out")["files"]
    assert entry["shape"] == list(found.shape)
    assert f"1 file holds {len(stack)} frames" in result.stderr
    with tifffile.TiffFile(tmp_path / "out" / "probabilities" / "a.tif") as probabilities:
        (series,) = probabilities.series
        assert series.axes == axes.replace("YX", "CYX")
        channel = series.axes.index("C")
        np.testing.assert_array_equal(series.asarray().argmax(axis=channel), found)


@pytest.mark.parametrize("compressed", [None, "zlib"])
def test_planes_stored_before_time_points_are_brought_into_the_order_of_a_mask(
    bioseg: Bioseg, model: Path, tmp_path: Path, compressed: str | None
) -> None:
    stack = np.stack([discs(number)[0][0] for number in range(6)]).reshape(2, 3, 48, 48)  # T, Z
    for name, axes in (("tz", "TZYX"), ("zt", "ZTYX")):
        pixels = stack if axes == "TZYX" else stack.swapaxes(0, 1)
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", pixels, metadata={"axes": axes}, compression=compressed)
        with ImageFile(tmp_path / f"{name}.ome.tif", Stacks(planes=True)) as file:
            assert list(file.info.stack.items()) == [("T", 2), ("Z", 3)]
            np.testing.assert_array_equal([file.read(frame)[0] for frame in range(6)], stack.reshape(6, 48, 48))
    images = tmp_path / "tz.ome.tif", tmp_path / "zt.ome.tif"
    assert bioseg("predict", model, *images, "--planes", "--out", tmp_path / "out").exit_code == 0
    masks = [tifffile.TiffFile(tmp_path / "out" / f"{name}.tif").series[0] for name in ("tz", "zt")]
    assert [mask.axes for mask in masks] == ["TZYX", "TZYX"]
    np.testing.assert_array_equal(*(mask.asarray() for mask in masks))


def test_frames_along_axes_without_a_name_are_time_points() -> None:
    def stack(letters: str, *shape: int) -> dict[str, int]:
        return NamedAxes(letters, "file").stack(shape)

    assert stack("TZCYX", 2, 3, 4, 8, 9) == {"T": 2, "Z": 3}
    assert list(stack("ZTYX", 2, 3, 8, 9).items()) == [("T", 3), ("Z", 2)]
    assert stack("ZIYX", 2, 3, 8, 9) == {"T": 6}
    assert stack("IYXS", 5, 8, 9, 3) == {"T": 5}
    assert stack("TZYX", 1, 3, 8, 9) == {"Z": 3}
    assert stack("CYX", 5, 8, 9) == {}


def test_a_mask_beyond_the_format_of_imagej_keeps_the_names() -> None:
    legend = Legend(("background", "cell"), ((0, 0, 0), (255, 180, 0)))
    options = tiff_options((70000, 70000), np.dtype(np.uint8), "YX", None, legend)
    assert options["ome"] and options["metadata"] == {"axes": "YX", "Description": "0 = background\n1 = cell"}
