"""Scribbles drawn in a Labels layer, exported as images and masks that `bioseg prepare folder` takes as they are.

`FOLDER/images/NAME.tif` is the image in its own values, and `FOLDER/masks/NAME.tif` is what was drawn on it: 0 where
nobody drew, 1 on the background, and 2, 3, ... on the other classes. `NAME.tif.labels` beside the mask names the values
as LabKit does, so that 0 is taken for neither background nor class.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import CheckBox, Container, FileEdit, LineEdit, PushButton, create_widget
from napari.layers import Image, Labels
from numpy.typing import NDArray

from bioseg_cli.errors import BiosegError, DataError, UsageError
from bioseg_cli.io.image_writer import write_image, write_labels
from bioseg_cli.masks.labkit import BACKGROUND, write_labkit_labels
from bioseg_cli.napari_plugin.layers import LayerFrames
from bioseg_cli.napari_plugin.message import Message

_NOT_IN_NAMES = re.compile(r"[^\w.+-]+")


def export_scribbles(folder: Path, image: Image, scribbles: Labels, names: Sequence[str], *, overwrite: bool) -> Path:
    """Write an image layer and what was drawn on it into a folder, beside earlier ones; returns the mask.

    Args:
        folder: gets `images` and `masks`.
        image: grey or in colours.
        scribbles: of the size of the image; 1 is the background.
        names: of the values 2, 3, ....
        overwrite: replace an earlier export of an image of this name.

    Raises:
        DataError: nothing was drawn, a value without a name, layers of different sizes, a mask of classes; a full disk.
        UsageError: the image was exported before, or names that are empty or alike.
    """
    frames = LayerFrames(image)
    drawn = np.asarray(scribbles.data)
    _check_names(names)
    _check_drawn(scribbles, drawn, frames.grid, names)
    path = folder / "masks" / f"{_NOT_IN_NAMES.sub('_', image.name)}.tif"
    if path.exists() and not overwrite:
        raise UsageError("An image of this name was exported before", where=path, fix="Tick Replace to replace it.")
    pixels = np.stack(list(frames))
    # Complete at every moment: an image alone is an unlabelled one, and a mask has its names.
    write_image(folder / "images" / path.name, pixels if frames.shape else pixels[0], frames.size)
    write_labkit_labels(path, [BACKGROUND, *names])
    write_labels(path, drawn.reshape(-1, *drawn.shape[-2:]) if frames.shape else drawn, frames.size)
    return path


def _check_names(names: Sequence[str]) -> None:
    if not names or "" in names or len({BACKGROUND, *map(str.casefold, names)}) <= len(names):
        what = (
            f"The classes {', '.join(names) or '(none)'} are not names that differ from each other and from background"
        )
        raise UsageError(what, fix="Give a name for 2, a name for 3 and so on, separated by commas.")


def _check_drawn(scribbles: Labels, drawn: NDArray[Any], grid: tuple[int, ...], names: Sequence[str]) -> None:
    if drawn.shape != grid:
        shown = [" x ".join(map(str, shape)) for shape in (drawn.shape, grid)]
        what = f"The scribbles have {shown[0]} pixels, the image {shown[1]}"
        raise DataError(what, where=scribbles.name, fix="Draw in a Labels layer that was made for the image.")
    if BACKGROUND in list(scribbles.features.get("class", ())):
        what = "The layer is a mask of classes, in which 0 is the background and not what nobody drew"
        raise DataError(what, where=scribbles.name, fix="Draw in a new Labels layer.")
    if not drawn.any():
        raise DataError("Nothing is drawn in the layer", where=scribbles.name, fix="Draw 1 on the background.")
    if (largest := int(drawn.max())) > len(names) + 1:
        what = f"The layer holds the value {largest}, and the classes end at {len(names) + 1} ({names[-1]})"
        raise DataError(what, where=scribbles.name, fix="Give a name for each value from 2 on, separated by commas.")


class ScribblesWidget(Container):  # type: ignore[misc]
    """Exports the chosen image layer with the chosen Labels layer, and says which command makes a data set of them."""

    def __init__(self) -> None:
        self.image = create_widget(label="Image", annotation=Image)
        self.scribbles = create_widget(label="Scribbles", annotation=Labels)
        self.classes = LineEdit(label="Classes", value="cell", tooltip="Names of 2, 3, ...; 1 is the background")
        self.folder = FileEdit(label="Folder", mode="d", tooltip="Folder of the images and masks of a data set")
        self.replace = CheckBox(text="Replace", tooltip="Replace an earlier export of this image")
        self.export = PushButton(text="Export")
        self.message = Message()
        super().__init__(
            widgets=[
                self.image, self.scribbles, self.classes, self.folder, self.replace, self.export, self.message
            ]
        )  # fmt: skip
        self.message.say("Draw 1 on the background, 2 and more on the classes. What is left 0 is not drawn.")
        self.export.changed.connect(self._export)

    def _export(self) -> None:
        image, scribbles = self.image.value, self.scribbles.value
        if image is None or scribbles is None:
            self.message.say("Open an image, and draw in a Labels layer.")
            return
        folder = Path(self.folder.value)
        names = [name.strip() for name in self.classes.value.split(",")]
        try:
            path = export_scribbles(folder, image, scribbles, names, overwrite=self.replace.value)
        except BiosegError as error:
            self.message.say(str(error))
        else:
            self.message.say(f"{path.name} is in {folder}. When all images are there:\n{_next_command(folder)}")


def _next_command(folder: Path) -> str:
    words = ["bioseg", "prepare", "folder", "--images", str(folder / "images"), "--masks", str(folder / "masks")]
    return shlex.join([*words, "--out", f"data/{folder.resolve().name}.h5"])
