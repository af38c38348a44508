"""Reports of an evaluation, as `bioseg evaluate` makes them, of counts drawn at random."""

from __future__ import annotations

import numpy as np

from bioseg_cli.evaluation.document import ClusterMapping, LabelBudget
from bioseg_cli.evaluation.report import Evaluation, Report
from bioseg_cli.evaluation.scores import ImageCounts, Resampling, difference, score_images

NAMES = ("background", "nucleus")


def counts_of(*matrices, groups=None) -> ImageCounts:
    names = tuple(f"image{i}" for i in range(len(matrices)))
    return ImageCounts(names, groups or names, np.array(matrices, dtype=np.int64))


def report(names=("runs/nuclei-uda-kl-5labels-seed0",), classes=NAMES, states=("best-supervised",), **extra) -> Report:
    size = len(classes)
    random = np.random.default_rng(0)
    images = counts_of(*random.integers(1, 100, (4, size, size)))
    score = score_images(images, classes, Resampling(draws=100))
    rows = tuple(
        Evaluation(
            name,
            images,
            score,
            state,
            LabelBudget(count=5, of=100, pixels=None, share=None),
            difference(images, images, Resampling(draws=100)),
        )
        for name in names
        for state in states
    )
    baselines = (Evaluation("otsu", images, score), Evaluation("all-background", images, score))
    return Report("data/nuclei.h5", "val", rows, baselines, **extra)


def cluster_report(name: str = "runs/nuclei-iic-stable-4+10clusters-seed0", states=("best-final",)) -> Report:
    """The rows of a run without labels, beside one with."""
    of_classes = report()
    (example,) = of_classes.evaluations
    mappings = [
        ClusterMapping(kind=kind, rule=rule, split="val", images=images, classes=(0, 1))
        for rule in ("hungarian", "majority")
        for kind, images in (("stored", 1), ("oracle", 50))
    ]
    rows = [
        Evaluation(name, example.images, example.score, state, head=head, mapping=mapping)
        for state in states
        for head, mapping in zip(("main", "main", "aux", "aux"), mappings, strict=True)
    ]
    return Report(of_classes.data, "val", (example, *rows), of_classes.baselines)
