"""From clusters to classes: contingency tables and the two mappings of the study.

A mapping is fitted on labelled training or validation images and then only applied: one fitted on the images it is
scored on is optimistic (Ji et al. 2019 do so; see docs/evaluate.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.metrics.confusion import joint_counts


def contingency(
    clusters: NDArray[Any], labels: NDArray[Any], n_clusters: int, n_classes: int, ignore: int | None = None
) -> NDArray[np.int64]:
    """Count pixels by cluster and true class.

    Args:
        clusters: 0..n_clusters-1, integers of any shape.
        labels: 0..n_classes-1, integers of the same shape.
        n_clusters: number of clusters.
        n_classes: number of classes.
        ignore: the label whose pixels are left out.

    Returns:
        (n_clusters, n_classes); tables of several images add up.

    Raises:
        DataError: shapes differ, or a value is out of range.
    """
    return joint_counts(labels, clusters, (n_classes, n_clusters), ignore, "clusters").T


def many_to_one(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Map each cluster to the class it overlaps most (the study's auxiliary head).

    Args:
        table: contingency (clusters, classes).

    Returns:
        (clusters,) class of each cluster; a tie goes to the lowest class, an empty cluster to class 0.
    """
    mapping: NDArray[np.int64] = table.argmax(axis=1).astype(np.int64)
    return mapping


def hungarian(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Map clusters to classes one to one so that the most pixels match (Kuhn 1955; the study's main head).

    Args:
        table: contingency (K, K).

    Returns:
        (K,) class of each cluster.

    Raises:
        ValueError: the numbers of clusters and of classes differ.
    """
    from scipy.optimize import linear_sum_assignment

    clusters, classes = table.shape
    if clusters != classes:
        raise ValueError(f"a one-to-one mapping needs as many clusters as classes, got {clusters} and {classes}")
    rows, columns = linear_sum_assignment(table, maximize=True)
    mapping = np.zeros(clusters, dtype=np.int64)
    mapping[rows] = columns
    return mapping


def mapped_counts(table: NDArray[np.int64], mapping: NDArray[np.int64]) -> NDArray[np.int64]:
    """Confusion counts (classes, classes) of clusters after `mapping`; rows are true classes.

    Args:
        table: contingency (clusters, classes).
        mapping: (clusters,) class of each cluster.
    """
    classes = table.shape[1]
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts.T, mapping, table)
    return counts


def most_probable(probabilities: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The most probable channel (..., H, W) of probabilities (..., channels, H, W); of equals the first.

    What `argmax` says, 10 to 30 times as fast: along an axis that is not the last one NumPy goes pixel by pixel.
    """
    highest = probabilities[..., 0, :, :]
    channels = np.zeros(highest.shape, dtype)
    for channel in range(1, probabilities.shape[-3]):
        other = probabilities[..., channel, :, :]
        # Channels come in rising order, so the largest number that was ever higher than all before it is the answer.
        np.maximum(channels, (other > highest) * dtype.type(channel), out=channels)
        highest = np.maximum(highest, other)
    return channels


def class_labels(clusters: NDArray[Any], mapping: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The class of each pixel, of any shape, for clusters of that shape and the class code (clusters,) of each."""
    labels: NDArray[Any] = mapping.astype(dtype)[clusters]
    return labels


def class_probabilities(probabilities: NDArray[np.float32], mapping: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Probabilities (..., classes, H, W): those of the clusters (..., clusters, H, W) that became a class, added up."""
    summed = np.zeros((*probabilities.shape[:-3], classes, *probabilities.shape[-2:]), dtype=np.float32)
    for cluster, code in enumerate(mapping.tolist()):
        summed[..., code, :, :] += probabilities[..., cluster, :, :]
    return summed
