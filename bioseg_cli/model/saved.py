"""The saved model: one safetensors file with the weights and all that prediction needs to know.

No pickle is ever loaded: a file that is not safetensors is refused unread. A checksum of weights and card is stored
with them, because weights with a flipped bit are still weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from bioseg_cli.config import ClassInfo, Config, SplitName, UNetConfig
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import write_bytes
from bioseg_cli.io.intensities import SeenIntensities
from bioseg_cli.io.json_text import parse_json
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model.checksum import checksum_of
from bioseg_cli.model.unet import UNet

CARD_KEY = "bioseg"
CHECKSUM_KEY = "bioseg_checksum"
"""Not in the files of earlier versions."""


class HeadMapping(Config):
    """What the clusters of a head mean, as fitted on a few labelled images."""

    classes: tuple[int, ...]
    """Class code of each cluster; by majority that of a cluster which the images do not contain is 0."""
    rule: Literal["hungarian", "majority"]
    """One to one so that the most pixels match, or each cluster to the class it overlaps most."""
    split: SplitName
    """Where the images are from; never the test split."""
    images: int
    """How many images."""
    areas: tuple[float, ...]
    """Share of the images' labelled pixels in each cluster."""
    shares: tuple[tuple[float, ...], ...]
    """Of each cluster's pixels, the share in each class; zeros for a cluster without pixels."""


class ModelCard(Config):
    """What a saved model knows about itself."""

    architecture: UNetConfig
    outputs: Literal["classes", "clusters"] = "classes"
    """What the channels of every head stand for. Clusters mean nothing by themselves: see `mappings`."""
    mappings: dict[str, HeadMapping] = Field(default_factory=dict)
    """From clusters to classes, by head; empty where no labelled image was at hand."""
    temperature: float = Field(default=1.0, gt=0)
    """That calibrates the probabilities of the classes (`metrics.temperature`); 1 = none was fitted."""
    classes: tuple[ClassInfo, ...]
    normalisation: dict[str, Any]
    """JSON form of `images.Normalisation`, from the training split."""
    image_dtype: str
    """Pixel type of the training images: other types carry other intensities."""
    pixel_size: dict[str, Any] | None
    """JSON form of `images.PixelSize` of the training images, where known."""
    training_images: dict[str, Any] | None = None
    """JSON form of `intensities.SeenIntensities` of the training images; models of earlier versions have none."""
    dataset_hash: str
    method: str
    state: str
    epoch: int

    @model_validator(mode="after")
    def _mappings_fit(self) -> Self:
        for head, mapping in self.mappings.items():
            known = all(0 <= code < len(self.classes) for code in mapping.classes)
            if len(mapping.classes) != self.architecture.heads.get(head) or not known:
                raise ValueError(f"the mapping of the head {head!r} does not fit")
        return self

    def intensities(self) -> Normalisation:
        """The normalisation that turns pixels into what the network was trained on."""
        return Normalisation.from_json(self.normalisation)

    def training_intensities(self) -> SeenIntensities | None:
        """Grey levels of the training images, where known."""
        return None if self.training_images is None else SeenIntensities.from_json(self.training_images)

    def training_pixel_size(self) -> PixelSize | None:
        """Pixel size of the training images, where known."""
        return None if self.pixel_size is None else PixelSize.from_json(self.pixel_size)


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode and its card."""

    network: UNet
    card: ModelCard
    path: Path


def save_model(path: Path, state: dict[str, Tensor], card: ModelCard) -> None:
    """Write weights and card, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    text = card.model_dump_json()
    write_bytes(path, save(tensors, metadata={CARD_KEY: text, CHECKSUM_KEY: _checksum(tensors, text)}))


def _checksum(tensors: dict[str, Tensor], card: str) -> str:
    # A file has its tensors in an order of its own.
    return checksum_of([card, dict(sorted(tensors.items()))])


def load_model(path: Path, device: torch.device) -> LoadedModel:
    """Read a saved model onto `device`.

    Raises:
        DataError: no such file, not safetensors (a pickle, say), not of bioseg, damaged, or weights that do not fit.
    """
    if not path.is_file():
        raise DataError("There is no such model", where=path, fix="Give a run directory or a .safetensors file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        # Not by `file.get_tensor`, which keeps a few objects for ever each time (safetensors 0.8).
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"The model is not a readable safetensors file ({error}); pickled checkpoints are never opened",
            where=path,
            fix="Give a checkpoint that bioseg wrote.",
        ) from None
    if CARD_KEY not in metadata:
        raise DataError("The file holds weights, but not of bioseg", where=path, fix="Give a checkpoint bioseg wrote.")
    saved = metadata.get(CHECKSUM_KEY)
    if saved is not None and saved != _checksum(tensors, metadata[CARD_KEY]):
        raise DataError(
            "The model is damaged: its weights or its card are not those that were saved",
            where=path,
            fix="Copy the file again, or train the run again.",
        )
    try:
        card = ModelCard.model_validate(parse_json(metadata[CARD_KEY]))
        card.intensities(), card.training_pixel_size(), card.training_intensities()
        _check_shapes(card.architecture, tensors)
        network = UNet(card.architecture)
        network.load_state_dict(tensors)
    except (ValidationError, KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise DataError(
            f"The model is damaged or of another bioseg ({' '.join(str(error).split())[:200]})",
            where=path,
            fix="Train it again, or use the bioseg that wrote it.",
        ) from None
    return LoadedModel(network.to(device).eval(), card, path)


def _check_shapes(architecture: UNetConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` where the network would be another one than the tensors are of, before it takes memory."""
    with torch.device("meta"):
        declared = UNet(architecture).state_dict()
    for name in sorted(declared.keys() | tensors.keys()):
        if name not in declared or name not in tensors or declared[name].shape != tensors[name].shape:
            raise ValueError(f"the network that the card describes has other weights: {name}")
