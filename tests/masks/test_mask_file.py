"""What a mask file says of its values: nothing, or why the file cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bioseg_cli.errors import DataError
from bioseg_cli.masks.mask_file import mask_traits


@pytest.fixture(params=["png", "bmp"])
def coloured(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A mask with a palette of four colours."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 4, (20, 24)).astype(np.uint8), "P")
    image.putpalette([value for colour in range(4) for value in (60 * colour, 255 - 60 * colour, colour)])
    path = tmp_path / f"a.{request.param}"
    image.save(path)
    return path


def test_a_palette_is_a_trait(coloured: Path) -> None:
    traits = mask_traits(coloured)
    assert traits.palette is not None and traits.palette[:6] == bytes([0, 255, 0, 60, 195, 1])


def test_a_palette_of_a_file_that_breaks_off_is_refused_by_name(coloured: Path) -> None:
    whole = coloured.read_bytes()
    for length in range(1, len(whole), 7):
        coloured.write_bytes(whole[:length])
        try:
            mask_traits(coloured)
        except DataError as error:
            assert str(coloured) in str(error)
    coloured.write_bytes(whole[: len(whole) - 40])
    with pytest.raises(DataError, match="could not be read"):
        mask_traits(coloured)


@pytest.mark.parametrize(("kind", "count"), [("H", 5), ("f", 6), ("s", 9)])
def test_a_palette_of_other_values_is_refused(tmp_path: Path, kind: str, count: int) -> None:
    table = (320, kind, count, b"abcdefghi" if kind == "s" else (1,) * count, True)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.uint8), photometric="minisblack", extratags=[table])
    with pytest.raises(DataError, match="could not be read"):
        mask_traits(tmp_path / "a.tif")
