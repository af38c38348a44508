"""The picture of the plugin in docs/viewers.md: a window of napari with both widgets, a prediction and strokes.

`python -m benchmarks.napari_window [--out DIR]` writes DIR/napari.png. It generates images, trains for some minutes,
and predicts by the widget. It needs the extra `napari` and OpenGL: without a screen,
`xvfb-run -s "-screen 0 1500x1000x24"`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication

import bioseg_cli as bioseg
from bioseg_cli.napari_plugin.prediction import PredictionWidget
from bioseg_cli.napari_plugin.scribbles import ScribblesWidget

BACKGROUND, NUCLEUS = 1, 2
SIZE = (0.65, 0.65)
"""Of a pixel of the generated images, in micrometres."""


def trained(folder: Path) -> tuple[Path, NDArray[np.uint16]]:
    """A run on generated nuclei, and an image that it did not train on."""
    data = folder / "demo.h5"
    bioseg_command = [sys.executable, "-m", "bioseg_cli", "prepare", "demo", "--images", "24", "--out", str(data)]
    subprocess.run([*bioseg_command, "--quiet"], check=True)
    run = bioseg.train_uda(data, run=folder / "nuclei", preset="best", labels=6, steps=400, width=8)
    with bioseg.open_dataset(data) as dataset:
        image: NDArray[np.uint16] = dataset.image(int(dataset.indices("test")[0]))[0]
    return run.path, image


def draw_strokes(layer: Labels, predicted: NDArray[np.integer]) -> None:
    """Strokes like those of a person: along the middle of some rows, on what is a nucleus and on what is none."""
    layer.brush_size = 3
    for value, wanted in ((BACKGROUND, 0), (NUCLEUS, 1)):
        for row in range(20, predicted.shape[0] - 20, 48):
            columns = np.flatnonzero(predicted[row] == wanted)
            longest = max(np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1), key=len)
            for column in longest[len(longest) // 4 : 3 * len(longest) // 4][:30]:
                layer.paint((row, column), value)


def window(run: Path, image: NDArray[np.uint16]) -> napari.Viewer:
    """A window in which the image was predicted, and drawn on."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1480, 940)
    viewer.add_image(image, name="image", scale=SIZE, units=("µm", "µm"))
    prediction, scribbles = PredictionWidget(viewer), ScribblesWidget()
    viewer.window.add_dock_widget(scribbles, name="Export scribbles (bioseg)", area="right")
    viewer.window.add_dock_widget(prediction, name="Predict (bioseg)", area="right")
    prediction.run.value = run
    prediction.start.changed.emit(True)
    while not prediction.start.enabled:
        QApplication.processEvents()
        time.sleep(0.01)
    predicted = viewer.layers[-1]
    predicted.contour = 2
    strokes = viewer.add_labels(np.zeros_like(predicted.data), name="scribbles", scale=SIZE, units=("µm", "µm"))
    draw_strokes(strokes, predicted.data)
    scribbles.scribbles.value = strokes
    scribbles.classes.value = "nucleus"
    scribbles.folder.value = Path("scribbled")
    viewer.reset_view()
    viewer.camera.zoom *= 1.5
    return viewer


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        viewer = window(*trained(Path(folder)))
        for _ in range(50):
            QApplication.processEvents()
        viewer.screenshot(str(out / "napari.png"), canvas_only=False, flash=False)
        viewer.close()


if __name__ == "__main__":
    main()
