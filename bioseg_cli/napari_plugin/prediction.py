"""The widget that predicts an image layer: in a thread, with progress, and stopped when the user asks for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import CheckBox, Container, FileEdit, ProgressBar, PushButton, create_widget
from napari.layers import Image, Layer
from napari.qt.threading import thread_worker
from napari.viewer import Viewer
from numpy.typing import NDArray
from superqt.utils import ensure_main_thread

from bioseg_cli.api.model import OnShare, load_model
from bioseg_cli.errors import BiosegError, Interrupted
from bioseg_cli.napari_plugin.layers import LayerFrames, in_classes
from bioseg_cli.napari_plugin.message import Message


@dataclass(frozen=True)
class LayerPrediction:
    """What a model says of all frames of a layer.

    Attributes:
        labels: (frames ..., H, W).
        names, colours: of their values.
        placed: where the labels lie, see `LayerFrames.placed`.
        warnings: what must be known of it, in sentences.
    """

    labels: NDArray[np.unsignedinteger[Any]]
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    placed: dict[str, Any]
    warnings: tuple[str, ...]


def predict_layer(
    run: Path, layer: Image, *, tta: bool = False, any_dtype: bool = False, progress: OnShare | None = None
) -> LayerPrediction:
    """Predict every frame of an image layer.

    Args:
        run: run directory, or a .safetensors file from one.
        layer: of images like those of the training.
        tta: average over eight views of each tile.
        any_dtype: accept another pixel type, whose intensities mean the same.
        progress: called after each tile with the share of the layer that is done; returning False stops.

    Raises:
        DataError: no run, or a layer with other channels or another pixel type than the training images.
        RunError: memory ran out.
        Interrupted: `progress` returned False.
    """
    model = load_model(run)
    frames = LayerFrames(layer, model.channels)
    labels, warnings = [], dict[str, None]()
    for number, frame in enumerate(frames):

        def told(share: float, done: int = number) -> bool | None:
            return None if progress is None else progress((done + share) / len(frames))

        found = model.predict(frame, axes="CYX", pixel_size=frames.size, tta=tta, any_dtype=any_dtype, progress=told)
        labels.append(found.labels)
        warnings |= dict.fromkeys(found.warnings)
    stacked = np.stack(labels).reshape(*frames.shape, *labels[0].shape)
    return LayerPrediction(stacked, model.classes, model.colours, frames.placed, tuple(warnings))


class PredictionWidget(Container):  # type: ignore[misc]
    """Predicts the chosen image layer with the chosen run, and adds the result as a Labels layer.

    Args:
        napari_viewer: that the labels are added to; napari knows it by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self._viewer = napari_viewer
        self._stop = threading.Event()
        self.run = FileEdit(label="Run", mode="d", tooltip="Run directory that `bioseg train-uda` or train-iic wrote")
        self.image = create_widget(label="Image", annotation=Image)
        self.tta = CheckBox(text="Average over eight views", tooltip="Test-time augmentation: eight times as long")
        self.any_dtype = CheckBox(
            text="Accept other pixel types (any_dtype)", tooltip="If their intensities mean the same as in the training"
        )
        self.start = PushButton(text="Predict")
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(label="Done", max=100, value=0)
        self.message = Message()
        super().__init__(
            widgets=[
                self.run,
                self.image,
                self.tta,
                self.any_dtype,
                self.start,
                self.cancel,
                self.progress,
                self.message,
            ]
        )
        self.start.changed.connect(self._begin)
        self.cancel.changed.connect(self._stop.set)

    def _begin(self) -> None:
        layer = self.image.value
        if layer is None:
            self.message.say("Open an image and choose it as Image.")
            return
        self._stop.clear()
        self._show(0)
        self._busy(True)
        self.message.say("")
        asked = {"tta": self.tta.value, "any_dtype": self.any_dtype.value}
        worker = thread_worker(self._predicted)(Path(self.run.value), layer, **asked)
        worker.returned.connect(self._end)
        worker.start()

    def _predicted(self, run: Path, layer: Image, **asked: bool) -> tuple[str, LayerPrediction | Exception]:
        """The name of the new layer and the prediction, or why there is none. Called in a thread."""
        try:
            return f"{layer.name} {run.stem}", predict_layer(run, layer, progress=self._told, **asked)
        except Exception as error:  # workers of napari keep some kinds of errors to themselves
            return layer.name, error

    def _told(self, share: float) -> bool:
        self._show(share)
        return not self._stop.is_set()

    @ensure_main_thread  # type: ignore[untyped-decorator]
    def _show(self, share: float) -> None:
        self.progress.value = int(100 * share)

    def _end(self, outcome: tuple[str, LayerPrediction | Exception]) -> None:
        name, found = outcome
        self._busy(False)
        if isinstance(found, Interrupted):
            self.message.say("Cancelled.")
        elif isinstance(found, BiosegError):
            self.message.say(str(found))
        elif isinstance(found, Exception):
            self.message.say(f"The prediction failed: {found}")
            raise found  # a fault of the program, of which napari shows the place
        else:
            layer = {"name": name, **found.placed, **in_classes(found.names, found.colours)}
            self._viewer.add_layer(Layer.create(found.labels, layer, "labels"))
            self.message.say("\n".join(found.warnings) or "Done.")

    def _busy(self, busy: bool) -> None:
        self.start.enabled = not busy
        self.cancel.enabled = busy
