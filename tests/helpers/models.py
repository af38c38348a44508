"""Random models, images to predict and what a prediction records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile
import torch
import yaml
from numpy.typing import NDArray

from bioseg_cli.config import ClassInfo, UNetConfig
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model.saved import ModelCard, save_model
from bioseg_cli.model.unet import UNet

CLASSES = tuple(
    ClassInfo(name=name, colour=colour)
    for name, colour in (("background", (0, 0, 0)), ("cell", (255, 180, 0)), ("rim", (0, 120, 255)))
)


def save_random_model(path: Path, *, channels: int = 1, dtype: str = "uint16", norm: str = "batch") -> Path:
    """An untrained network of three classes: enough wherever it does not matter what is predicted."""
    torch.manual_seed(3)
    shape = {"in_channels": channels, "heads": {"main": 3}, "width": 4, "depth": 2, "norm": norm}
    architecture = UNetConfig.model_validate(shape)
    card = ModelCard(
        architecture=architecture,
        classes=CLASSES,
        normalisation=Normalisation("minmax", (500.0,) * channels, (3200.0,) * channels).to_json(),
        image_dtype=dtype,
        pixel_size=PixelSize(0.5, 0.5).to_json(),
        dataset_hash="0" * 64,
        method="uda",
        state="last",
        epoch=1,
    )
    save_model(path, UNet(architecture).state_dict(), card)
    return path


def write_image(path: Path, pixels: NDArray[Any], axes: str = "YX", size: float = 0.5) -> None:
    metadata = {"axes": axes, "unit": "um"}
    tifffile.imwrite(path, pixels, imagej=True, resolution=(1 / size, 1 / size), metadata=metadata)


def record_of(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = yaml.safe_load((out / "predictions.yaml").read_text())
    return record
