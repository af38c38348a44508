"""OME-Zarr images and plates, written by the zarr library and not by bioseg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

VERSIONS = {2: "0.4", 3: "0.5"}


def write_ome_zarr(
    path: Path, pixels: NDArray[Any], axes: str, *, zarr_format: int = 2, levels: int = 2, size: float = 0.5
) -> Path:
    """An image with axes such as tczyx; each level has every second row and column, and chunks of up to 32 pixels."""
    group = zarr.open_group(path, mode="a", zarr_format=zarr_format)
    types = {"t": "time", "c": "channel"}
    datasets = []
    for level in range(levels):
        step = 2**level
        stored = pixels[tuple(slice(None, None, step) if axis in "yx" else slice(None) for axis in axes)]
        array = group.create_array(
            f"level{level}",
            shape=stored.shape,
            dtype=stored.dtype,
            chunks=tuple(min(32, side) if axis in "yx" else 1 for axis, side in zip(axes, stored.shape, strict=True)),
            chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        )
        array[...] = stored
        scale = [size * step if axis in "yx" else 1.0 for axis in axes]
        datasets.append({"path": f"level{level}", "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    named: list[dict[str, str]] = [{"name": axis, "type": types.get(axis, "space")} for axis in axes]
    for axis in named:
        axis |= {"unit": "micrometer"} if axis["type"] == "space" else {}
    _describe(group, {"multiscales": [{"axes": named, "datasets": datasets}]})
    return path


def write_plate(path: Path, fields: dict[str, NDArray[Any]], *, zarr_format: int = 2) -> Path:
    """A plate of images (Y, X), by names such as A/1/0."""
    wells: dict[str, list[str]] = {}
    for name in fields:
        well, _, field = name.rpartition("/")
        wells.setdefault(well, []).append(field)
    places = [{"path": well, "rowIndex": 0, "columnIndex": index} for index, well in enumerate(wells)]
    columns = [{"name": well.partition("/")[2]} for well in wells]
    plate = {"rows": [{"name": "A"}], "columns": columns, "wells": places}
    _describe(zarr.open_group(path, mode="a", zarr_format=zarr_format), {"plate": plate})
    for well, inside in wells.items():
        images = [{"path": field} for field in inside]
        _describe(zarr.open_group(path / well, mode="a", zarr_format=zarr_format), {"well": {"images": images}})
        for field in inside:
            write_ome_zarr(path / well / field, fields[f"{well}/{field}"], "yx", zarr_format=zarr_format)
    return path


def _describe(group: zarr.Group, metadata: dict[str, Any]) -> None:
    version = {"version": VERSIONS[group.metadata.zarr_format]}
    if group.metadata.zarr_format == 3:
        group.attrs.update({"ome": {**version, **metadata}})
    else:
        versioned = {key: [{**version, **value[0]}] if key == "multiscales" else {**version, **value}
                     for key, value in metadata.items()}  # fmt: skip
        group.attrs.update(versioned)
