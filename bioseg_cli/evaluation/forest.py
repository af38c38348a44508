"""The random forest as a baseline: its prediction for the images that runs are scored on, and what is said of it."""

from __future__ import annotations

import numpy as np

from bioseg_cli.dataset.schema import Pixels
from bioseg_cli.evaluation.ground_truth import GroundTruth, Predict
from bioseg_cli.training.forest import TREES, Forest


def forest_prediction(forest: Forest, truth: GroundTruth) -> Predict:
    """What a forest predicts for each image of `truth`, by the images' numbers; 0 in the padding."""

    def predict(number: int) -> Pixels:
        image = truth.image(number)
        if image is None:
            raise ValueError("a forest needs images")
        extent = truth.extent(number)
        found = np.zeros(image.shape[1:], dtype=np.min_scalar_type(len(truth.classes)))
        found[extent] = forest.codes[forest.probabilities(image[:, *extent]).argmax(axis=0)]
        return found

    return predict


def forest_note(forest: Forest) -> str:
    """What the forest is and what it was grown on."""
    plural = "s" if forest.images > 1 else ""
    return (
        f"forest: {TREES} random trees on filter responses of single pixels, grown on {forest.pixels} pixels of "
        f"{forest.images} labelled image{plural}."
    )
