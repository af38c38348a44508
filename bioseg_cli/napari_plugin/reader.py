"""Label masks that bioseg wrote, opened as Labels layers with the names and colours of the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioseg_cli.errors import DataError
from bioseg_cli.figures.palette import PALETTE, cluster_colours
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.images import ImageFile
from bioseg_cli.io.legend import Legend
from bioseg_cli.napari_plugin.layers import in_classes
from bioseg_cli.prediction.record import PredictionRecord
from bioseg_cli.prediction.settings import records_in

LayerData = tuple[Any, dict[str, Any], str]


def mask_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Reads a file that bioseg wrote as a mask of classes or clusters; None leaves a file to other readers."""
    if not isinstance(path, str) or Legend.read(Path(path)) is None:
        return None
    return read_mask_layer


def read_mask_layer(path: str) -> list[LayerData]:
    """The Labels layer of a mask, with the frames, the pixel size, the names and the colours of the file.

    Colours that the file does not have are those of the record of the prediction, or else of bioseg's palette.

    Raises:
        DataError: the file is damaged.
    """
    file = Path(path)
    legend = Legend.read(file)
    if legend is None:
        raise DataError("The file does not say what its values mean", where=file, fix="Open it with another reader.")
    with ImageFile(file, Stacks(planes=True), labels=True) as image:
        info = image.info
        frames = [image.read(frame)[0] for frame in range(info.frames)]
    labels = np.stack(frames).reshape(*info.stack.values(), info.height, info.width)
    colours = legend.colours or _recorded_colours(file, legend.names) or _own_colours(len(legend.names))
    layer: dict[str, Any] = {"name": file.stem, **in_classes(legend.names, colours)}
    if info.pixel_size is not None:
        flat = labels.ndim - 2
        layer["scale"] = (1.0,) * flat + (info.pixel_size.y, info.pixel_size.x)
        layer["units"] = ("pixel",) * flat + (info.pixel_size.unit,) * 2
    return [(labels, layer, "labels")]


def _recorded_colours(file: Path, names: Sequence[str]) -> list[tuple[int, int, int]] | None:
    """The colours in the record of a prediction beside the mask, or above it where folders were mirrored."""
    for folder in file.absolute().parents:
        try:
            records = [PredictionRecord.read(path) for path in records_in(folder)]
        except (OSError, DataError):
            return None  # without its colours a mask can be looked at all the same
        for record in records:
            outputs = {folder / name for entry in record.files for name in entry.outputs}
            if file.absolute() in outputs and tuple(value.name for value in record.classes) == tuple(names):
                return [value.colour for value in record.classes]
    return None


def _own_colours(count: int) -> list[tuple[int, int, int]]:
    if count <= len(PALETTE) + 1:
        return [(0, 0, 0), *PALETTE][:count]
    return [info.colour for info in cluster_colours(count)]
