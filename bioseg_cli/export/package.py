"""A model as a package of the BioImage Model Zoo (format 0.5): the ONNX graph, what to do before and after, a test.

The specification of the format is that of `bioimageio.spec`, which also checks what is written here.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli import __version__
from bioseg_cli.errors import RunError, UsageError
from bioseg_cli.export.graph import EXTRA, INPUT, NEEDS, OPSET, OUTPUT
from bioseg_cli.io.image_writer import write_png
from bioseg_cli.io.pixel_size import MICROMETRE
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.overlay import draw_overlay
from bioseg_cli.prediction.predictor import Predictor

LARGEST_SIDE = 512
"""Pixels a side of the image that a package is tested with, at most."""

SMALLEST_SIDE = 32
"""Pixels a side of the smallest image that programs shall give to the graph."""

U_NET = ("Ronneberger, Fischer, Brox 2015: U-Net", "10.1007/978-3-319-24574-4_28")
STUDY = (
    "Horlava et al. 2020: semi- and self-supervised segmentation of biomedical microscopy data",
    "https://arxiv.org/abs/2011.08076",
)


@dataclass(frozen=True)
class About:
    """What people say of a model: its name, authors, license and what to cite (a DOI)."""

    name: str
    authors: tuple[str, ...]
    license: str
    cite: str | None


def write_package(
    model: LoadedModel, predictor: Predictor, pixels: NDArray[Any], graph: Path, path: Path, about: About
) -> None:
    """Write a package, and test it as `bioimageio test` does.

    Args:
        model: that `graph` was made of.
        predictor: of the model, for the expected output.
        pixels: (C, H, W) in their own type, an image like those of the training.
        graph: ONNX file of the model.
        path: zip file to write.
        about: what the package says of the model.

    Raises:
        UsageError: `bioimageio.core` is not installed, or the license or DOI is none.
        RunError: the package does not pass its test.
    """
    try:
        import bioimageio.core
        import bioimageio.spec
        from pydantic import ValidationError
    except ModuleNotFoundError as error:
        raise UsageError.not_installed(NEEDS, error, EXTRA) from None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels = centre(pixels)
        np.save(folder / "test-input.npy", pixels[None])
        probabilities = predictor.decoder.probabilities(predictor.predict_whole(predictor.normalised(pixels[None])))
        np.save(folder / "test-output.npy", probabilities)
        labels = predictor.decoder.labels(probabilities[0])
        write_png(folder / "cover.png", cover(pixels, labels, predictor.decoder))
        (folder / "README.md").write_text(documentation(model, about), encoding="utf-8")
        (folder / "weights.onnx").write_bytes(graph.read_bytes())
        try:
            description = bioimageio.spec.model.v0_5.ModelDescr.model_validate(
                contents(model, pixels, about), context=bioimageio.spec.ValidationContext(root=folder)
            )
        except ValidationError as error:
            raise UsageError(
                f"The BioImage Model Zoo does not take this package: {_first(error)}", fix="Correct what is named."
            ) from None
        bioimageio.spec.save_bioimageio_package(description, output_path=path)
    summary = bioimageio.core.test_model(path)
    if summary.status != "passed":
        errors = [said.msg for detail in summary.details for said in detail.errors]
        raise RunError(f"The package does not pass `bioimageio test` ({'; '.join(errors)[:300]})", where=model.path)


def contents(model: LoadedModel, pixels: NDArray[Any], about: About) -> dict[str, Any]:
    """The description file of a package, of files beside it; the keys are those of the format."""
    card = model.card
    size = {"min": SMALLEST_SIDE, "step": 1}
    channels = [f"channel{number}" for number in range(card.architecture.in_channels)]
    rows: dict[str, Any] = {"type": "space", "id": "y"}
    columns: dict[str, Any] = {"type": "space", "id": "x"}
    pixel_size = card.training_pixel_size()
    if pixel_size is not None and pixel_size.unit == MICROMETRE:
        rows |= {"unit": "micrometer", "scale": pixel_size.y}
        columns |= {"unit": "micrometer", "scale": pixel_size.x}
    normalisation = card.intensities()
    spans = [high - low for low, high in zip(normalisation.low, normalisation.high, strict=True)]
    gains = [1 / span if span > 0 else 0.0 for span in spans]
    offsets = [-low * gain for low, gain in zip(normalisation.low, gains, strict=True)]
    tempering = [] if card.temperature == 1 else [{"id": "scale_linear", "kwargs": {"gain": 1 / card.temperature}}]
    classes = [info.name for info in card.classes]
    return {
        "type": "model",
        "format_version": "0.5.12",
        "name": about.name,
        "description": f"Segmentation of microscopy images into {', '.join(classes)}: a U-Net trained by bioseg "
        f"({card.method}).",
        "authors": [{"name": author} for author in about.authors],
        "license": about.license,
        "cite": [
            {"text": U_NET[0], "doi": U_NET[1]},
            {"text": STUDY[0], "url": STUDY[1]},
            *([] if about.cite is None else [{"text": about.name, "doi": about.cite}]),
        ],
        "tags": ["segmentation", "semantic-segmentation", "unet", "2d", "microscopy", "bioseg"],
        "documentation": {"source": "README.md"},
        "covers": [{"source": "cover.png"}],
        "inputs": [
            {
                "id": INPUT,
                "description": "An image like those of the training, with its intensities as they are.",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": channels},
                    {**rows, "size": size},
                    {**columns, "size": size},
                ],
                "data": {"type": str(pixels.dtype)},
                "test_tensor": {"source": "test-input.npy"},
                "preprocessing": [
                    {"id": "scale_linear", "kwargs": {"axis": "channel", "gain": gains, "offset": offsets}},
                    {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}},
                    {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
                ],
            }
        ],
        "outputs": [
            {
                "id": OUTPUT,
                "description": "The probability of each class.",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": [_identifier(name) for name in classes]},
                    {**rows, "size": {"tensor_id": INPUT, "axis_id": "y"}},
                    {**columns, "size": {"tensor_id": INPUT, "axis_id": "x"}},
                ],
                "data": {"type": "float32", "range": [0.0, 1.0]},
                "test_tensor": {"source": "test-output.npy"},
                "postprocessing": [*tempering, {"id": "softmax", "kwargs": {"axis": "channel"}}],
            }
        ],
        "weights": {"onnx": {"source": "weights.onnx", "opset_version": OPSET}},
    }


def centre(pixels: NDArray[Any]) -> NDArray[Any]:
    """The middle of an image (C, H, W), of at most `LARGEST_SIDE` pixels a side."""
    height, width = pixels.shape[1:]
    top, left = (max(0, length - LARGEST_SIDE) // 2 for length in (height, width))
    return pixels[:, top : top + LARGEST_SIDE, left : left + LARGEST_SIDE]


def cover(pixels: NDArray[Any], labels: NDArray[np.integer[Any]], decoder: HeadDecoder) -> NDArray[np.uint8]:
    """The image, and beside it the image with the predicted classes outlined."""
    plain = draw_overlay(pixels, np.zeros_like(labels), decoder)
    return np.concatenate([plain, draw_overlay(pixels, labels, decoder)], axis=1)


def documentation(model: LoadedModel, about: About) -> str:
    """The README of a package."""
    card = model.card
    classes = "\n".join(f"- {code}: {info.name}" for code, info in enumerate(card.classes))
    pixel_size = card.training_pixel_size()
    scale = "unknown" if pixel_size is None else str(pixel_size)
    return f"""# {about.name}

A U-Net (width {card.architecture.width}, depth {card.architecture.depth}) that bioseg {__version__} trained
({card.method}, state {card.state}, epoch {card.epoch}). It gives each pixel of an image a probability for each class:

{classes}

The training images are {card.image_dtype} with {card.architecture.in_channels} channel(s). Their pixel size is {scale}.
Images with other intensities or another pixel size give results that nobody has checked.

## Validation

Score the model on labelled images that it was not trained on: `bioseg evaluate` reports the mean intersection over
union with confidence intervals. `weights.onnx` gives logits. The steps of `postprocessing` in the description file make
probabilities of them.
"""


def _identifier(name: str) -> str:
    """A class name as the format wants the name of a channel: letters, digits and underscores."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name).lower()


def _first(error: Any) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
