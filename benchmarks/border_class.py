"""Whether a class for the rims of nuclei tells touching nuclei apart better than the watershed of plain masks.

`python -m benchmarks.border_class FOLDER [--labels 5] [--steps 500] [--draws 0 1 2]`

Fields of BBBC039, whose masks number the nuclei. Two networks learn from the same fields by `--preset best` (width 16,
two crops of 192 pixels a step, one thread):

- `watershed` learns background and nuclei. The objects are those of `bioseg predict --objects`: components that are
  cut by the rule that the labelled nuclei teach.
- `border` learns background, nuclei and the rim of each nucleus, `RIM` pixels wide, after Caicedo et al. 2019
  (doi:10.1002/cyto.a.23863). The objects are the components of what is left inside the rims, grown by the watershed to
  the nearest pixels of rims.
- `border, then watershed` is the second network. The components inside the rims are cut by the rule of the first way
  before they are grown.

No validation field chooses anything: the last state is scored, by AP (TP / (TP + FP + FN)) on the 50 validation fields.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.table import Table
from scipy import ndimage
from skimage.segmentation import watershed

import bioseg_cli
from benchmarks import machine
from benchmarks.few_labels import SIZE, call
from benchmarks.timing import printer, table_of
from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource, Pixels
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.metrics.matching import Count, average_precision, f1, object_counts
from bioseg_cli.objects.instances import EIGHT_NEIGHBOURS, ObjectRule, find_objects
from bioseg_cli.objects.of_run import rules_of_run

RIM = 2
"""Pixels of a nucleus next to what is not of it."""
NUCLEUS, BORDER = 1, 2
SMALLEST = 16
"""Pixels of the smallest object, as of the rule that holds where nothing was learnt."""

Decode = Callable[[Pixels], NDArray[np.int32]]
"""From class codes (H, W) to the numbers of objects (H, W)."""


def with_rims(codes: Pixels, numbers: Pixels) -> Pixels:
    """Class codes (H, W) in which the rims of numbered objects are a class."""
    highest = ndimage.grey_dilation(numbers, footprint=EIGHT_NEIGHBOURS)
    # A neighbour without a number is a lower one.
    lowest = ndimage.grey_erosion(numbers, footprint=EIGHT_NEIGHBOURS)
    edge = (highest != numbers) | (lowest != numbers)
    near = ndimage.binary_dilation(edge, EIGHT_NEIGHBOURS, iterations=RIM - 1) if RIM > 1 else edge
    found = codes.copy()
    found[(codes == NUCLEUS) & near] = BORDER
    return found


def write_with_rims(plain: Dataset, path: Path) -> None:
    """The same images, splits and order, with the rims as a class of their own."""
    border = ClassInfo(name="border", colour=(0, 255, 255))
    info = plain.info
    with DatasetWriter(
        path, count=plain.size, image_shape=plain.image_shape, image_dtype=plain.image(0).dtype.type
    ) as writer:
        for index in range(plain.size):
            codes, numbers, name = plain.labels(index), plain.objects(index), plain.name(index)
            place = ItemSource(name, f"{index:064x}", 0, (0, 0), plain.image_shape[1:])
            split: SplitName = plain.split[index].item()
            writer.add(Item(plain.image(index), with_rims(codes, numbers), split, name, place, numbers))
        writer.finish(DatasetInfo("border", {}, (*info.classes, border), info.normalisation))


def inside_rims(codes: Pixels) -> NDArray[np.int32]:
    """Components inside the rims, grown into the rims."""
    inner, count = ndimage.label(codes == NUCLEUS, EIGHT_NEIGHBOURS)
    areas = np.bincount(inner.ravel(), minlength=count + 1)
    inner[areas[inner] < SMALLEST] = 0
    return grown_into_rims(inner, codes)


def cut_inside_rims(codes: Pixels, rule: ObjectRule) -> NDArray[np.int32]:
    """Components inside the rims, cut by a rule and grown into the rims."""
    smaller = rule.model_copy(update={"smallest": SMALLEST})
    return grown_into_rims(find_objects((codes == NUCLEUS).astype(codes.dtype), [smaller]).numbers, codes)


def grown_into_rims(inner: NDArray[np.int32], codes: Pixels) -> NDArray[np.int32]:
    """The objects with the pixels of rims that are nearest to them."""
    distance = ndimage.distance_transform_edt(inner == 0)
    grown: NDArray[np.int32] = watershed(distance, inner, mask=codes > 0, connectivity=2)  # type: ignore[no-untyped-call]
    return grown


def trained(folder: Path, data: Path, labels: int, steps: int, draw: int) -> Path:
    """The run of a data set and a label draw, trained now where it is missing."""
    run = folder / f"{data.stem}-{labels}labels-draw{draw}"
    if not (run / "checkpoints" / "last.safetensors").is_file():
        settings = folder / f"{run.name}.yaml"
        given = {**SIZE, "preset": "best", "labels": labels, "label_draw": draw, "steps": steps, "epoch_steps": steps}
        settings.write_text(yaml.safe_dump(given))
        call("train-uda", data, "--config", settings, "--run", run, "--quiet", "--overwrite")
    return run


def counts_of(run: Path, truth: Dataset, ways: Mapping[str, Decode]) -> dict[str, NDArray[np.float64]]:
    """What matching all validation fields gives together, by way, of a run's last state."""
    model = bioseg_cli.load_model(run / "checkpoints" / "last.safetensors")
    indices = truth.indices("val").tolist()
    masks = [model.predict(truth.image(index)[0]).labels for index in indices]
    pairs = [(truth.objects(index), codes) for index, codes in zip(indices, masks, strict=True)]
    return {
        way: np.sum([object_counts(numbers, decode(codes)) for numbers, codes in pairs], axis=0)
        for way, decode in ways.items()
    }


