"""How long each way takes to a given quality on real images: seconds of training until a mean IoU is reached.

`python -m benchmarks.time_to_quality FOLDER [--labels 1 10] [--target 0.955] [--limit 1500]`

On BBBC039 (`test_beds`, in FOLDER): `plain`, the paper's recipe as most would write it in PyTorch, after
`peers/plain_uda.py` (KL consistency, width 64, centre crops of 512 x 512 pixels, one labelled and one unlabelled image
a step, Adam with a rate of 0.001, float32); `--preset paper` and `--preset best` of `bioseg train-uda`; and a random
forest on filter responses. Each starts with nothing in memory and uses all processors. The clock stands still while
ten validation images, evenly spaced, are scored whole and unaugmented, by mean IoU with background: after `FIRST`
seconds and then whenever the clock has gone on by a fifth. A time is that of the first score at the target or above;
where no score reaches it until the limit, or the end of the preset's own budget, the best one is shown.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import machine, test_beds
from benchmarks.peers import plain_uda
from benchmarks.timing import printer, table_of
from bioseg_cli.compute.device import Precision, resolve_device, resolve_precision
from bioseg_cli.config import UNetConfig
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import Interrupted
from bioseg_cli.evaluation.forest import forest_prediction
from bioseg_cli.evaluation.ground_truth import DatasetGroundTruth
from bioseg_cli.metrics.confusion import confusion_counts, mean_iou
from bioseg_cli.model.unet import UNet
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.training.distributed import Alone
from bioseg_cli.training.fit import fitted_to_images
from bioseg_cli.training.forest import fit_forest
from bioseg_cli.training.labels import labels_to_learn
from bioseg_cli.training.loop import Trainer
from bioseg_cli.training.record import UnwrittenRun
from bioseg_cli.training.single_run import first_record
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

FIRST, GROWTH = 10.0, 1.2
"""Seconds after which a network is scored first, and how much longer each next time."""
SCORED = 10
"""Validation images that are scored."""
WIDTH, SIDE, RATE = 64, 512, 0.001
"""Of the plain recipe."""


@dataclass
class Race:
    """A training against the clock, which stands still while it is scored.

    Attributes:
        score: mean IoU on the validation images, of the network as it is.
        target: the score at which it ends.
        limit: seconds after which it is given up.
        scores: by seconds.
    """

    score: Callable[[nn.Module], float]
    target: float
    limit: float
    scores: list[tuple[float, float]] = field(default_factory=list)
    _start: float = field(default_factory=time.monotonic)
    _next: float = FIRST

    def is_over(self, network: nn.Module, *, now: bool = False) -> bool:
        """Asked after each update: whether the target was reached, or the limit; scored when it is time, or `now`."""
        seconds = time.monotonic() - self._start
        if seconds < self._next and not now:
            return False
        training = network.training
        score = self.score(network.eval())
        network.train(training)
        self.scores.append((seconds, score))
        self._next = seconds * GROWTH
        self._start = time.monotonic() - seconds
        return score >= self.target or seconds > self.limit


def scored_images(dataset: Dataset) -> IntArray:
    """Indices of the validation images that are scored."""
    validation = dataset.indices("val")
    return validation[np.linspace(0, len(validation) - 1, SCORED).round().astype(int)]


def score_network(dataset: Dataset, precision: Precision, network: nn.Module) -> float:
    """Mean IoU with background."""
    classes = len(dataset.classes)
    counts = np.zeros((classes, classes), np.int64)
    for index in scored_images(dataset).tolist():
        image = torch.from_numpy(dataset.normalised(index))[None]
        with torch.no_grad(), precision.autocast():
            found = network(image.to(memory_format=torch.channels_last))["main"].argmax(dim=1)[0]
        counts += confusion_counts(dataset.labels(index), found.numpy(), classes, dataset.ignore)
    return mean_iou(counts)


def plain(dataset: Dataset, labelled: list[int], race: Race) -> None:
    """The paper's recipe, every image in memory before the first step."""
    rows, columns = ((size - SIDE) // 2 for size in dataset.image_shape[1:])
    centre = np.s_[rows : rows + SIDE, columns : columns + SIDE]
    images = {index: dataset.normalised(index)[0][centre] for index in dataset.indices("train").tolist()}
    masks = {index: dataset.labels(index)[centre] for index in labelled}
    network = UNet(UNetConfig(in_channels=1, heads={"main": len(dataset.classes)}, width=WIDTH)).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    random = np.random.default_rng(0)
    labels = looped(labelled, random)
    for unlabelled in looped([index for index in images if index not in masks], random):
        index = next(labels)
        plain_uda.step(network, optimizer, images[index], masks[index], images[unlabelled], random)
        if race.is_over(network):
            return


def looped(numbers: list[int], random: np.random.Generator) -> Iterator[int]:
    """The numbers in a new random order, again and again."""
    while True:
        yield from random.permutation(numbers).tolist()


def preset(dataset: Dataset, config: TrainUDAConfig, precision: Precision, race: Race) -> None:
    """`bioseg train-uda`, without what it writes."""
    config, _ = fitted_to_images(config, dataset, precision.device)
    # Its own validation would come at the end of an epoch: there is one, as long as the budget.
    whole = config.total_steps(UDA(dataset, config, precision.device).epoch_steps)
    config = config.model_copy(update={"steps": whole, "epoch_steps": whole})
    method = UDA(dataset, config, precision.device)
    run = UnwrittenRun(Path("runs"), first_record(config, dataset))
    output = ConsoleOutput(quiet=True)

    def over() -> bool:
        return trainer.state.updates > 0 and race.is_over(trainer.kept)

    trainer = Trainer(method, dataset, config, precision, run, output, over, Alone())
    try:
        trainer.fit()
    except Interrupted:
        return
    race.is_over(trainer.kept, now=True)


def forest(dataset: Dataset, labelled: list[int]) -> tuple[float, float]:
    """Seconds that a forest takes to grow, and its mean IoU."""
    start = time.monotonic()
    grown = fit_forest(dataset, np.array(labelled), seed=0)
    seconds = time.monotonic() - start
    truth = DatasetGroundTruth(dataset, "val", scored_images(dataset))
    predict = forest_prediction(grown, truth)
    classes = len(dataset.classes)
    counts = np.zeros((classes, classes), np.int64)
    for number in range(len(truth.names)):
        counts += confusion_counts(truth.labels(number), predict(number), classes, truth.ignore)
    return seconds, mean_iou(counts)


def shown(scores: list[tuple[float, float]], target: float) -> tuple[str, str]:
    """When the target was reached, and the score then; or that it was not, and the best score."""
    seconds, score = max(scores, key=lambda each: each[1])
    if score >= target:
        return f"{seconds:.0f}", f"{score:.4f}"
    return f"not in {scores[-1][0]:.0f}", f"{score:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--target", type=float, default=0.955)
    parser.add_argument("--limit", type=float, default=1500, help="seconds after which a training is given up")
    parser.add_argument("--ways", nargs="+", default=["best", "forest", "paper", "plain"], help="which are measured")
    options = parser.parse_args()
    data = options.folder / "bbbc039.h5"
    if not data.is_file():
        options.folder.mkdir(parents=True, exist_ok=True)
        test_beds.write("bbbc039", Path(os.environ["BIOSEG_DATA"]), data)
    precision = resolve_precision("auto", resolve_device("auto"))
    console = printer()
    console.print(machine.describe())
    table = table_of(f"Seconds of training until a mean IoU of {options.target}", "", "labels", "seconds", "mean IoU")
    for labels in options.labels:
        for way in options.ways:
            with Dataset(data) as dataset:
                config = TrainUDAConfig(preset="best" if way == "best" else "paper", labels=labels)
                labelled = labels_to_learn(dataset, config).indices.tolist()
                score = partial(score_network, dataset, precision)
                race = Race(score, options.target, options.limit)
                if way == "forest":
                    race.scores.append(forest(dataset, labelled))
                elif way == "plain":
                    plain(dataset, labelled, race)
                else:
                    preset(dataset, config, precision, race)
            table.add_row(way, str(labels), *shown(race.scores, options.target))
            console.print(f"{way}, {labels} labels: " + ", ".join(f"{s:.0f} s {q:.4f}" for s, q in race.scores))
    console.print(table)


if __name__ == "__main__":
    main()
