"""The widgets of the plugin in a window of napari: with Qt alone where there is no OpenGL, such as offscreen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers.models import save_random_model, write_image

pytest.importorskip("napari")

from magicgui.widgets import Container
from napari import Viewer
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QApplication

from bioseg_cli import napari_plugin
from bioseg_cli.napari_plugin.prediction import PredictionWidget
from bioseg_cli.napari_plugin.scribbles import ScribblesWidget

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]


@pytest.fixture(scope="module")
def application() -> QApplication:
    """Qt; without a screen it needs QT_QPA_PLATFORM=offscreen."""
    return QApplication.instance() or QApplication([])


@pytest.fixture
def viewer(application: QApplication) -> Iterator[Viewer]:
    """The layers of napari, in a window where the platform can draw one."""
    if application.platformName() == "offscreen":  # it has no OpenGL, and no canvas without that
        yield ViewerModel()
        return
    shown = Viewer(show=False)
    yield shown
    shown.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(tmp_path_factory.mktemp("models") / "cells.safetensors")


def docked(viewer: Any, name: str) -> Any:
    """A widget of the manifest, which offers the layers of the viewer, as napari makes and docks it."""
    if isinstance(viewer, Viewer):
        manager = PluginManager.instance()
        if "bioseg" not in manager:
            manager.register(PluginManifest.from_file(Path(napari_plugin.__file__).with_name("napari.yaml")))
        return viewer.window.add_plugin_dock_widget("bioseg", name)[1]
    widget: Container = PredictionWidget(viewer) if name == "Predict" else ScribblesWidget()
    for box in widget:
        if hasattr(box, "choices"):
            kind = box.annotation
            box.choices = lambda _, kind=kind: [layer for layer in viewer.layers if isinstance(layer, kind)]
    return widget


def wait(application: QApplication, until: Callable[[], bool]) -> None:
    """Let Qt work until something has come; ten minutes are never right."""
    end = time.monotonic() + 600
    while not until():
        assert time.monotonic() < end
        application.processEvents()
        time.sleep(0.005)


def test_the_chosen_layer_is_predicted_beside_the_window(
    application: QApplication, viewer: Any, model: Path, bioseg: Bioseg, tmp_path: Path
) -> None:
    write_image(tmp_path / "a.tif", discs(0)[0][0])
    assert bioseg("predict", model, tmp_path / "a.tif", "--out", tmp_path / "out").exit_code == 0
    image = viewer.add_image(discs(0)[0][0], name="a", scale=(0.5, 0.5), units=("µm", "µm"), translate=(3, 4))
    widget = docked(viewer, "Predict")
    assert widget.image.value is image
    widget.run.value = model
    widget.start.changed.emit(True)
    assert not widget.start.enabled and widget.cancel.enabled and len(viewer.layers) == 1
    wait(application, lambda: widget.start.enabled)
    assert widget.message.value == "Done." and widget.progress.value == 100 and not widget.cancel.enabled
    labels = viewer.layers["a cells"]
    np.testing.assert_array_equal(labels.data, tifffile.imread(tmp_path / "out" / "a.tif"))
    assert labels.scale.tolist() == [0.5, 0.5] and labels.translate.tolist() == [3, 4]
    assert labels.features["class"].tolist() == ["background", "cell", "rim"]
    np.testing.assert_allclose(labels.get_color(1), (1, 180 / 255, 0, 1), atol=1e-6)


def test_a_prediction_stops_where_it_is_and_another_can_begin(
    application: QApplication, viewer: Any, model: Path
) -> None:
    viewer.add_image(np.stack([discs(number)[0][0] for number in range(40)]), name="movie")
    widget = docked(viewer, "Predict")
    widget.run.value = model
    widget.start.changed.emit(True)
    widget.cancel.changed.emit(True)
    wait(application, lambda: widget.start.enabled)
    assert widget.message.value == "Cancelled." and widget.progress.value < 100 and len(viewer.layers) == 1
    widget.start.changed.emit(True)
    wait(application, lambda: widget.start.enabled)
    assert viewer.layers["movie cells"].data.shape == (40, 48, 48)


def test_what_is_wrong_is_said_in_the_widget(application: QApplication, viewer: Any, model: Path) -> None:
    widget = docked(viewer, "Predict")
    widget.start.changed.emit(True)
    assert "Open an image" in widget.message.value
    viewer.add_image(discs(0)[0][0].astype(np.uint8), name="grey")
    widget.reset_choices()
    for run, said in ((model.parent / "none", "none"), (model, "The image is uint8, the model was trained on uint16")):
        widget.run.value = run
        widget.start.changed.emit(True)
        wait(application, lambda: widget.start.enabled)
        assert said in widget.message.value and len(viewer.layers) == 1
    widget.any_dtype.value = True
    widget.start.changed.emit(True)
    wait(application, lambda: widget.start.enabled)
    assert len(viewer.layers) == 2


def test_strokes_are_exported_with_the_command_that_takes_them(viewer: Any, tmp_path: Path) -> None:
    viewer.add_image(discs(0)[0][0], name="disc")
    drawn = viewer.add_labels(np.zeros((48, 48), np.uint8), name="strokes")
    widget = docked(viewer, "Export scribbles")
    widget.folder.value = tmp_path / "my cells"
    widget.classes.value = "cell, rim"
    widget.export.changed.emit(True)
    assert "Nothing is drawn" in widget.message.value
    for value, row in ((1, 5), (2, 20), (3, 30)):
        drawn.selected_label = value
        drawn.paint((row, 10), value)
    widget.export.changed.emit(True)
    assert f"--masks '{tmp_path / 'my cells' / 'masks'}'" in widget.message.value
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "my cells" / "masks" / "disc.tif"), drawn.data)
    widget.export.changed.emit(True)
    assert "exported before" in widget.message.value
    widget.replace.value = True
    widget.export.changed.emit(True)
    assert "bioseg prepare folder" in widget.message.value
