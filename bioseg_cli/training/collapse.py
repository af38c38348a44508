"""Watching a clustering for collapse: what is measured of each head after an epoch, and what a collapse looks like.

A low loss does not say that a clustering is of any use (Horlava et al. 2020, section 4): a network may ignore its
input, or cut every image into two halves of equal area, which shares more information than finding small cells does.
Nothing here looks at labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LIVE_AREA = 0.01
"""A cluster is alive from this share of the area on."""

UNDECIDED = 0.95
"""Mean entropy of a pixel's probabilities, over log K, above which the head has decided nothing."""

ONE_CLUSTER_ENTROPY = 0.1
"""Entropy of the mean probabilities, over log K, below which one cluster holds everything."""

CONSTANT_IMAGES = 0.9
"""Share of images of one cluster each above which a head does not segment."""

IMAGE_DEPENDENCE = 0.1
"""Share of a map's entropy that is left at a fixed position, below which all images have one map."""

NO_INFORMATION = 0.05
"""Share of a map's entropy that the map of the second view tells, below which the two agree by chance."""

HALF = (0.4, 0.6)
OTSU_INSIDE = 0.8
OTSU_EXCESS = 1.5
"""A half-and-half split: one cluster has about half of the area, holds `OTSU_INSIDE` of what Otsu's threshold calls
bright, and is `OTSU_EXCESS` times as large as that."""

Collapse = Literal["uniform", "one cluster", "one map", "no information", "half and half"]
WORDS: dict[Collapse, str] = {
    "uniform": "uniform: every pixel is given to all clusters alike",
    "one cluster": "one cluster: an image is never divided",
    "one map": "one map: the clusters depend on the position and not on the image",
    "no information": "no information: the clusters of an image say nothing of those of its second view",
    "half and half": "half and half: it cuts the images into two halves by brightness, and not where Otsu's threshold "
    "does",
}


class HeadWatch:
    """Adds up the held-out predictions of one head and measures them.

    Args:
        clusters: K.
    """

    def __init__(self, clusters: int) -> None:
        self.clusters = clusters
        self._joint = torch.zeros(clusters, clusters, dtype=torch.float64)
        self._probability = torch.zeros(clusters, dtype=torch.float64)
        self._entropy = 0.0
        self._positions: Tensor | None = None
        self._images = self._constant = 0
        self._pixels = 0.0
        self._bright: NDArray[np.int64] | None = None

    def add(
        self, first: Tensor, second: Tensor, valid: Tensor, shown: Tensor, bright: NDArray[np.bool_] | None = None
    ) -> None:
        """Take in the images of a batch; all batches have images of one size.

        Args:
            first: (B, K, H, W) probabilities.
            second: the same of the second view, aligned to the first.
            valid: (B, 1, H, W), 1 where both views show the pixel.
            shown: (B, 1, H, W), 1 where the image shows its source.
            bright: (B, H, W) what Otsu's threshold calls bright, where that is to be compared.
        """
        self._joint += torch.einsum("bkhw,blhw->kl", first * valid, second).cpu().double()
        self._probability += (first * shown).sum(dim=(0, 2, 3)).cpu().double()
        self._entropy += float((entropy(first, dim=1)[:, None] * shown).sum())
        self._pixels += float(shown.sum())
        chosen = torch.nn.functional.one_hot(first.argmax(dim=1), self.clusters).movedim(-1, 1) * shown
        areas = chosen.sum(dim=(2, 3))
        self._images += len(first)
        self._constant += int((areas.amax(dim=1) == areas.sum(dim=1)).sum())
        positions = chosen.sum(dim=0).cpu().double()
        self._positions = positions if self._positions is None else self._positions + positions
        if bright is not None:
            inside = first.argmax(dim=1).cpu().numpy()[bright & (shown[:, 0] > 0).cpu().numpy()]
            counts = np.bincount(inside, minlength=self.clusters)
            self._bright = counts if self._bright is None else self._bright + counts

    def measures(self) -> dict[str, float]:
        """What `describe` and `diagnose` read.

        `mi` is in nats, `mi_share` its share of the bound log K; entropies are shares of log K too.
        """
        if self._positions is None:
            raise ValueError("nothing was added")
        bound = math.log(self.clusters)
        areas = self._positions.sum(dim=(1, 2)) / self._positions.sum()
        seen = self._positions.sum(dim=0)
        spread = entropy(areas, dim=0)
        at_position = (entropy(self._positions / seen.clamp(min=1), dim=0) * seen).sum() / seen.sum()
        # Not symmetrised, unlike the loss: of two maps that agree by chance alone nothing may be left.
        joint = self._joint / self._joint.sum().clamp(min=1)
        margins = entropy(joint.sum(dim=0), dim=0) + entropy(joint.sum(dim=1), dim=0)
        information = float(margins - entropy(joint.flatten(), dim=0))
        measures = {
            "mi": information,
            "mi_share": information / bound,
            "marginal_entropy": float(entropy(self._probability / self._pixels, dim=0)) / bound,
            "pixel_entropy": self._entropy / self._pixels / bound,
            "live_clusters": float((areas > LIVE_AREA).sum()),
            "constant_images": self._constant / self._images,
            # Of a single image nothing can be said.
            "image_dependence": float(at_position / spread.clamp(min=1e-12)) if self._images > 1 else 1.0,
        }
        if self._bright is not None:
            cluster, bright = int(self._bright.argmax()), int(self._bright.sum())
            measures["bright_area"] = float(areas[cluster])
            measures["otsu_area"] = bright / float(self._positions.sum())
            measures["otsu_inside"] = float(self._bright[cluster]) / max(1, bright)
        return measures


def entropy(probabilities: Tensor, dim: int) -> Tensor:
    """Entropy over `dim`, in nats; never below 0 by rounding."""
    return -torch.xlogy(probabilities, probabilities).sum(dim=dim).clamp(max=0)


def diagnose(measures: Mapping[str, float]) -> Collapse | None:
    """The kind of collapse that the measures of a head show, if any."""
    if measures["pixel_entropy"] > UNDECIDED:
        return "uniform"
    if measures["marginal_entropy"] < ONE_CLUSTER_ENTROPY or measures["constant_images"] > CONSTANT_IMAGES:
        return "one cluster"
    if measures["image_dependence"] < IMAGE_DEPENDENCE:
        return "one map"
    if measures["mi_share"] < NO_INFORMATION * measures["marginal_entropy"]:
        return "no information"
    if "bright_area" in measures:
        area = measures["bright_area"]
        halves = HALF[0] <= area <= HALF[1]
        if halves and measures["otsu_inside"] >= OTSU_INSIDE and area >= OTSU_EXCESS * measures["otsu_area"]:
            return "half and half"
    return None


def otsu_bright(image: NDArray[np.float32], shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where Otsu's threshold calls an image (C, H, W) bright, by the mean over its channels; nowhere in a flat one."""
    from skimage.filters import threshold_otsu

    grey: NDArray[Any] = image.mean(axis=0)
    inside = grey[shown]
    if inside.size == 0 or inside.min() == inside.max():
        return np.zeros(grey.shape, dtype=bool)
    return (grey > threshold_otsu(inside)) & shown  # type: ignore[no-untyped-call, no-any-return]
