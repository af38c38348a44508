"""A folder of images from the command line, beside the network's own time: `bioseg predict`, then `bioseg evaluate`.

`python -m benchmarks.many_images FOLDER [--images 2000] [--size 512] [--rounds 1]`

FOLDER keeps the images, uint16 TIFFs of generated nuclei, their masks, a data set of both, and the model of width 16;
all are made where they are missing.

- The commands are measured as a user runs them: start, reading, network, writing, scoring. The start is that of
  `bioseg predict` with one image of 32 x 32 pixels.
- The network alone is its forward passes over images that lie in memory, normalised and in batches, in this process
  and just before the commands: the same weights, precision and batch. It is run over 100 images at most, and
  extrapolated.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import tifffile
import torch
from rich.table import Table

from benchmarks import machine
from benchmarks.data import write_folder
from benchmarks.large_image import WIDTH, trained_model
from benchmarks.timing import Rounds, bioseg, interleaved, printer, run_process, show, table_of
from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.model.saved import load_model
from bioseg_cli.model.unet import folded
from bioseg_cli.prediction.predictor import Predictor

MEASURED = 100
"""Images of the network alone; the rest is extrapolated."""


def images_and_masks(folder: Path, count: int, size: int) -> tuple[Path, Path]:
    """Folders of `count` images and masks, written where they are missing."""
    whole = folder / f"nuclei-{count}-{size}"
    if not whole.is_dir():
        partial = whole.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        write_folder(partial, count, size)
        partial.rename(whole)
    return whole / "images", whole / "masks"


def dataset_of(images: Path, masks: Path) -> Path:
    """A data set of the images with their masks, whole, made where it is missing."""
    path = images.parent / "all.h5"
    if not path.is_file():
        run_process(bioseg("prepare", "folder", "--images", images, "--masks", masks, "--out", path, "--quiet"))
    return path


def network_alone(model: Path, images: Path) -> tuple[Rounds, str]:
    """Seconds an image of forward passes alone, and what they are made with."""
    device = resolve_device("auto")
    precision = resolve_precision("auto", device)
    loaded = load_model(model, device)
    files = sorted(images.iterdir())[:MEASURED]
    pixels = np.stack([tifffile.imread(path)[None] for path in files])
    batch = min(len(files), Predictor(loaded, precision).batch_size(*pixels.shape[-2:]))
    network = folded(loaded.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalised = torch.from_numpy(loaded.card.intensities().apply(pixels)).to(device)
    batches = [part.to(memory_format=torch.channels_last) for part in normalised.split(batch)]

    @torch.inference_mode()
    def forward(number: int) -> None:
        with precision.autocast():
            network(batches[number % len(batches)])

    # The last batch may be a smaller one: every batch is seen, and sizes are added up.
    seconds = interleaved({"forward": forward}, len(batches), device, warm_up=len(batches))["forward"]
    return np.array([seconds.sum() / len(files)]), f"{precision.name}, batch {batch}, {len(files)} images"


def measure(folder: Path, count: int, size: int, rounds: int) -> Table:
    """Seconds of each command, and its ratio to the network's own time for as many images."""
    folder.mkdir(parents=True, exist_ok=True)
    model = trained_model(folder)
    images, masks = images_and_masks(folder, count, size)
    data = dataset_of(images, masks)
    with Dataset(data) as dataset:
        scored = len(dataset.indices("train", labelled=True))
    out, small = folder / "predicted", folder / "small.tif"
    tifffile.imwrite(small, tifffile.imread(next(images.iterdir()))[:32, :32])
    of_run = ("--state", "last", "--data", data, "--split", "train", "--baselines", "none", "--quiet")
    commands = {
        "start-up, predict of one small image": bioseg("predict", model, small, "--out", out, "--overwrite", "--quiet"),
        "bioseg predict": bioseg("predict", model, images, "--out", out, "--overwrite", "--quiet"),
        "bioseg evaluate --predictions": bioseg("evaluate", "--predictions", out, "--truth", masks, "--quiet"),
        f"bioseg evaluate RUN, {scored} images": bioseg("evaluate", folder / "run", *of_run),
    }
    alone: list[Rounds] = []
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        per_image, how = network_alone(model, images)
        alone.append(per_image)
        for name, command in commands.items():
            seconds[name].append(run_process(command)[0])
    network = np.concatenate(alone)
    times = {name: np.array(values) for name, values in seconds.items()}
    *whole, (of_images, run) = times.items()
    title = f"{count} images of {size} x {size}, width {WIDTH} ({rounds} rounds)"
    table = table_of(title, "", "s", "ratio to the network")
    table.add_row("network alone", show(network * count), "1")
    for name, values in whole:
        table.add_row(name, show(values), show(values / (network * count)))
    both = times["bioseg predict"] + times["bioseg evaluate --predictions"]
    table.add_row("predict and evaluate", show(both), show(both / (network * count)))
    table.add_row(of_images, show(run), show(run / (network * scored)))
    table.caption = f"network alone: {how}, extrapolated"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    console.print(measure(options.folder, options.images, options.size, options.rounds))


if __name__ == "__main__":
    main()
