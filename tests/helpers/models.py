"""Random models, images to predict and what a prediction records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile
import torch
import yaml
from numpy.typing import NDArray

from bioseg_cli.config import BORDER_HEAD, ClassInfo, UNetConfig
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model.saved import HeadMapping, ModelCard, save_model
from bioseg_cli.model.unet import UNet

CLASSES = tuple(
    ClassInfo(name=name, colour=colour)
    for name, colour in (("background", (0, 0, 0)), ("cell", (255, 180, 0)), ("rim", (0, 120, 255)))
)


CLUSTER_MEANINGS = {"main": (2, 0, 1), "aux": (1, 0, 2, 2, 0, 1, 0)}
"""The class of each cluster, by head."""


def save_random_model(
    path: Path, *, channels: int = 1, dtype: str = "uint16", norm: str = "batch", border: bool = False
) -> Path:
    """An untrained network of three classes, and of borders: enough wherever it does not matter what is predicted."""
    torch.manual_seed(3)
    heads = {"main": 3, BORDER_HEAD: 2} if border else {"main": 3}
    shape = {"in_channels": channels, "heads": heads, "width": 4, "depth": 2, "norm": norm}
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


def save_clusters(
    path: Path, meanings: dict[str, tuple[int, ...]] | None = None, heads: dict[str, int] | None = None
) -> Path:
    """An untrained network of clusters; each becomes the class that `meanings` gives it."""
    torch.manual_seed(3)
    meanings = CLUSTER_MEANINGS if meanings is None else meanings
    heads = heads or {head: len(classes) for head, classes in CLUSTER_MEANINGS.items()}
    architecture = UNetConfig(in_channels=1, heads=heads, width=4, depth=2)
    mappings = {
        head: HeadMapping(
            classes=classes,
            rule="hungarian" if head == "main" else "majority",
            split="train",
            images=5,
            areas=(1 / len(classes),) * len(classes),
            shares=((1 / 3,) * 3,) * len(classes),
        )
        for head, classes in meanings.items()
    }
    card = ModelCard(
        architecture=architecture,
        outputs="clusters",
        mappings=mappings,
        classes=CLASSES,
        normalisation=Normalisation("minmax", (500.0,), (3200.0,)).to_json(),
        image_dtype="uint16",
        pixel_size=None,
        dataset_hash="0" * 64,
        method="iic",
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
