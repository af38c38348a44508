"""From settings to a file: the graph is made and compared with the network, then written alone or in a package."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.export.graph import CHECKED_SIZES, largest_difference, write_graph
from bioseg_cli.export.package import SMALLEST_SIDE, About, write_package
from bioseg_cli.export.result import ExportResult
from bioseg_cli.export.settings import ExportConfig
from bioseg_cli.io.files import refuse_existing, replacing
from bioseg_cli.io.images import read_frame
from bioseg_cli.io.ownership import owned_file
from bioseg_cli.model.saved import LoadedModel, load_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.dataset import dataset_of
from bioseg_cli.runs.directory import RunDirectory, checkpoint_of
from bioseg_cli.runs.output import Output


def run(config: ExportConfig, output: Output, *, overwrite: bool) -> ExportResult:
    """Write the model of a run in another format.

    Raises:
        UsageError: the file exists already, or is the model or the image; the model is one of clusters, a package is
            not installed, or there is no image to test a package with.
        DataError: no run, or no such state; the image cannot be read, or is too small, or is not like those of the
            training.
        RunError: the exported graph does not compute what the network does.
    """
    checkpoint = checkpoint_of(config.run, config.state)
    if config.path.resolve() in {path.resolve() for path in (checkpoint, config.image) if path is not None}:
        what = "The export would replace what it is made of"
        raise UsageError(what, where=config.path, fix="Choose another --out.")
    model = load_model(checkpoint, resolve_device("cpu"))
    if model.card.outputs != "classes":
        raise UsageError(
            "A run of train-iic has clusters, which other programs have no mapping for",
            where=config.run,
            fix="Export a run of train-uda; `--init-from` starts one from the weights of this run.",
        )
    out = config.path
    with owned_file(out, say=output.say):
        refuse_existing(out, overwrite=overwrite)
        # What is missing is said before the graph is made, which takes some seconds.
        pixels = example_image(config) if config.format == "bioimageio" else None
        if pixels is not None and min(pixels.shape[1:]) < SMALLEST_SIDE:
            raise DataError(
                f"The image has {' x '.join(map(str, pixels.shape[1:]))} pixels, and a package is tested with at least "
                f"{SMALLEST_SIDE} x {SMALLEST_SIDE} pixels",
                where=config.image or config.run,
                fix="Give a larger image like those of the training: --image FILE.",
            )
        output.say(f"{model.path}: the network becomes an ONNX graph, which is then compared with the network")
        difference = _write(config, model, pixels, out)
    return ExportResult(model.path, config.format, out, difference, CHECKED_SIZES)


def _write(config: ExportConfig, model: LoadedModel, pixels: NDArray[Any] | None, out: Path) -> float:
    """Write the graph, with pixels in a package; returns how far it is from the network at most."""
    with tempfile.TemporaryDirectory() as folder, replacing(out) as temporary:
        graph = Path(folder) / "weights.onnx"
        write_graph(model, graph)
        difference = largest_difference(model, graph)
        if pixels is None:
            temporary.write_bytes(graph.read_bytes())
        else:
            predictor = Predictor(model, resolve_precision("fp32", resolve_device("cpu")))
            predictor.check(pixels.shape[0], pixels.dtype, config.image)
            about = About(config.called, config.author, config.license or "", config.cite)
            write_package(model, predictor, pixels, graph, temporary, about)
    return difference


def example_image(config: ExportConfig) -> NDArray[Any]:
    """An image (C, H, W) in its own type, like those of the training: the given one, or one of the run's data set.

    Raises:
        UsageError: the data set is gone or another, and no image was given.
    """
    if config.image is not None:
        return read_frame(config.image)
    fix = "Give an image like those of the training: --image FILE."
    if config.run.suffix == ".safetensors":
        raise UsageError("A model file names no data set to take an image from", where=config.run, fix=fix)
    run = RunDirectory.open(config.run)
    data = run.manifest.data.path
    try:
        with dataset_of(run) as dataset:
            if dataset is None:
                raise UsageError("The data set is not the one the run was trained on", where=data, fix=fix)
            indices = np.concatenate([dataset.indices("val"), dataset.indices("train")])
            index = int(indices[0])
            return dataset.image(index)[:, *dataset.extent(index)]
    except DataError as error:
        raise UsageError(f"The data set of the run cannot be read: {error.what}", where=data, fix=fix) from None
