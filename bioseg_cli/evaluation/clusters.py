"""Scoring runs of `train-iic`: what their clusters are worth once each has become a class.

The images are predicted once, and pixels counted by cluster and true class; every head and mapping is scored from these
counts. The stored mapping was decided on a few labelled training or validation images. The oracle mapping is decided on
the very images that are scored, as Ji et al. 2019 report: no other has more right pixels, yet another may have a higher
mean IoU, as the oracle gives up small classes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.errors import UsageError
from bioseg_cli.evaluation.document import ClusterMapping
from bioseg_cli.evaluation.ground_truth import GroundTruth, Predict, Segment
from bioseg_cli.evaluation.scores import ImageCounts
from bioseg_cli.evaluation.settings import EvaluateConfig
from bioseg_cli.evaluation.states import SavedState
from bioseg_cli.metrics.mapping import contingency, mapped_counts, most_probable
from bioseg_cli.model.saved import ModelCard
from bioseg_cli.training.clusters import fit_mappings

ORACLE_NOTE = (
    "oracle: the mapping that matches the most pixels of the scored images themselves: an upper bound of the share of "
    "right pixels, not of the mean IoU, and one that nobody has who needs the masks."
)


@dataclass(frozen=True)
class ClusterCounts:
    """Pixels of each image that was scored, by cluster and true class.

    Attributes:
        names: (N,) of the images.
        groups: (N,) group of each image.
        tables: by head, (N, clusters, classes).
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    tables: Mapping[str, NDArray[np.int64]]

    def mapped(self, head: str, mapping: ClusterMapping) -> ImageCounts:
        """Confusion counts of a head whose clusters became classes."""
        classes = np.array(mapping.classes)
        counts = np.stack([mapped_counts(table, classes) for table in self.tables[head]])
        return ImageCounts(self.names, self.groups, counts)

    def oracle(self, head: str, split: SplitName) -> ClusterMapping:
        """The mapping that matches these very images best, all pixels pooled."""
        pooled = self.tables[head].sum(axis=0)
        fitted = fit_mappings({head: pooled}, split, len(self.names))[head]
        return ClusterMapping(
            kind="oracle", rule=fitted.rule, split=split, images=len(self.names), classes=fitted.classes
        )


def chosen_heads(config: EvaluateConfig, state: SavedState, card: ModelCard) -> tuple[str, ...]:
    """The heads to score, main first.

    Raises:
        UsageError: the model has no such head.
    """
    there = tuple(card.architecture.heads)
    if config.head == "all":
        return there
    if config.head not in there:
        raise UsageError(
            f"{state.name} has no head {config.head!r}, only {', '.join(there)}",
            fix=f"Give --head {there[0]}, or leave it out.",
        )
    return (config.head,)


def chosen_mappings(
    config: EvaluateConfig, state: SavedState, card: ModelCard, head: str, counts: ClusterCounts
) -> list[ClusterMapping]:
    """The mappings to score a head with, the stored one first.

    Raises:
        UsageError: only the stored mapping is wanted, and there is none.
    """
    chosen = []
    stored = card.mappings.get(head)
    if stored is not None and config.mapping != "oracle":
        chosen.append(
            ClusterMapping(
                kind="stored", rule=stored.rule, split=stored.split, images=stored.images, classes=stored.classes
            )
        )
    if config.mapping != "stored":
        chosen.append(counts.oracle(head, config.split))
    if not chosen:
        raise UsageError(
            f"{state.name} has no stored mapping for its state {state.state}: the data set had no labelled image, or "
            "the training did not end",
            fix="Give --mapping oracle.",
        )
    return chosen


def mapping_notes(
    config: EvaluateConfig,
    state: SavedState,
    card: ModelCard,
    mappings: Mapping[str, Sequence[ClusterMapping]],
    data_hash: str,
) -> list[str]:
    """What a reader must know of how clusters became classes.

    Args:
        config: settings.
        state: that was scored.
        card: of its model.
        mappings: of each head that was scored.
        data_hash: content hash of the data set that was scored.
    """
    notes = []
    which = f"{state.name}, {state.state}"
    stored = {head: mapping for head, some in mappings.items() for mapping in some if mapping.kind == "stored"}
    for mapping in list(stored.values())[:1]:
        kind = "training" if mapping.split == "train" else "validation"
        rules = ", ".join(f"{head} by {each.rule}" for head, each in stored.items())
        notes.append(
            f"{which}: stored: {mapping.images} labelled {kind} images decided what each cluster is ({rules})."
        )
        if mapping.split == config.split and card.dataset_hash == data_hash:
            notes.append(f"{which}: the images that decided the stored mapping are among those scored here.")
    if not stored and config.mapping == "both":
        notes.append(f"{which}: no stored mapping, as no labelled image decided one; the oracle is all there is.")
    if any(mapping.kind == "oracle" for some in mappings.values() for mapping in some):
        notes.append(ORACLE_NOTE)
    return notes


def likeliest_clusters(probabilities: Mapping[str, NDArray[np.float32]]) -> list[dict[str, Pixels]]:
    """The clusters (H, W) of each image, by head, of probabilities (B, clusters, H, W) by head."""
    maps = {head: most_probable(each, np.dtype(np.uint16)) for head, each in probabilities.items()}
    return [dict(zip(maps, images, strict=True)) for images in zip(*maps.values(), strict=True)]


def cluster_tables(
    labels: Pixels, maps: Mapping[str, Pixels], clusters: Mapping[str, int], classes: int, ignore: int
) -> dict[str, NDArray[np.int64]]:
    """Pixels of one image by cluster and true class, (clusters, classes) by head.

    Args:
        labels: (H, W) class codes or `ignore`.
        maps: by head, (H, W) clusters.
        clusters: their number in each head.
        classes: number of classes.
        ignore: the label of pixels that are not counted.
    """
    return {head: contingency(maps[head], labels, count, classes, ignore) for head, count in clusters.items()}


def counts_of_clusters(truth: GroundTruth, tables: Iterable[Mapping[str, NDArray[np.int64]]]) -> ClusterCounts:
    """The images of a truth with their `cluster_tables`, in its order; without those that have no counted pixel."""
    every = list(tables)
    by_head = {head: np.stack([image_tables[head] for image_tables in every]) for head in every[0]}
    scored = np.flatnonzero(next(iter(by_head.values())).sum(axis=(1, 2)))
    return ClusterCounts(
        names=tuple(truth.names[i] for i in scored),
        groups=tuple(truth.groups[i] for i in scored),
        tables={head: table[scored] for head, table in by_head.items()},
    )


def as_classes(segment: Segment, head: str, mapping: ClusterMapping) -> Predict:
    """The classes that the clusters of a head became."""
    classes = np.array(mapping.classes)

    def predict(number: int) -> Pixels:
        mapped: Pixels = classes[segment(number)[head]]
        return mapped

    return predict
