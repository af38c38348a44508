"""Prediction of a large image: `bioseg predict` as a whole, beside MONAI's sliding window.

`python -m benchmarks.large_image FOLDER [--side 20000] [--compression zlib] [--crop 4096] [--rounds 3]`

FOLDER keeps the image, a tiled uint16 TIFF of generated nuclei that is written once, and the model of width 16, a
short training on generated images; both are made where they are missing.

- The command is measured as a user runs it: start, reading, decoding, prediction, blending, writing; its peak memory
  is that of its process.
- MONAI, and bioseg's `Predictor`, are measured on a normalised crop in memory, in turn: no reading and no writing is
  counted for them. MONAI runs the same network in float32, contiguous, in evaluation mode, bioseg what it chooses.
- Windows are of 1024 pixels and a quarter overlaps; both cut an image into as many. MONAI's time for the whole image is
  extrapolated by windows: the larger the image, the more of them cover a pixel. What it would need to read, hold and
  write such an image is not counted.
- Apart from time: how far an image predicted in tiles is from the same image predicted in one piece.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from benchmarks import machine
from benchmarks.data import mosaic, write_large_image
from benchmarks.peers import monai_sliding
from benchmarks.timing import Action, bioseg, interleaved, printer, run_process, show, table_of
from bioseg_cli.compute.device import resolve_device, resolve_precision
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.predictor import Predictor

WIDTH, TRAINING_STEPS = 16, 80
FILE_TILE = 512
"""Side of the tiles in the file, in pixels."""
TILE, OVERLAP = 1024, 256
WINDOW_BATCHES = (1, 4)
PIECE = 2048
"""Side of the image that is also predicted in one piece."""


def trained_model(folder: Path) -> Path:
    """A saved model of width 16, trained for a minute at most."""
    run = folder / "run"
    path = run / "checkpoints" / "last.safetensors"
    if not path.is_file():
        data = folder / "demo.h5"
        run_process(bioseg("prepare", "demo", "--images", 40, "--out", data, "--quiet", "--overwrite"))
        settings = ("--width", WIDTH, "--crop", 128, "--steps", TRAINING_STEPS, "--labels", 10)
        run_process(bioseg("train-uda", data, "--run", run, *settings, "--quiet", "--overwrite"))
    return path


def large_image(folder: Path, side: int, compression: str | None) -> Path:
    """The image, written where it is missing."""
    path = folder / f"nuclei-{side}-{compression or 'plain'}.tif"
    if not path.is_file():
        write_large_image(path, side, FILE_TILE, compression)
    return path


def predict_command(model: Path, image: Path) -> tuple[float, float]:
    """Seconds and peak memory in GB of the whole command."""
    with tempfile.TemporaryDirectory(dir=image.parent) as out:
        settings = ("--out", Path(out) / "masks", "--tile", TILE, "--overlap", OVERLAP, "--quiet")
        return run_process(bioseg("predict", model, image, *settings))


def measure(folder: Path, side: int, crop: int, compression: str | None, rounds: int) -> Table:
    """Throughput of the command and of both in memory, with the command's peak memory."""
    folder.mkdir(parents=True, exist_ok=True)
    model, image = trained_model(folder), large_image(folder, side, compression)
    device = resolve_device("auto")
    precision = resolve_precision("auto", device)
    pixels = mosaic(crop, FILE_TILE)[None]
    predictor = Predictor(load_model(model, device), precision, tile=TILE, overlap=OVERLAP)
    plain = load_model(model, device)
    normalised = torch.from_numpy(plain.card.intensities().apply(pixels))[None].to(device)
    found: dict[str, NDArray[Any]] = {}

    def in_memory(_: int) -> None:
        found["bioseg"] = predictor.labels(predictor.probabilities(pixels))

    def monai(batch: int, _: int) -> None:
        found["monai"] = monai_sliding.predict(plain.network, normalised, TILE, OVERLAP / TILE, batch).cpu().numpy()

    actions: dict[str, Action] = {"bioseg": in_memory}
    if monai_sliding.installed():
        actions |= {f"MONAI, batch {batch}": partial(monai, batch) for batch in WINDOW_BATCHES}
    # Half of the rounds before the command and half after it: what the machine's speed does in between shows.
    before = interleaved(actions, rounds - rounds // 2, device, warm_up=1)
    seconds, peak = predict_command(model, image)
    after = interleaved(actions, max(1, rounds // 2), device, warm_up=0)
    times = {name: np.concatenate([before[name], after[name]]) for name in actions}

    title = f"Prediction, width {WIDTH}, windows of {TILE} overlapping by {OVERLAP} px"
    table = table_of(title, "", "s", "Mpixel/s", "peak GB", f"s for {side} x {side}")
    whole, part = side**2 / 1e6, crop**2 / 1e6
    windows = len(predictor.plan(side, side)) / len(predictor.plan(crop, crop))
    name = f"bioseg predict, the command, {side} x {side}, {precision.name}"
    table.add_row(name, show(seconds), show(whole / seconds), show(peak), show(seconds))
    kinds = {"bioseg": f"bioseg in memory, {crop} x {crop}, {precision.name}"}
    for key, values in times.items():
        kind = kinds.get(key, f"{key}, in memory, {crop} x {crop}, fp32")
        table.add_row(kind, show(values), show(part / values), "", show(values * windows))
    peers = [key for key in times if key not in kinds]
    if peers:
        best = min(peers, key=lambda key: float(np.median(times[key])))
        table.add_row(f"ratio: the command / {best}", "", show(times[best] * windows / seconds))
        table.add_row(f"ratio: in memory / {best}", "", show(times[best] / times["bioseg"]))
        share = float((found["bioseg"] != found["monai"]).mean())
        table.add_row("labels in which bioseg and MONAI differ", "", f"{share:.1e}")
    stored = f"{compression or 'not compressed'}, tiles of {FILE_TILE}, {show(image.stat().st_size / 1e6)} MB"
    table.caption = f"file: uint16, {stored}" + ("" if peers else f"\n{escape(monai_sliding.INSTALL)}")
    return table


def measure_tiling(folder: Path) -> Table:
    """How far tiles are from one piece: largest difference of a probability, and share of labels that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    model, device = trained_model(folder), resolve_device("auto")
    pixels = mosaic(PIECE, FILE_TILE)[None]
    title = f"{PIECE} x {PIECE} pixels in tiles of {TILE}, default overlap, against one piece"
    table = table_of(title, "precision", "largest difference of a probability", "labels that differ")
    for name in dict.fromkeys(("fp32", resolve_precision("auto", device).name)):
        precision = resolve_precision(name, device)  # type: ignore[arg-type]
        whole = Predictor(load_model(model, device), precision, tile=PIECE)
        tiled = Predictor(load_model(model, device), precision, tile=TILE)
        probabilities = [each.probabilities(pixels) for each in (whole, tiled)]
        labels = [whole.labels(each) for each in probabilities]
        largest = float(np.abs(probabilities[0] - probabilities[1]).max())
        share = float((labels[0] != labels[1]).mean())
        table.add_row(name, f"{largest:.1e}", f"{share:.1e}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=20000)
    parser.add_argument("--crop", type=int, default=4096)
    parser.add_argument("--compression", choices=("zlib", "none"), default="zlib")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    compression = None if options.compression == "none" else options.compression
    console = printer()
    console.print(machine.describe())
    console.print(measure(options.folder, options.side, options.crop, compression, options.rounds))
    console.print(measure_tiling(options.folder))


if __name__ == "__main__":
    main()
