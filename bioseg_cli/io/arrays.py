"""Images in memory: which axis of an array is which, and that its values are intensities."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.errors import DataError, UsageError

Array = NDArray[Any]


def channels_first(image: Array, axes: str | None, channels: int | None, where: str | None = None) -> Array:
    """An image as (C, H, W).

    Args:
        image: (H, W), (H, W, C) or (C, H, W).
        axes: what its axes are: YX, YXC or CYX. None: two axes are YX, and of three the number of channels decides.
        channels: that the image has to have, where this is known.
        where: what errors call the image.

    Raises:
        UsageError: nothing says which axis is which, or `axes` does not fit the array.
        DataError: it is no image, or has another number of channels.
    """
    shape = " x ".join(map(str, image.shape))
    if axes is not None:
        letters = axes.upper()
        if sorted(letters) not in (["X", "Y"], ["C", "X", "Y"]) or len(letters) != image.ndim:
            what = f"--axes {axes} does not fit an array of {shape}"
            raise UsageError(what, where=where, fix="Give YX, YXC or CYX, a letter for each axis of the array.")
        order = [letters.index(letter) for letter in "CYX" if letter in letters]
    elif image.ndim == 2:
        order = [0, 1]
    elif image.ndim == 3:
        fitting = [order for order in ([0, 1, 2], [2, 0, 1]) if image.shape[order[0]] == channels]
        if len(fitting) != 1 and (channels is None or fitting):
            what = f"Nothing says which axis of an array of {shape} holds the channels"
            raise UsageError(what, where=where, fix="Give --axes YXC or --axes CYX.")
        if not fitting:
            what = f"The array of {shape} has no axis of {channels} channel{'s' * (channels != 1)} first or last"
            raise DataError(what, where=where, fix="Give images like those the model was trained on.")
        order = fitting[0]
    else:
        raise DataError(f"An array of {shape or 'no axis'} is no image", where=where, fix="Give one image at a time.")
    moved = image.transpose(order)
    frame: Array = moved if moved.ndim == 3 else moved[None]
    if not frame.size:
        raise DataError(f"An array of {shape} holds no pixel", where=where, fix="Leave it out.")
    return frame


def checked_values(frame: Array, where: str | PathLike[str] | None) -> Array:
    """A contiguous copy of an image in the processor's byte order; `bool` becomes 0 and 1.

    Raises:
        DataError: complex numbers, dates, texts or records, or values that are not finite.
    """
    if frame.dtype.kind not in "buif":
        fix = "Give whole or real numbers; of complex numbers, export the magnitude."
        raise DataError(f"Pixels of type {frame.dtype} are no intensities", where=where, fix=fix)
    native = np.uint8 if frame.dtype == bool else frame.dtype.newbyteorder("=")
    frame = np.array(frame, native, order="C")
    if frame.dtype.kind == "f" and (bad := frame.size - int(np.isfinite(frame).sum())):
        fix = "Replace them with numbers, or leave the file out."
        raise DataError(f"{bad} values are not finite numbers (NaN or infinity)", where=where, fix=fix)
    return frame
