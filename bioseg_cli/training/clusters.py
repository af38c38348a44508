"""What the clusters of a trained network mean, by a few labelled images; the one place of IIC that reads labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from bioseg_cli.compute.device import Precision
from bioseg_cli.config import SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.metrics.mapping import contingency, hungarian, many_to_one
from bioseg_cli.model.saved import HeadMapping
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.output import Output


@torch.inference_mode()
def cluster_tables(
    network: UNet, dataset: Dataset, indices: IntArray, precision: Precision, output: Output
) -> dict[str, NDArray[np.int64]]:
    """Pixels by cluster and true class (clusters, classes), of whole stored images together, for each head."""
    network.eval()
    tables = {
        head: np.zeros((count, len(dataset.classes)), dtype=np.int64) for head, count in network.config.heads.items()
    }
    for index in output.track(indices.tolist(), "Mapping clusters to classes", len(indices)):
        labels = dataset.labels(index)
        images = torch.from_numpy(dataset.normalised(index))[None]
        with precision.autocast():
            logits = network(images.to(precision.device, memory_format=torch.channels_last))
        for head, table in tables.items():
            clusters = logits[head].float().argmax(dim=1)[0].cpu().numpy()
            table += contingency(clusters, labels, *table.shape, dataset.ignore)
    return tables


def fit_mappings(tables: Mapping[str, NDArray[np.int64]], split: SplitName, images: int) -> dict[str, HeadMapping]:
    """Decide the class of every cluster: one to one in the main head, by the largest overlap in the auxiliary one.

    A main head with more or fewer clusters than there are classes has no one-to-one mapping; the overlap decides.

    Args:
        tables: pixels (clusters, classes) of each head.
        split: where the images are from.
        images: how many they are.
    """
    mappings = {}
    for head, table in tables.items():
        one_to_one = head == "main" and table.shape[0] == table.shape[1]
        sizes = table.sum(axis=1)
        mappings[head] = HeadMapping(
            classes=tuple((hungarian if one_to_one else many_to_one)(table).tolist()),
            rule="hungarian" if one_to_one else "majority",
            split=split,
            images=images,
            areas=tuple((sizes / max(1, sizes.sum())).tolist()),
            shares=tuple(map(tuple, (table / np.maximum(sizes, 1)[:, None]).tolist())),
        )
    return mappings
