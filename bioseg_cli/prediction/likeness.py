"""Whether an image is like those that a model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bioseg_cli.errors import DataError
from bioseg_cli.model.saved import ModelCard

CHANNEL_WORDS = {1: "1 channel (grey)", 3: "3 channels (colour)"}


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


def _channels(count: int) -> str:
    return CHANNEL_WORDS.get(count, f"{count} channels")


def _family(dtype: np.dtype[Any]) -> str:
    return "float" if dtype.kind == "f" else dtype.name
