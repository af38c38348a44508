"""What a viewer shows is what every command sees: white as zero, palettes and orientation, through the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers.corpus import noise, turned
from helpers.corpus_rasters import exif, png
from helpers.corpus_tiff import ASCII, BLACK, LONG, PALETTE, RATIONAL, SHORT, WHITE, page, tiff
from helpers.models import save_random_model
from PIL import Image

from bioseg_cli.config import build_config, read_yaml
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.evaluation.folder_ground_truth import FolderGroundTruth
from bioseg_cli.io.image_writer import write_labels
from bioseg_cli.io.images import ImageFile, inspect_image, read_frame
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.masks.frames import MaskReader
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.runs.console import ConsoleOutput

Bioseg = Callable[..., Result]
IMAGEJ = {270: (ASCII, b"ImageJ=1.54f\n\0")}


def object_mask(top: int = 255) -> np.ndarray:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:12, 8:20] = top
    return mask


def prepared(root: Path, *, masks: dict[str, bytes], images: dict[str, bytes] | None = None) -> tuple[dict, Dataset]:
    for folder, files in (("images", images or {}), ("masks", masks)):
        (root / folder).mkdir()
        for name, content in files.items():
            (root / folder / name).write_bytes(content)
    if images is None:
        for number, name in enumerate(masks):
            tifffile.imwrite(root / "images" / name, noise(30, 40, seed=number))
    settings = {"images": root / "images", "masks": root / "masks", "out": root / "set.h5"}
    summary = session.run(build_config(FolderConfig, settings), ConsoleOutput(quiet=True), overwrite=False).to_json()
    return summary, Dataset(root / "set.h5")


def masks_of_every_program() -> dict[str, bytes]:
    """One mask, as programs write it that store white as zero and that do not."""
    mask = object_mask()
    ones = (mask > 0).astype(np.uint8)
    return {
        "a.tif": tiff(page(mask, BLACK)),
        "b.tif": tiff(page(255 - mask, WHITE)),
        "c.tif": tiff(page(1 - ones, WHITE, bits=1)),
        "d.tif": tiff(page(mask, WHITE, tags=IMAGEJ)),
        "e.tif": tiff(page((mask > 0) * np.uint16(0) + (mask == 0) * np.uint16(65535), WHITE)),
        "f.tif": tiff(page(ones, WHITE, bits=1, tags={305: (ASCII, b"tifffile.py\0")})),
    }


def test_one_mask_however_it_is_written(tmp_path: Path) -> None:
    for name, content in masks_of_every_program().items():
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(read_mask(tmp_path / name) > 0, object_mask() > 0, err_msg=name)


def test_a_folder_of_both_kinds_of_masks_is_one_set(tmp_path: Path) -> None:
    kept = {name: content for name, content in masks_of_every_program().items() if name in ("a.tif", "b.tif", "d.tif")}
    summary, dataset = prepared(tmp_path, masks=kept)
    with dataset:
        for index in range(dataset.size):
            np.testing.assert_array_equal(dataset.labels(index), object_mask() > 0)
    assert (
        "1 of 3 masks: white is zero in the file, the values are inverted as a viewer shows them (b.tif)"
        in (summary["notes"])
    )
    stays = "1 of 3 masks: white is zero for display alone, as ImageJ writes it, the values stay as stored (d.tif)"
    assert stays in summary["notes"]


def test_numbered_objects_with_white_as_zero_are_refused(tmp_path: Path) -> None:
    labels = object_mask(3)
    labels[20:25, 20:25] = 7
    (tmp_path / "m.tif").write_bytes(tiff(page(labels, WHITE)))
    with pytest.raises(DataError, match=r"it holds other values than black and white \(3, 7\)") as error:
        read_mask(tmp_path / "m.tif")
    assert "Invert LUT" in str(error.value)
    (tmp_path / "m.tif").write_bytes(tiff(page(labels, WHITE, tags=IMAGEJ)))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), labels)


def test_a_palette_is_colours_of_an_image_and_numbers_of_a_mask(tmp_path: Path) -> None:
    numbers, colours = noise(30, 40, high=3), noise(3, 4, high=65535, dtype=np.uint16)
    content = tiff(
        page(numbers, PALETTE, bits=4, tags={320: (SHORT, np.pad(colours, [(0, 0), (0, 12)]).ravel().tolist())})
    )
    (tmp_path / "p.tif").write_bytes(content)
    np.testing.assert_array_equal(read_frame(tmp_path / "p.tif"), (colours >> 8)[:, numbers])
    info = inspect_image(tmp_path / "p.tif")
    assert (info.channels, info.dtype) == (3, np.uint8)
    np.testing.assert_array_equal(read_mask(tmp_path / "p.tif"), numbers)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tile", [None, 16])
def test_a_turned_image_is_turned_in_every_region(tmp_path: Path, orientation: int, tile: int | None) -> None:
    stored = np.stack([noise(30, 44, seed=1), noise(30, 44, seed=2)])
    tags = {274: (SHORT, [orientation]), 282: (RATIONAL, [1000, 1]), 283: (RATIONAL, [500, 1]), 296: (SHORT, [3])}
    pages = [page(pixels, WHITE, tile=tile, rows=7, compression=8, tags=tags) for pixels in stored]
    (tmp_path / "a.tif").write_bytes(tiff(*pages))
    shown = turned(255 - stored, orientation)
    quarter = orientation >= 5
    with ImageFile(tmp_path / "a.tif") as file:
        assert (file.info.frames, file.info.height, file.info.width) == shown.shape
        assert file.info.orientation == orientation and file.info.stored_shape == (30, 44)
        assert file.info.pixel_size == (PixelSize(10, 20) if quarter else PixelSize(20, 10))
        for frame in (1, 0):
            for top in range(0, shown.shape[1], 9):
                region = file.read(frame, slice(top, top + 9), slice(3, 17))
                assert region.flags.c_contiguous
                np.testing.assert_array_equal(region[0], shown[frame, top : top + 9, 3:17])


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_mask_that_fits_the_image_either_way_is_refused(tmp_path: Path, orientation: int) -> None:
    square = noise(30, 30)
    images = {"a.png": png(square[..., None], 8, 0, chunks=[(b"eXIf", exif(orientation))])}
    masks = {"a.tif": tiff(page(object_mask()[:30, :30]))}
    with pytest.raises(DataError) as error:
        prepared(tmp_path, masks=masks, images=images)
    assert error.value.what == (
        f"The mask has orientation 1, its image a.png {orientation}, and the mask fits the image turned or not"
    )
    assert error.value.where == str(tmp_path / "masks" / "a.tif")


@pytest.mark.parametrize(("orientation", "shape"), [(6, (40, 30)), (1, (30, 40))])
def test_a_mask_that_fits_the_image_one_way_belongs_to_it(
    tmp_path: Path, orientation: int, shape: tuple[int, int]
) -> None:
    names = [f"{letter}.png" for letter in "abcd"]
    pixels = [noise(30, 40, 1, seed=number) for number in range(4)]
    chunks = [(b"eXIf", exif(orientation))]
    images = {name: png(image, 8, 0, chunks=chunks) for name, image in zip(names, pixels, strict=True)}
    mask = np.zeros(shape, np.uint8)
    mask[3:9, 4:22] = 255
    summary, dataset = prepared(tmp_path, masks={f"{name[0]}.tif": tiff(page(mask)) for name in names}, images=images)
    with dataset:
        found = {dataset.image(index).tobytes() for index in range(4)}
        assert found == {turned(image[..., 0], orientation).tobytes() for image in pixels}
        np.testing.assert_array_equal(dataset.labels(0), mask > 0)
    said = "4 of 4 images: the file says that its image does not lie upright, it is turned as a viewer shows it"
    assert (f"{said} (a.png, b.png, c.png, ...)" in summary["notes"]) == (orientation != 1)


def test_a_mask_drawn_on_the_image_as_it_is_stored_is_told_so(tmp_path: Path) -> None:
    images = {"a.png": png(noise(30, 40, 1), 8, 0, chunks=[(b"eXIf", exif(6))])}
    with pytest.raises(DataError, match=r"30 x 40 pixels, its image a\.png 40 x 30") as error:
        prepared(tmp_path, masks={"a.tif": tiff(page(object_mask()))}, images=images)
    assert error.value.fix is not None
    assert error.value.fix.startswith("Turn the image the way the mask was drawn, and save it without an orientation.")


def test_predicted_masks_lie_as_the_image_is_shown(bioseg: Bioseg, tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model.safetensors")
    pixels = discs(3)[0][0][:48]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "plain.tif").write_bytes(tiff(page(pixels)))
    (tmp_path / "in" / "white.tif").write_bytes(tiff(page(65535 - pixels, WHITE)))
    on_its_side = np.ascontiguousarray(np.rot90(pixels))  # which a quarter turn clockwise puts upright
    (tmp_path / "in" / "turned.tif").write_bytes(tiff(page(on_its_side, tags={274: (SHORT, [6])})))
    out = tmp_path / "out"
    result = bioseg("predict", model, tmp_path / "in", "--out", out, "--overlay", "--device", "cpu")
    assert result.exit_code == 0, result.output
    plain = read_mask(out / "plain.tif")
    assert len(np.unique(plain)) > 1
    for name in ("white", "turned"):
        np.testing.assert_array_equal(read_mask(out / f"{name}.tif"), plain, err_msg=name)
        assert inspect_image(out / f"{name}.tif").orientation == 1
        with Image.open(out / "overlays" / f"{name}.png") as overlay, Image.open(out / "overlays/plain.png") as wanted:
            np.testing.assert_array_equal(np.asarray(overlay), np.asarray(wanted))
    assert "1 of 3 images: white is zero in the file, the values are inverted" in result.stderr
    assert "1 of 3 images: the file says that its image does not lie upright" in result.stderr
    entries = {entry["name"]: entry for entry in read_yaml(out / "predictions.yaml")["files"]}
    assert "notes" not in entries["plain"] and "turned as a viewer shows it" in entries["turned"]["notes"][0]


def test_evaluate_says_how_it_reads_true_masks(bioseg: Bioseg, tmp_path: Path) -> None:
    for folder in ("truth", "predicted"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        write_labels(tmp_path / "predicted" / f"{number}.tif", (object_mask() > 0).astype(np.uint8), None)
        (tmp_path / "truth" / f"{number}.tif").write_bytes(tiff(page(255 - object_mask(), WHITE)))
    truth = FolderGroundTruth(tmp_path / "truth", None, (), None, MaskReader(), ConsoleOutput(quiet=True))
    assert truth.notes == [
        "3 of 3 true masks: white is zero in the file, the values are inverted as a viewer shows them "
        "(0.tif, 1.tif, 2.tif)"
    ]
    result = bioseg(
        "evaluate", "--predictions", tmp_path / "predicted", "--truth", tmp_path / "truth", "--out", tmp_path / "scores"
    )
    assert result.exit_code == 0, result.output
    assert "white is zero in the file" in " ".join(result.output.split())


def test_a_large_time_series_with_previews_is_read_by_its_images(tmp_path: Path) -> None:
    stack = np.stack([noise(40, 60, seed=number) for number in range(4)])
    pages: list[Any] = []
    for pixels in stack:
        pages += [page(pixels[::3, ::3], tags={254: (LONG, [1])}), page(pixels, compression=5, rows=6)]
    (tmp_path / "a.tif").write_bytes(tiff(*pages))
    with ImageFile(tmp_path / "a.tif") as file:
        assert file.info.frames == 4
        for frame in (3, 0, 2):
            np.testing.assert_array_equal(file.read(frame, slice(10, 33), slice(5, 50))[0], stack[frame, 10:33, 5:50])
