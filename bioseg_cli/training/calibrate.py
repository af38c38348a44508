"""Calibration after a training: a temperature for each saved state, fitted on labels that the network has not seen.

They are those of the validation images; or, where there are none, those that the trainings of a cross-validation left
out. Weights stay as they are. The states are written again with the temperature in their cards, and the manifest says
what was fitted on what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from bioseg_cli.compute.device import Precision
from bioseg_cli.config import STATES, StateName
from bioseg_cli.dataset.batches import random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import UsageError
from bioseg_cli.metrics.temperature import fit_temperature, negative_log_likelihood
from bioseg_cli.model.saved import load_model, save_model
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.directory import RunDirectory, default_state
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import Calibration, FittedState, HeldOut, Status

MOST_PIXELS = 1_000_000
"""Labelled pixels that a temperature is fitted on; of more, so many are drawn. It is a single number."""

UNCALIBRATED = "No validation image has a mask: probabilities are not calibrated"


@dataclass(frozen=True)
class FittedTemperature:
    """A temperature, and what it is worth on the pixels that it was fitted on.

    Attributes:
        temperature: that the logits are divided by.
        nll: mean negative log-likelihood of the pixels without it and with it, in nats.
        pixels: their number.
    """

    temperature: float
    nll: tuple[float, float]
    pixels: int

    @classmethod
    def of(cls, logits: NDArray[np.float32], labels: NDArray[Any]) -> Self:
        """Fit it on the logits (N, K) of N pixels and their true classes (N,)."""
        temperature = fit_temperature(logits, labels)
        before, after = (negative_log_likelihood(logits, labels, divisor) for divisor in (1.0, temperature))
        return cls(temperature, (before, after), len(labels))

    def of_state(self) -> FittedState:
        """What the manifest says of it for each state."""
        return FittedState(temperature=self.temperature, nll=self.nll)


def calibrate_states(
    run: RunDirectory, dataset: Dataset, images: IntArray, precision: Precision, output: Output
) -> Calibration:
    """Fit the temperature of every saved state of a run, write it to its card, and return what the manifest says of it.

    Args:
        run: that has ended; its saved states predict classes with the head `main`.
        dataset: that it was trained on.
        images: labelled validation images; where there are none, no state gets a temperature, and that is said.
        precision: with the device.
        output: for progress.
    """
    if not len(images):
        # A resumed run may have one of a cross-validation, which was of fewer updates: the manifest says none.
        for state in _saved_states(run):
            _write_temperature(run, state, 1.0)
        advice = f"; of up to ten labelled images, `bioseg evaluate {run.path} --cross-validate --calibrate` does it"
        output.say(UNCALIBRATED + (advice if default_state(run) != "control" else ""))
        return Calibration(images=0, states={}, reason=UNCALIBRATED)
    drawn = drawn_pixels(dataset, images)
    labels = np.concatenate([dataset.labels(i)[seen] for i, seen in zip(images.tolist(), drawn, strict=True)])
    states: dict[StateName, FittedState] = {}
    of_epoch: dict[int, FittedTemperature] = {}
    for state in _saved_states(run):
        model = load_model(run.checkpoint(state), precision.device)
        # States of one epoch are one network.
        if model.card.epoch not in of_epoch:
            network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            logits = pixel_logits(network, dataset, images, drawn, precision, output)
            of_epoch[model.card.epoch] = FittedTemperature.of(logits, labels)
        fitted = of_epoch[model.card.epoch]
        states[state] = fitted.of_state()
        _write_temperature(run, state, fitted.temperature)
    return Calibration(images=len(images), states=states, pixels=len(labels))


def refuse_held_out_temperature(run: RunDirectory) -> None:
    """Raise `UsageError` where the temperature of a cross-validation is none for the saved states of a run."""
    record, status = run.manifest.calibration, run.manifest.status
    if record is not None and record.states and record.cross_validation is None:
        raise UsageError(
            f"The run has temperatures already, fitted on {record.images} validation images, which say more of its "
            "states than the predictions of other networks",
            where=run.path,
            fix="Leave out --calibrate.",
        )
    if status != Status.FINISHED:
        raise UsageError(
            f"The training of the run has not come to its end (its status is '{status}'): its states may change",
            where=run.path,
            fix=f"Finish it with bioseg train-uda --resume {run.path}, or leave out --calibrate.",
        )
    if default_state(run) == "control":
        raise UsageError(
            "The guard of the run hands out its supervised control, and the cross-validation trains with unlabelled "
            "images: its temperature would be of another training",
            where=run.path,
            fix="Train the control as a run of its own, with --unsup-loss none, and calibrate that.",
        )


def store_held_out_temperature(
    run: RunDirectory, fitted: FittedTemperature, images: int, source: HeldOut
) -> Calibration:
    """Write a temperature that was fitted to predictions of left out labels to the states of a run; see
    `calibrate_states`.

    Args:
        run: that has ended, and is not refused.
        fitted: the temperature.
        images: labelled images that were left out, whole or in parts.
        source: what the manifest says of the cross-validation.
    """
    states = _saved_states(run)
    for state in states:
        _write_temperature(run, state, fitted.temperature)
    return Calibration(
        images=images,
        pixels=fitted.pixels,
        cross_validation=source,
        states={state: fitted.of_state() for state in states},
    )


def _saved_states(run: RunDirectory) -> list[StateName]:
    return [state for state in STATES if run.checkpoint(state).is_file()]


def _write_temperature(run: RunDirectory, state: StateName, temperature: float) -> None:
    """Write a saved state anew with a temperature in its card, where it has another one."""
    model = load_model(run.checkpoint(state), torch.device("cpu"))
    if model.card.temperature != temperature:
        card = model.card.model_copy(update={"temperature": temperature})
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
