"""Dividing an image into bands by brightness: Otsu's threshold, K-means and a local threshold.

Each takes an image (C, H, W) in [0, 1] without padding and the number of bands K, and gives the band 0..K-1 of every
pixel (H, W), the darkest first. None draws a random number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.dataset.schema import Pixels

HISTOGRAM_BINS = {2: 256, 3: 256, 4: 256, 5: 128}
"""Bins of Otsu's histogram by number of classes: the search grows with bins ** (classes - 1) and stops being quick."""

KMEANS_TOLERANCE = 1e-6
"""The centres stand still when the mean distance to them changes by less, in standard deviations of the image."""

BLOCK_SHARE = 4
"""The local threshold looks at a block of this part of the shorter side: smaller ones hollow out the cells."""

PROBED_PIXELS = 4096
"""Pixels that are searched for grey levels first: nearly always they hold enough, and the rest need not be sorted."""

Divide = Callable[[NDArray[np.float32], int], Pixels]


@dataclass(frozen=True)
class Division:
    """A way to divide images by brightness.

    Attributes:
        divide: does it.
        most: the largest number of bands it can tell apart; None = any.
        about: what it is, for a note under the table.
    """

    divide: Divide
    most: int | None
    about: str


def otsu_bands(image: NDArray[np.float32], bands: int) -> Pixels:
    """Bands of the mean over channels, by Otsu's thresholds (Otsu 1979; Liao et al. 2001 for more than one).

    An image of fewer than K grey levels has fewer bands.
    """
    from skimage.filters import threshold_multiotsu, threshold_otsu

    grey = image[0] if len(image) == 1 else image.mean(axis=0)
    levels = np.unique(grey.reshape(-1)[:PROBED_PIXELS])
    levels = np.unique(grey) if len(levels) <= bands else levels
    if len(levels) <= bands:
        # Otsu's search has nothing to search; each level is a band.
        thresholds = (levels[1:] + levels[:-1]) / 2
    elif bands == 2:
        counts, edges = histogram(grey, HISTOGRAM_BINS[2])
        thresholds = np.array([threshold_otsu(hist=(counts, (edges[:-1] + edges[1:]) / 2))])  # type: ignore[no-untyped-call]
    else:
        thresholds = threshold_multiotsu(grey, bands, nbins=HISTOGRAM_BINS[bands])  # type: ignore[no-untyped-call]
    result = np.zeros(grey.shape, dtype=np.uint8)
    for threshold in thresholds:
        result += grey > threshold
    return result


def histogram(values: NDArray[np.float32], bins: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What `np.histogram` gives for values that are not all the same: counts (bins,) and edges (bins + 1,).

    In a fraction of its time, and most of that leaves other threads free.
    """
    flat = values.reshape(-1)
    low, high = flat.min(), flat.max()
    edges = np.histogram_bin_edges(np.array([low, high]), bins)
    places = flat - low
    places *= np.float32(bins / (high - low))
    found = places.astype(np.uint16)
    # Rounding may have moved a value across an edge that it is close to: there the edges themselves decide.
    rounding = 16 * np.finfo(np.float32).eps * bins * (1 + max(abs(low), abs(high)) / (high - low))
    np.subtract(places, np.rint(places), out=places)
    close = np.flatnonzero(np.abs(places, out=places) <= rounding)
    found[close] = (np.searchsorted(edges, flat[close], side="right") - 1).clip(0, bins - 1)
    return np.bincount(found, minlength=bins), edges


def kmeans_bands(image: NDArray[np.float32], bands: int) -> Pixels:
    """Clusters of the pixels by their channels (Lloyd 1982), in order of the brightness of their centres.

    An image of fewer than K different pixels has fewer clusters.
    """
    from scipy.cluster.vq import kmeans, vq

    pixels = image.reshape(len(image), -1).T.astype(np.float64)
    centres = np.unique(pixels, axis=0)
    if len(centres) > bands:
        pixels = pixels / (spread := pixels.std())
        starts = _starting_centres(pixels, _darkest_first(centres / spread), bands)
        fits = [kmeans(pixels, start, thresh=KMEANS_TOLERANCE)[0] for start in starts]
        # Squared distances are what K-means makes small; SciPy's own measure of a fit is the mean distance.
        centres = min(fits, key=lambda fit: float((vq(pixels, fit)[1] ** 2).mean()))
    nearest: Pixels = vq(pixels, _darkest_first(centres))[0].astype(np.int64).reshape(image.shape[1:])
    return nearest


def _starting_centres(
    pixels: NDArray[np.float64], different: NDArray[np.float64], bands: int
) -> list[NDArray[np.float64]]:
    """Pixels evenly spaced in number, in brightness and among the different ones; Lloyd's method may stop short."""
    middles = (np.arange(bands) + 0.5) / bands
    grey = different.mean(axis=1)
    levels = grey[0] + middles * (grey[-1] - grey[0])
    starts = (
        _darkest_first(pixels)[(middles * len(pixels)).astype(np.intp)],
        different[np.abs(grey[:, None] - levels).argmin(axis=0)],
        different[np.linspace(0, len(different) - 1, bands).astype(np.intp)],
    )
    distinct = [np.unique(start, axis=0) for start in starts]
    return [start for start in distinct if len(start) > 1]


def _darkest_first(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels (P, C) in order of the mean of their channels."""
    return pixels[np.argsort(pixels.mean(axis=1), kind="stable")]


def local_bands(image: NDArray[np.float32], bands: int) -> Pixels:
    """1 where the mean over channels is above the Gaussian mean of the block around the pixel, see `block_size`."""
    from skimage.filters import threshold_local

    if bands != 2:
        raise ValueError(f"a threshold makes 2 bands, not {bands}")
    grey = image.mean(axis=0)
    if grey.min() == grey.max():
        # Above its own mean by rounding alone.
        return np.zeros(grey.shape, dtype=np.int64)
    above: NDArray[Any] = grey > threshold_local(grey, block_size(grey.shape))  # type: ignore[no-untyped-call]
    return above.astype(np.int64)


def block_size(shape: tuple[int, ...]) -> int:
    """Side in pixels of the local threshold's block in an image (H, W); odd."""
    return max(3, min(shape) // BLOCK_SHARE // 2 * 2 + 1)


DIVISIONS = {
    "otsu": Division(otsu_bands, max(HISTOGRAM_BINS), "a threshold for each image"),
    "kmeans": Division(kmeans_bands, None, "K-means of each image's pixels by intensity, a cluster a class"),
    "local": Division(
        local_bands,
        2,
        f"a threshold for each pixel, the Gaussian mean of a block of 1/{BLOCK_SHARE} of the image's shorter side",
    ),
}
