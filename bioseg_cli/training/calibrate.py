"""Calibration after a training: a temperature for each saved state, fitted on the validation images.

Weights stay as they are. The states are written again with the temperature in their cards, and the manifest says what
was fitted on what.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bioseg_cli.compute.device import Precision
from bioseg_cli.config import STATES
from bioseg_cli.dataset.batches import random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.metrics.temperature import fit_temperature, negative_log_likelihood
from bioseg_cli.model.saved import load_model, save_model
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.directory import RunDirectory

MOST_PIXELS = 1_000_000
"""Labelled pixels that a temperature is fitted on; of more, so many are drawn. It is a single number."""

UNCALIBRATED = "No validation image has a mask: probabilities are not calibrated"


def calibrate_states(
    run: RunDirectory, dataset: Dataset, images: IntArray, precision: Precision, output: Output
) -> None:
    """Fit the temperature of every saved state of a run, and write it to its card and to the manifest.

    Args:
        run: that has ended; its saved states predict classes with the head `main`.
        dataset: that it was trained on.
        images: labelled validation images; where there are none, no state gets a temperature, and that is said.
        precision: with the device.
        output: for progress.
    """
    record: dict[str, Any] = {"images": len(images), "states": {}}
    run.manifest["calibration"] = record
    if not len(images):
        record["reason"] = UNCALIBRATED
        output.say(UNCALIBRATED)
        return
    drawn = drawn_pixels(dataset, images)
    record["pixels"] = sum(int(one.sum()) for one in drawn)
    labels = np.concatenate([dataset.labels(i)[one] for i, one in zip(images.tolist(), drawn, strict=True)])
    of_epoch: dict[int, dict[str, Any]] = {}
    for state in (one for one in STATES if run.checkpoint(one).is_file()):
        model = load_model(run.checkpoint(state), precision.device)
        # States of one epoch are one network.
        if model.card.epoch not in of_epoch:
            network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            logits = pixel_logits(network, dataset, images, drawn, precision, output)
            temperature = fit_temperature(logits, labels)
            of_epoch[model.card.epoch] = {
                "temperature": temperature,
                "nll": [negative_log_likelihood(logits, labels, one) for one in (1.0, temperature)],
            }
        fitted = record["states"][state] = dict(of_epoch[model.card.epoch])
        card = model.card.model_copy(update={"temperature": fitted["temperature"]})
        save_model(model.path, model.network.state_dict(), card)


def drawn_pixels(dataset: Dataset, images: IntArray) -> list[NDArray[np.bool_]]:
    """Of each image, which pixels (H, W) a temperature is fitted on: all that are labelled, or `MOST_PIXELS` or so."""
    labelled = sum(int(np.count_nonzero(dataset.labels(index) != dataset.ignore)) for index in images.tolist())
    drawn = []
    for index in images.tolist():
        counted = dataset.labels(index) != dataset.ignore
        if labelled > MOST_PIXELS:
            counted &= random_stream(0, "validate", index).random(counted.shape) < MOST_PIXELS / labelled
        drawn.append(counted)
    return drawn


@torch.inference_mode()
def pixel_logits(
    network: UNet,
    dataset: Dataset,
    images: IntArray,
    drawn: list[NDArray[np.bool_]],
    precision: Precision,
    output: Output,
) -> NDArray[np.float32]:
    """Logits (N, K) of the drawn pixels of whole stored images, in their order."""
    found = []
    for place, index in enumerate(output.track(images.tolist(), "Calibrating", len(images))):
        pixels = torch.from_numpy(dataset.normalised(index))[None]
        with precision.autocast():
            logits = network(pixels.to(precision.device, memory_format=torch.channels_last))["main"]
        found.append(logits[0].float().cpu().numpy()[:, drawn[place]].T)
    return np.concatenate(found)