def scores(folder: Path, labels: int, steps: int, draw: int) -> dict[str, NDArray[np.float64]]:
    """Counts of all ways at one label draw."""
    plain, rims = folder / "plain.h5", folder / "border.h5"
    with Dataset(plain) as truth:
        run = trained(folder, plain, labels, steps, draw)
        rule = rules_of_run(run)[0].of_classes(2)[0]
        plain_ways = {"watershed": lambda codes: find_objects(codes, [rule]).numbers}
        border_ways = {"border": inside_rims, "border, then watershed": lambda codes: cut_inside_rims(codes, rule)}
        bordered = trained(folder, rims, labels, steps, draw)
        return counts_of(run, truth, plain_ways) | counts_of(bordered, truth, border_ways)


def table_by_way(found: list[dict[str, NDArray[np.float64]]], draws: list[int], title: str) -> Table:
    """A row a way and draw, and the mean of each way."""
    table = table_of(title, "", "draw", "AP at 0.5", "mean AP", "F1 at 0.5", "merges", "splits")
    for way in found[0]:
        rows = []
        for draw, counts in zip(draws, (scored[way] for scored in found), strict=True):
            precisions = average_precision(counts)
            rows.append((float(precisions[0]), float(precisions.mean()), float(f1(counts)[0])))
            errors = (str(int(counts[kind])) for kind in (Count.MERGES, Count.SPLITS))
            table.add_row(way, str(draw), *(f"{value:.4f}" for value in rows[-1]), *errors)
        if len(rows) > 1:
            table.add_row(
                way, "mean", *(f"{statistics.mean(column):.4f}" for column in zip(*rows, strict=True)), "", ""
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    plain, rims = options.folder / "plain.h5", options.folder / "border.h5"
    if not rims.is_file():
        options.folder.mkdir(parents=True, exist_ok=True)
        source = Path(os.environ["BIOSEG_DATA"]) / "BBBC039"
        call("prepare", "fluohoechst", "--source", source, "--crop", 0, "--out", plain, "--overwrite", "--quiet")
        with Dataset(plain) as dataset:
            write_with_rims(dataset, rims)
    console = printer()
    console.print(machine.describe())
    found = [scores(options.folder, options.labels, options.steps, draw) for draw in options.draws]
    title = f"BBBC039, {options.labels} labelled fields, {options.steps} updates"
    console.print(table_by_way(found, options.draws, title))


if __name__ == "__main__":
    main()
