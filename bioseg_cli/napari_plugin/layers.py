"""What goes between layers of napari and bioseg: frames with channels, pixel sizes, and labels with names and colours.

The last two axes of a layer are the rows and the columns of an image. An axis before them counts frames, or holds the
channels; colours have theirs at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas
from napari.layers import Image, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from bioseg_cli.errors import DataError
from bioseg_cli.io.pixel_size import PixelSize, usable_pixel_size

Array = NDArray[Any]


class LayerFrames:
    """The frames of an image layer, each (C, H, W), in their order.

    Args:
        layer: in colours or grey, of one level or several; the full resolution is read.
        channels: that a frame has; None: an axis before the rows never holds channels.

    Attributes:
        shape: of the axes of frames, empty for a single frame.
        grid: (..., H, W) of all frames.
        size: of a pixel, where the layer has a unit.

    Raises:
        DataError: nothing says which axis holds the channels.
    """

    def __init__(self, layer: Image, channels: int | None = None) -> None:
        self._pixels = layer.data[0] if layer.multiscale else layer.data
        self._layer = layer
        self._channels = None if layer.rgb or channels in (None, 1) else self._axis_of_channels(channels)
        axes = range(layer.ndim)
        self._kept = [axis for axis in axes if axis != self._channels]
        self.grid = tuple(int(self._pixels.shape[axis]) for axis in self._kept)
        self.shape = self.grid[:-2]
        self.size = pixel_size(layer)

    def _axis_of_channels(self, channels: int) -> int:
        leading = self._pixels.shape[:-2]
        fitting = [axis for axis, size in enumerate(leading) if size == channels]
        if len(fitting) != 1:
            shape = " x ".join(map(str, self._pixels.shape))
            what = f"The layer has {len(fitting)} axes of {channels} channels: it is {shape}"
            raise DataError(what, where=self._layer.name, fix="Give a layer with one axis of the model's channels.")
        return fitting[0]

    def __len__(self) -> int:
        return int(np.prod(self.shape, dtype=int))

    def __iter__(self) -> Iterator[Array]:
        for place in np.ndindex(self.shape):
            index: list[Any] = list(place)
            if self._channels is not None:
                index.insert(self._channels, slice(None))
            frame = np.asarray(self._pixels[tuple(index)])
            if self._layer.rgb:
                yield np.moveaxis(frame[..., :3], -1, 0)  # opacity is no measurement
            else:
                yield frame if self._channels is not None else frame[None]

    @property
    def placed(self) -> dict[str, Any]:
        """Where a layer on the grid of the frames lies, as napari takes it."""
        layer, kept = self._layer, self._kept
        shear = np.eye(layer.ndim)
        shear[np.triu_indices(layer.ndim, 1)] = layer.shear
        return {
            "scale": layer.scale[kept],
            "translate": layer.translate[kept],
            "rotate": layer.rotate[np.ix_(kept, kept)],
            "shear": shear[np.ix_(kept, kept)],
            "affine": layer.affine.set_slice(kept),
            "units": [layer.units[axis] for axis in kept],
            "axis_labels": [layer.axis_labels[axis] for axis in kept],
        }


def pixel_size(layer: Layer) -> PixelSize | None:
    """The size of a pixel of a layer; None where its unit is that of pixels, or no length."""
    (height, width), (unit_y, unit_x) = layer.scale[-2:], layer.units[-2:]
    return usable_pixel_size(float(height), str(unit_y), float(width), str(unit_x))[0]


def in_classes(names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> Mapping[str, Any]:
    """What a Labels layer is given so that its values 0, 1, 2, ... have names, and colours; 0 is transparent."""
    shown: dict[int | None, Any] = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0)}
    shown |= {value: (*(part / 255 for part in colour), 1.0) for value, colour in enumerate(colours) if value}
    return {
        "colormap": DirectLabelColormap(color_dict=shown),
        "features": pandas.DataFrame({"index": range(len(names)), "class": list(names)}),
    }
