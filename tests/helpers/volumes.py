"""Volumes as NIfTI and MINC files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np

AFFINE = np.array([[0.5, 0.1, 0, -7], [0, -2, 0.25, 3], [0.05, 0, 1.5, 11], [0, 0, 0, 1]])


def write_nifti(
    path: Path,
    values: np.ndarray,
    *,
    affine: np.ndarray = AFFINE,
    byte_order: str = "<",
    scaling: tuple[float, float] | None = None,
    units: str = "mm",
    codes: tuple[int, int] = (0, 2),
    image_class: Callable[..., Any] = nibabel.Nifti1Image,
) -> Path:
    """A NIfTI file whose stored numbers are `values` (x, y, z); `codes` are those of qform and sform."""
    header = image_class.header_class(endianness=byte_order)  # type: ignore[attr-defined]
    header.set_data_dtype(values.dtype)
    header.set_xyzt_units(units)
    image = image_class(values, affine, header)
    image.set_qform(None if codes[0] == 0 else affine, code=codes[0])
    image.set_sform(affine, code=codes[1])
    if scaling is not None:
        image.header.set_slope_inter(*scaling)
        image.to_filename(path)
        return path
    image.header.set_slope_inter(1, 0)  # left open, nibabel would choose a scaling of its own
    image.to_filename(path)
    return path


def write_minc(
    path: Path,
    stored: np.ndarray,
    order: tuple[str, str, str] = ("yspace", "zspace", "xspace"),
    *,
    real: tuple[Any, Any] = (0, 255),
    valid: tuple[float, float] | None = None,
    steps: tuple[float, float, float] = (1, 1, 1),
    starts: tuple[float, float, float] = (0, 0, 0),
    cosines: np.ndarray | None = None,
    chunks: tuple[int, int, int] | None = None,
) -> Path:
    """The least that makes a MINC2 file; `real` are image-min and image-max, `cosines` a row an axis of `order`."""
    with h5py.File(path, "w") as file:
        image = file.create_dataset(
            "minc-2.0/image/0/image", data=stored, chunks=chunks, compression=None if chunks is None else "gzip"
        )
        image.attrs["dimorder"] = np.bytes_(",".join(order))
        if valid is not None:
            image.attrs["valid_range"] = np.array(valid, np.float64)
        for name, ends in zip(("image-min", "image-max"), real, strict=True):
            scale = file.create_dataset(f"minc-2.0/image/0/{name}", data=np.asarray(ends, np.float64))
            scale.attrs["dimorder"] = np.bytes_(",".join(order[: max(1, scale.ndim)]))
        for axis, name in enumerate(order):
            dimension = file.create_dataset(f"minc-2.0/dimensions/{name}", data=0.0)
            dimension.attrs.update({"step": steps[axis], "start": starts[axis], "spacing": np.bytes_("regular__")})
            row = np.eye(3)["xyz".index(name[0])] if cosines is None else cosines[axis]
            dimension.attrs["direction_cosines"] = row
    return path
