"""Whether an image is like those that a model was trained on: channels, pixel type, grey levels and pixel size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.io.intensities import SAMPLED, Deviation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model.saved import ModelCard

CHANNEL_WORDS = {1: "1 channel (grey)", 3: "3 channels (colour)"}
PIXEL_SIZE_TOLERANCE = 1.1
"""Pixel sizes that differ by a larger factor than this show objects of another size than in training."""
FRAMES, BLOCKS = 3, 16
"""Evenly spaced frames of a stack, and blocks of rows of a frame, that are looked at."""


def refuse_unlike(
    card: ModelCard, channels: int, dtype: np.dtype[Any], where: Path | None, *, any_dtype: bool | None
) -> None:
    """Raise `DataError` where an image has another number of channels, or another pixel type.

    Args:
        card: of the model.
        channels: of the image.
        dtype: of its pixels.
        where: the file that the error names.
        any_dtype: as `Predictor` takes it.
    """
    trained = card.architecture.in_channels
    if channels != trained:
        what = f"The image has {_channels(channels)}, the model was trained on {_channels(trained)}"
        fix = "Save it as a grey image." if trained == 1 else "Give images like those it was trained on."
        raise DataError(what, where=where, fix=fix)
    if not any_dtype and _family(dtype) != _family(np.dtype(card.image_dtype)):
        raise DataError(
            f"The image is {dtype}, the model was trained on {card.image_dtype}: the numbers differ",
            where=where,
            fix=f"Give {card.image_dtype} images"
            + ("." if any_dtype is None else ", or --any-dtype if the numbers mean the same."),
        )


def deviations(card: ModelCard, pixels: NDArray[Any], pixel_size: PixelSize | None) -> list[Deviation]:
    """In what an image is unlike the training images of a model.

    Args:
        card: of the model. That of an earlier bioseg does not know the grey levels of its training images.
        pixels: (C, H, W) as stored.
        pixel_size: of the image, where it is known.
    """
    seen = card.training_intensities()
    found = [] if seen is None else seen.deviations(pixels, card.intensities())
    return [*found, *_other_size(pixel_size, card.training_pixel_size())]


def refuse_meaningless(found: Sequence[Deviation], where: Path | None) -> None:
    """Raise `DataError` where the network cannot see what is in an image."""
    for deviation in found:
        if deviation.meaningless:
            raise DataError(
                f"{deviation.sentence}: its mask would mean nothing",
                where=where,
                fix="Export the image as the training images were exported. --force predicts it all the same.",
            )


def unlike_training(name: str, sentences: Sequence[str]) -> str:
    """The warning about an image that is unlike the training images."""
    return f"{name} is unlike the training images. {'. '.join(sentences)}."


def is_other_size(size: PixelSize | None, trained: PixelSize | None) -> bool:
    """Whether images show objects of another size than those of the training, as far as is known."""
    if size is None or trained is None or size.unit != trained.unit:
        return False
    return size.differs(trained, PIXEL_SIZE_TOLERANCE)


def of_slices(looked_at: Sequence[Sequence[Deviation]]) -> list[Deviation]:
    """The deviations of a volume, from those of its slices: what one slice has, where most have some."""
    unlike = [found for found in looked_at if found]
    return list(unlike[len(unlike) // 2]) if 2 * len(unlike) > len(looked_at) else []


def _other_size(size: PixelSize | None, trained: PixelSize | None) -> list[Deviation]:
    if not is_other_size(size, trained):
        return []
    what = f"Its pixels are {size}, those of the training images {trained} (height x width)"
    return [Deviation(f"{what}. Objects of another size may be missed; rescale the image")]


def sampled(shape: tuple[int, int, int], frames: int, read: Callable[[int, int, int], NDArray[Any]]) -> NDArray[Any]:
    """Rows (C, h, W) of some frames of a stack, from the first to the last.

    Args:
        shape: (C, H, W) of a frame.
        frames: their number.
        read: pixels (C, stop - start, W) of a frame, by its number, start and stop.
    """
    _, height, width = shape
    blocks = BLOCKS if height * width > BLOCKS * SAMPLED else 1
    rows = height if blocks == 1 else max(1, SAMPLED // (blocks * width))
    starts = np.linspace(0, height - rows, blocks).astype(int).tolist()
    chosen = sorted({round(place) for place in np.linspace(0, frames - 1, min(frames, FRAMES)).tolist()})
    parts = [read(frame, start, start + rows) for frame in chosen for start in starts]
    return np.concatenate(parts, axis=1)


def _channels(count: int) -> str:
    return CHANNEL_WORDS.get(count, f"{count} channels")


def _family(dtype: np.dtype[Any]) -> str:
    return "float" if dtype.kind == "f" else dtype.name
