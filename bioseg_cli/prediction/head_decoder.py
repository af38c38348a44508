"""What the channels of a head stand for, and how they become the values of a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.config import BORDER_HEAD, ClassInfo
from bioseg_cli.errors import UsageError
from bioseg_cli.figures.palette import cluster_colours
from bioseg_cli.metrics.expected_iou import ExpectedIoU
from bioseg_cli.metrics.mapping import class_labels, class_probabilities, most_probable
from bioseg_cli.metrics.temperature import tempered
from bioseg_cli.model.saved import HeadMapping, LoadedModel
from bioseg_cli.prediction.record import AppliedMapping, Decoding


@dataclass(frozen=True)
class HeadDecoder:
    """How one head of a model is read.

    Attributes:
        head: its name.
        values: what the values 0, 1, 2, ... of a mask mean: classes, or clusters under numbers and made-up colours.
        mapping: from clusters to classes; None where every channel is a value by itself.
        raw_clusters: the values are clusters.
        temperature: that calibrates the probabilities; 1 leaves them as they are.
        border: the channels of the head of borders follow those of the head.
    """

    head: str
    values: tuple[ClassInfo, ...]
    mapping: HeadMapping | None = None
    raw_clusters: bool = False
    temperature: float = 1.0
    border: bool = False

    @classmethod
    def of(cls, model: LoadedModel, head: str, *, raw_clusters: bool, borders: bool = False) -> HeadDecoder:
        """Read a head as classes, or as bare clusters; with `borders` also the borders of objects, if it knows them.

        Raises:
            UsageError: there is no such head, clusters are wanted of a model of classes, or classes of clusters that
                no labelled image has given a meaning.
        """
        card = model.card
        heads = card.architecture.heads
        if head not in heads:
            there = f"only {', '.join(heads)}" if len(heads) == 1 else ", ".join(heads)
            raise UsageError(
                f"The model has no head {head!r}, {there}", where=model.path, fix=f"Give --head {next(iter(heads))}."
            )
        if card.outputs == "classes":
            if raw_clusters:
                names = ", ".join(class_info.name for class_info in card.classes)
                raise UsageError(
                    f"The model knows the classes {names} and no clusters",
                    where=model.path,
                    fix="Leave out --raw-clusters; it is for runs of train-iic.",
                )
            border = borders and head == "main" and BORDER_HEAD in heads
            return cls(head, card.classes, temperature=card.temperature, border=border)
        if raw_clusters:
            return cls(head, cluster_colours(heads[head]), raw_clusters=True)
        if head not in card.mappings:
            raise UsageError(
                "No labelled image has said which class each cluster is: the data set had none, or the training did "
                "not end",
                where=model.path,
                fix="Give --raw-clusters for masks of cluster numbers, or train with some labelled images.",
            )
        return cls(head, card.classes, card.mappings[head])

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads whose channels are needed, one after the other."""
        return (self.head, BORDER_HEAD) if self.border else (self.head,)

    def apart(self, joined: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Probabilities of the head's own channels (..., K, H, W), and where borders are (..., H, W).

        Args:
            joined: those of all `heads`.
        """
        if not self.border:
            return joined, None
        return joined[..., :-2, :, :], joined[..., -1, :, :] > joined[..., -2, :, :]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every value."""
        return np.dtype(np.uint8 if len(self.values) <= 256 else np.uint16)

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.unsignedinteger[Any]]:
        """Values of a mask (..., H, W), for probabilities (..., channels, H, W).

        The class of the most probable cluster, which is how the mapping was fitted, and not the class whose clusters
        are the most probable together.
        """
        if self.mapping is None:
            return most_probable(probabilities, self.dtype)
        channels = most_probable(probabilities, np.dtype(np.uint16))
        return class_labels(channels, np.array(self.mapping.classes), self.dtype)

    def probabilities(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of each value (..., values, H, W), for those of the channels.

        Those of classes are calibrated, and of clusters a class has the sum.
        """
        if self.mapping is None:
            return tempered(probabilities, self.temperature)
        return class_probabilities(probabilities, np.array(self.mapping.classes), len(self.values))

    def expected_iou(self) -> ExpectedIoU | None:
        """Adds up what an image is expected to score; None for clusters, which were never taught to be right."""
        return None if self.raw_clusters or self.mapping is not None else ExpectedIoU(len(self.values))

    def sentence(self) -> str | None:
        """What the values are, where they are not simply the model's classes."""
        if self.raw_clusters:
            return f"Masks hold the clusters 0 to {len(self.values) - 1} of the head {self.head}, which are no classes"
        if self.mapping is None:
            return "Objects lie inside the borders that the network sees" if self.border else None
        kind = "training" if self.mapping.split == "train" else "validation"
        return (
            f"{len(self.mapping.classes)} clusters of the head {self.head} become {len(self.values)} classes by the "
            f"mapping of the run ({self.mapping.rule}, {self.mapping.images} labelled {kind} images)"
        )

    def record(self) -> Decoding:
        """What the record says of it."""
        mapping = self.mapping
        return Decoding(
            head=self.head,
            values="clusters" if self.raw_clusters else "classes",
            mapping=None
            if mapping is None
            else AppliedMapping(rule=mapping.rule, split=mapping.split, images=mapping.images, classes=mapping.classes),
            temperature=None if self.temperature == 1 else self.temperature,
        )
