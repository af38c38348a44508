"""Images to draw on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.drawn import SIDE


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of six images, beside an empty folder `drawn`."""
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "drawn").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 999, (SIDE, SIDE)).astype(np.uint16)
        tifffile.imwrite(folder / f"a{number}.tif", pixels)
    return folder
