"""Recipe for generated images: every command can be tried without any data and without a network."""

from __future__ import annotations

from functools import partial

import numpy as np

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import Drawn
from bioseg_cli.figures.palette import PALETTE
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.prepare.recipe import Collection, Loaded, SourceImage
from bioseg_cli.prepare.recipes.settings import DemoConfig
from bioseg_cli.prepare.recipes.synthetic import nuclei, phase_cells
from bioseg_cli.runs.output import Output

PIXEL_SIZE = PixelSize(0.65, 0.65)
"""Of the cameras and objectives the pictures are modelled on: nuclei are 20 µm long."""


def collect(config: DemoConfig, output: Output) -> Collection:
    """Records of images that are generated when they are loaded; each depends on the seed and its number alone."""
    is_nuclei = config.kind == "nuclei"
    return Collection(
        images=tuple(_image(config, number) for number in range(config.images)),
        classes=(BACKGROUND, ClassInfo(name="nucleus" if is_nuclei else "cell", colour=PALETTE[0])),
        channels=1,
        dtype=np.dtype(np.uint16 if is_nuclei else np.uint8),
        keep_groups=True,
        masks_read_as="exact, generated with the images",
        numbers_objects=True,
        pixel_size=PIXEL_SIZE,
    )


def _image(config: DemoConfig, number: int) -> SourceImage:
    name = f"{config.kind}_{number:03d}"
    return SourceImage(
        file=f"{name}.tif",
        frame=0,
        shape=(config.size, config.size),
        group=name,
        labelled=True,
        load=partial(_generate, config, number),
    )


def _generate(config: DemoConfig, number: int) -> Loaded:
    rng = np.random.default_rng([config.seed, number])
    pixels, objects = (nuclei if config.kind == "nuclei" else phase_cells)(rng, config.size)
    return Loaded(pixels[None], Drawn((objects > 0).astype(np.uint8), objects))
