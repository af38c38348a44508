"""A network as an ONNX graph, which takes images of any size."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bioseg_cli.errors import RunError, UsageError
from bioseg_cli.model.saved import CARD_KEY, LoadedModel
from bioseg_cli.model.unet import UNet, folded, pad_to_multiple

INPUT, OUTPUT = "image", "logits"
HEAD = "main"
NEEDS, EXTRA = "Exporting needs", "export"
OPSET = 18
"""Version of the ONNX operators: an older one is read by more programs."""

TRACED_SIZE = (70, 93)
"""(H, W) of the image that the graph is traced with: any that is no multiple of the network's."""

CHECKED_SIZES = ((64, 64), (97, 163), (33, 20), (256, 320))
TOLERANCE = 1e-4
"""Largest difference of a logit; where logits are larger than 1, as a share of the largest of them."""


class AnySize(nn.Module):
    """The main head of a network without a branch that depends on the size of the image.

    `UNet.forward` leaves out a padding of nothing, which would fix the size of a traced graph to those that need some.
    """

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) of normalised images (B, C, H, W)."""
        height, width = images.shape[2:]
        padded = pad_to_multiple(images, 2**self.network.config.depth, always=True)
        features = self.network.trunk(padded)[:, :, :height, :width]
        logits: Tensor = self.network.heads[HEAD](features)
        return logits


def write_graph(model: LoadedModel, path: Path) -> None:
    """Write the main head of a model as an ONNX file; its metadata hold the model card.

    The input `image` is float32 (B, C, H, W), normalised to [0, 1] as the card says; the output `logits` is float32
    (B, K, H, W).

    Raises:
        UsageError: a package that the export needs is not installed, or the network is the original U-Net.
        RunError: the exporter of PyTorch cannot translate the network.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter imports it
    except ModuleNotFoundError as error:
        raise UsageError.not_installed(NEEDS, error, EXTRA) from None
    if model.card.architecture.variant == "original":
        raise UsageError(
            "ONNX has no operators for the mirrored margins of the original U-Net: they depend on the image's size",
            where=model.path,
            fix="Train with --unet same.",
        )
    network = AnySize(folded(model.network)).eval()
    images = torch.zeros(1, model.card.architecture.in_channels, *TRACED_SIZE)
    free = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # It names each package for pictures that is not there.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (images,),
                dynamo=True,
                dynamic_shapes={"images": free},
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"PyTorch cannot write the network as ONNX ({reason})", where=model.path) from error
    finally:
        exporter.setLevel(level)
    if program is None:
        raise RunError("PyTorch wrote no ONNX graph", where=model.path)
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {CARD_KEY: model.card.model_dump_json()})
    path.write_bytes(proto.SerializeToString())


def largest_difference(model: LoadedModel, path: Path) -> float:
    """The largest difference between a logit of the network and of the graph in a file, on images of random pixels.

    Where logits are larger than 1, it is a share of the largest of them: so much is rounding.

    Raises:
        UsageError: ONNX Runtime is not installed.
        RunError: the difference is larger than rounding explains.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise UsageError.not_installed(NEEDS, error, EXTRA) from None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    found = 0.0
    for batch, size in enumerate(CHECKED_SIZES, start=1):
        images = random.random((batch, model.card.architecture.in_channels, *size), dtype=np.float32)
        with torch.inference_mode():
            expected = model.network(torch.from_numpy(images))[HEAD].numpy()
        (logits,) = session.run([OUTPUT], {INPUT: images})
        found = max(found, float(np.abs(logits - expected).max() / max(1, np.abs(expected).max())))
    if not found <= TOLERANCE:
        raise RunError(
            f"The logits of the ONNX graph differ from those of the network by up to {found:.2g}",
            where=model.path,
            fix="Use another version of torch or onnxruntime: nothing was written.",
        )
    return found
