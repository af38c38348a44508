"""The loop that trains any method: device, precision, optimiser, schedule, best states, checkpoints, log, resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bioseg_cli.compute.device import Precision
from bioseg_cli.compute.memory import is_out_of_memory
from bioseg_cli.config import STATES, StateName
from bioseg_cli.dataset.intensities import training_intensities
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import Interrupted, RunError
from bioseg_cli.io.intensities import SeenIntensities
from bioseg_cli.io.prefetch import prefetched_map
from bioseg_cli.model.saved import ModelCard
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.output import Output, ProgressDisplay, clock
from bioseg_cli.runs.sections import BestEpoch, Progress
from bioseg_cli.training.average import WeightAverage
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.method import Method
from bioseg_cli.training.network import build_network, saved_part
from bioseg_cli.training.optimisation import OPTIMIZERS, learning_rate
from bioseg_cli.training.record import TrainingRun
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.state import Stateful, TrainingState, hash_of_learnt, load_state
from bioseg_cli.training.watch import TrainingProgress

SAVE_SECONDS = 300.0
"""A long epoch saves its state this often: what a kill can cost."""

UNTIMED_STEPS, TIMED_STEPS = 3, 10
"""Of the steps that tell how long one takes, the first ones also find memory and choose kernels."""


class Trainer:
    """Trains one method on one data set into one run directory.

    Args:
        method: what is computed on a batch.
        dataset: open data set.
        config: settings shared by all methods.
        precision: with the device.
        run: where everything is written.
        output: where progress goes.
        stop_requested: asked after each step; true once the user wants to stop.
        processes: that train it together.
        weights: of some or all tensors of the network, to start from; the others are drawn.
        progressed: told after each step and at the end of each epoch.
    """

    def __init__(
        self,
        method: Method,
        dataset: Dataset,
        config: TrainConfig,
        precision: Precision,
        run: TrainingRun,
        output: Output,
        stop_requested: Callable[[], bool],
        processes: Alone,
        weights: Mapping[str, Tensor] | None = None,
        progressed: Callable[[TrainingProgress], None] = lambda progress: None,
    ) -> None:
        self.method = method
        self.dataset = dataset
        self.config = config
        self.precision = precision
        self.run = run
        self.output = output
        self.stop_requested = stop_requested
        self.processes = processes
        self.initial_weights = weights
        self.progressed = progressed
        self.network = build_network(config, dataset, dict(method.heads), method.training_heads)
        if weights is not None:
            self.network.load_state_dict(weights, strict=False)
        # Channels last is the layout in which convolutions reach the hardware's matrix units without copies.
        self.network.to(device=precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.shared = processes.shared(self.network)
        self.optimizer = OPTIMIZERS[config.optimizer](self.network.parameters(), lr=config.lr)
        self.state = TrainingState()
        self.average = None if config.ema is None else WeightAverage(self.network, config.ema)
        decay = method.teacher_decay
        self.teacher = None if decay is None else WeightAverage(self.network, decay, follows=True)
        self.total_steps = config.total_steps(method.epoch_steps)
        self._data_hash = hash_of_learnt(dataset, method.heads)

    def resume(self) -> None:
        """Go back to where the run was left; raises `DataError` where there is nothing to resume."""
        self.state = load_state(self.run.resume_file, self._parts(), self._data_hash, self.precision.device)
        self.total_steps = max(self.total_steps, self.state.updates)

    @property
    def kept(self) -> UNet:
        """The network that is validated and saved: the average of the weights where one is kept."""
        return self.network if self.average is None else self.average.network

    def _parts(self) -> dict[str, Stateful]:
        """Everything but the counters that the next step depends on."""
        parts: dict[str, Stateful] = {"network": self.network, "optimizer": self.optimizer}
        averages = {"average": self.average, "teacher": self.teacher}
        return parts | {name: average.network for name, average in averages.items() if average is not None}

    def fit(self) -> dict[str, float]:
        """Train to the end of the budget; return the last epoch's metrics.

        Raises:
            Interrupted: the user stopped it; the state is saved.
            RunError: a loss was not finite, or memory ran out.
        """
        state = self.state
        self._began = time.monotonic() - state.seconds
        with self.output.progress(self.method.name, self.total_steps, state.updates) as progress:
            # An epoch begun counts too: a resumed run may have spent its new budget in the middle of one.
            while (state.updates < self.total_steps or state.step) and not self._out_of_patience():
                try:
                    finished = self._train_epoch(progress)
                    if finished:
                        self._end_epoch()
                except Exception as error:
                    if is_out_of_memory(error):
                        raise self._out_of_memory() from error
                    raise
                if not finished:
                    self._save()
                    raise Interrupted(
                        f"Stopped after {state.updates} of {self.total_steps} steps; the state is saved",
                        where=self.run.path,
                        fix=f"Continue with --resume {self.run.path}.",
                    )
        return {key: value for key, value in state.rows[-1].items() if isinstance(value, float)}

    def timed(self) -> dict[str, float]:
        """Seconds that a `step` and a `validation` take here and now; the trainer is of no further use."""
        self.network.train()
        steps = [divmod(number, self.method.epoch_steps) for number in range(UNTIMED_STEPS + TIMED_STEPS)]
        with prefetched_map(lambda place: self.method.draw(*place), steps, most=1) as batches:
            for number, batch in enumerate(batches):
                if number == UNTIMED_STEPS:
                    start = time.monotonic()
                self._train_step(batch)
        per_step = (time.monotonic() - start) / TIMED_STEPS
        self.network.eval()
        start = time.monotonic()
        self.method.validate(self.kept, self.precision)
        return self.processes.of_the_first({"step": per_step, "validation": time.monotonic() - start})

    def _train_epoch(self, progress: ProgressDisplay) -> bool:
        """Do the rest of the epoch begun; false where the user stopped it."""
        state, method = self.state, self.method
        self.network.train()
        places = state.places_left(method.epoch_steps, self.total_steps)
        # A batch is a function of its place, so the next one can be made while this one is trained on.
        with prefetched_map(lambda place: method.draw(*place), places, most=1) as batches:
            for _ in places:
                if self.processes.any(self.stop_requested()):
                    return False
                values = self._train_step(next(batches))
                progress.advance(note=f"epoch {state.epoch + 1}, loss {values['total']:.4f}")
                self.progressed(TrainingProgress(state.updates, self.total_steps, state.epoch + 1, values))
                if time.monotonic() - self._began - state.seconds > SAVE_SECONDS:
                    self._save()
        return True

    def _train_step(self, batch: Any) -> dict[str, float]:
        """One update; return the losses by name."""
        state, method = self.state, self.method
        config = self.config
        risen = min(1.0, (state.updates + 1) / config.warmup) if config.warmup else 1.0
        rate = learning_rate(config.schedule, config.lr, state.updates / self.total_steps, risen=risen)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.processes.seed_step(self.config.seed, state.updates)
        teacher = None if self.teacher is None else self.teacher.network
        losses = method.loss(self.shared, batch, self.precision, teacher)
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        if not all(map(math.isfinite, values.values())):
            raise self._not_finite(values, method.images_of(batch))
        self.optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        state.step += 1
        state.updates += 1
        for average in (self.average, self.teacher):
            if average is not None:
                average.update(self.network, state.updates)
        for name, value in values.items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        return values

    def _end_epoch(self) -> None:
        """Validate, keep the best states, write the log, save."""
        state = self.state
        state.seconds = time.monotonic() - self._began
        means = {name: total / state.step for name, total in state.sums.items()}
        losses = {f"train_{name}": value for name, value in means.items()}
        self.network.eval()
        metrics = self.processes.of_the_first(self.method.validate(self.kept, self.precision))
        chosen_by = {criterion.metric: metrics[criterion.metric] for criterion in self.method.criteria.values()}
        if not all(map(math.isfinite, chosen_by.values())):
            raise self._no_choice(chosen_by)
        state.epoch += 1
        rate = float(self.optimizer.param_groups[0]["lr"])
        state.rows.append(
            {"epoch": state.epoch, "updates": state.updates, "lr": rate, **losses, **metrics, "seconds": state.seconds}
        )
        improved = []
        for name, criterion in self.method.criteria.items():
            value = metrics[criterion.metric]
            known = state.best.get(name)
            sign = 1 if criterion.higher_is_better else -1
            if known is None or sign * value > sign * known["value"]:
                state.best[name] = {"value": value, "epoch": state.epoch}
                self._save_checkpoint(name)
                improved.append(name)
        self._save_checkpoint("last")
        # Where nothing chooses a state, no epoch is worse than another.
        state.stale = 0 if improved or not self.method.criteria else state.stale + 1
        state.step, state.sums = 0, {}
        self.run.write_metrics(state.rows)
        self._save()
        self.output.say(
            f"epoch {state.epoch} ({state.updates} updates, {clock(state.seconds)}): {self.method.describe(metrics)}"
            + (f"; new {', '.join(improved)}" if improved else "")
        )
        self.progressed(TrainingProgress(state.updates, self.total_steps, state.epoch, means, metrics))

    def _save_checkpoint(self, name: StateName) -> None:
        _, tensors = saved_part(self.kept, self.method.training_heads)
        self.run.save_checkpoint(name, tensors, self.card(name))

    @cached_property
    def _intensities(self) -> SeenIntensities:
        return training_intensities(self.dataset)

    def card(self, name: StateName) -> ModelCard:
        """All that prediction needs to know of the network as it is, saved as that state."""
        dataset, info = self.dataset, self.dataset.info
        architecture, _ = saved_part(self.kept, self.method.training_heads)
        return ModelCard(
            architecture=architecture,
            outputs=self.method.outputs,
            classes=info.classes,
            normalisation=info.normalisation.to_json(),
            image_dtype=str(dataset.image_dtype),
            pixel_size=None if info.pixel_size is None else info.pixel_size.to_json(),
            training_images=self._intensities.to_json(),
            dataset_hash=dataset.content_hash,
            method=self.method.name,
            state=name,
            epoch=self.state.epoch,
        )

    def _save(self) -> None:
        self.state.seconds = time.monotonic() - self._began
        self.run.save_state(self.state, self._parts(), self._data_hash, self.precision.device)
        self.record()

    def record(self) -> None:
        """Write to the manifest how far the training is and what its best epochs were."""
        manifest, state = self.run.manifest, self.state
        manifest.progress = Progress(epochs=state.epoch, updates=state.updates, seconds=round(state.seconds, 1))
        manifest.best = {name: BestEpoch.model_validate(state.best[name]) for name in STATES if name in state.best}
        self.run.save_manifest()

    def _out_of_patience(self) -> bool:
        return self.config.patience is not None and self.state.stale >= self.config.patience and self.state.step == 0

    def _no_choice(self, metrics: dict[str, float]) -> RunError:
        return RunError(
            f"The validation after step {self.state.updates} is not finite ({_listed(metrics)}): it chooses no state",
            where=self.run.path,
            fix="Lower --lr, or look at the masks of the validation images.",
        )

    def _not_finite(self, values: dict[str, float], images: list[str]) -> RunError:
        return RunError(
            f"The loss is not finite at step {self.state.updates + 1} ({_listed(values)}), on {', '.join(images)}",
            where=self.run.path,
            fix="Lower --lr, or look at these images.",
        )

    def _out_of_memory(self) -> RunError:
        return RunError(
            f"Memory ran out at step {self.state.updates + 1}",
            where=self.run.path,
            fix="Give a smaller --crop, --batch-size or --width, and --overwrite: a resumed run keeps its own.",
        )


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
