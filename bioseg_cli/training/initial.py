"""The weights of another run that a training starts from, with `--init-from`.

All that the two networks have in common is taken: every tensor of the trunk, and the heads whose outputs stand for the
same. How images are normalised is not among it: that is the data set's own, here as in every training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bioseg_cli.config import UNetConfig
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.io.files import sha256_of
from bioseg_cli.model.saved import LoadedModel, load_model
from bioseg_cli.runs.directory import RunDirectory, checkpoint_of
from bioseg_cli.runs.sections import InitialWeights
from bioseg_cli.training.method import Method
from bioseg_cli.training.settings import TrainConfig

SHAPED_BY = {"variant": "--unet", "width": "--width", "norm": "--norm"}
"""What of an architecture decides on the tensors of the trunk, and the option that sets it."""


@dataclass(frozen=True)
class Taken:
    """What a training takes of another run.

    Attributes:
        tensors: by their name in the network.
        record: what the manifest says of it.
        said: the same as a sentence.
    """

    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any]
    said: str


@dataclass(frozen=True)
class Start:
    """The saved model that a training starts from, in the state that stands for its run.

    Attributes:
        source: run directory or saved model, as it was given.
        model: on the CPU.
    """

    source: Path
    model: LoadedModel

    @property
    def architecture(self) -> UNetConfig:
        """Of its network."""
        return self.model.card.architecture

    @property
    def _names(self) -> list[str]:
        return [class_info.name for class_info in self.model.card.classes]

    def refuse_overwriting(self, path: Path) -> None:
        """Raise `UsageError` where a run written to `path` would replace the weights it starts from."""
        if self.model.path.resolve().is_relative_to(path.resolve()):
            raise UsageError("The run would replace the run that it starts from", where=path, fix="Give another --run.")

    def knows_labels_of(self, dataset: Dataset) -> bool:
        """Whether it was trained with labels of this data set."""
        return self.model.card.outputs == "classes" and self.model.card.dataset_hash == dataset.content_hash

    def fitting(self, config: TrainConfig, dataset: Dataset, method: Method) -> Taken:
        """The tensors that fit the network of a training.

        Raises:
            UsageError: its trunk is another, or its images have another number of channels.
        """
        wanted = config.architecture(dataset.image_shape[0], dict(method.heads))
        self._refuse_other_trunk(wanted, dataset)
        reasons = {head: self._why_new(head, count, dataset, method) for head, count in wanted.heads.items()}
        new = {head: reason for head, reason in reasons.items() if reason is not None}
        tensors = {
            name: tensor
            for name, tensor in self.model.network.state_dict().items()
            if not name.startswith("heads.") or (name.split(".")[1] in reasons and name.split(".")[1] not in new)
        }
        # A head is a convolution: its weight and its bias.
        count = len(tensors) + 2 * len(new)
        heads = "".join(f"; the head {head} is new, as {reason}" for head, reason in new.items())
        said = f"Weights of {len(tensors)} of {count} tensors taken from {self.source}{heads}"
        if method.outputs == "classes" and not new and self._names != _names(dataset):
            # Cells and nuclei are much alike; what is not is learnt again, but not without a word.
            said += f"; its head of {', '.join(self._names)} is taken for {', '.join(_names(dataset))}"
        record = {"state": self.model.card.state, "tensors": len(tensors), "of": count, "new_heads": list(new)}
        return Taken(tensors, record, said)

    def _refuse_other_trunk(self, wanted: UNetConfig, dataset: Dataset) -> None:
        ours = self.architecture
        if ours.in_channels != wanted.in_channels:
            raise UsageError(
                f"The run to start from was trained on images of {_channels(ours)}, and those of {dataset.path} "
                f"have {wanted.in_channels}",
                where=self.source,
                fix="Give --init-from another run, or prepare the images with as many channels.",
            )
        differ = [name for name in SHAPED_BY if getattr(ours, name) != getattr(wanted, name)]
        if differ:
            both = ", ".join(f"{name} {getattr(ours, name)} and not {getattr(wanted, name)}" for name in differ)
            # The original has no normalisation to choose.
            given = differ if ours.variant != "original" else [name for name in differ if name != "norm"]
            options = " ".join(f"{SHAPED_BY[name]} {getattr(ours, name)}" for name in given)
            raise UsageError(
                f"The run to start from has another network than this training: {both}",
                where=self.source,
                fix=f"Give {options}.",
            )
        if ours.depth != wanted.depth:
            raise UsageError(
                f"The network of the run to start from has {ours.depth} levels, that of this training {wanted.depth}",
                where=self.source,
                fix="Give --init-from another run.",
            )

    def _why_new(self, head: str, count: int, dataset: Dataset, method: Method) -> str | None:
        """Why a head is drawn anew; None where it is taken."""
        card = self.model.card
        known = card.architecture.heads.get(head)
        if known is None:
            return "there is none"
        if card.outputs != method.outputs:
            return f"that of the run has {card.outputs}"
        if known != count:
            return f"that of the run has {known} {card.outputs} and not {count}"
        if card.outputs == "classes" and self._names != (theirs := _names(dataset)) and set(self._names) == set(theirs):
            return f"that of the run has its classes in another order ({', '.join(self._names)})"
        return None


def _names(dataset: Dataset) -> list[str]:
    return [class_info.name for class_info in dataset.classes]


def _channels(architecture: UNetConfig) -> str:
    return f"{architecture.in_channels} channel{'s' if architecture.in_channels > 1 else ''}"


def start_of(config: TrainConfig) -> Start | None:
    """What a training starts from; None where it starts from random weights, or goes on.

    Raises:
        DataError: no run, or one that has no state yet.
    """
    if config.init_from is None or config.resume is not None:
        return None
    return Start(config.init_from, load_model(checkpoint_of(config.init_from, None), torch.device("cpu")))


def initial_record(config: TrainConfig) -> InitialWeights | None:
    """What a manifest says first of the weights that a training starts from: their path and content hash.

    A run that goes on has it from its manifest, and does not need the weights any more.
    """
    if config.init_from is None:
        return None
    if config.resume is not None:
        return RunDirectory.open(config.resume).manifest.initial_weights
    return InitialWeights(path=str(config.init_from), hash=sha256_of(checkpoint_of(config.init_from, None)))


def refuse_changed(config: TrainConfig, record: InitialWeights | None) -> None:
    """Raise `DataError` where the weights to start from are not those that a run recorded when it began."""
    if config.init_from is None or record is None:
        return
    if sha256_of(checkpoint_of(config.init_from, None)) != record.hash:
        raise DataError(
            "The weights to start from have changed since the first restart began",
            where=config.init_from,
            fix="Train all restarts anew, with --overwrite and without --resume.",
        )
