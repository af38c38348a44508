"""Whole files of bioseg's own that fuzzed ones are made of: data sets, models, states, records, settings and lists."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import torch
import yaml
from helpers.corpus import noise, saved
from helpers.datasets import without_digests
from helpers.fuzzing.seeds import Seed, file_seed, stored, written
from helpers.models import save_clusters, save_random_model
from helpers.networks import small_network
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model.saved import CARD_KEY
from bioseg_cli.training.state import CHECKSUM, TrainingState, save_state

DATA_HASH = "0" * 64
EXAMPLES = Path(__file__).parents[3] / "examples"
SIDE = 32


def write_dataset(path: Path) -> None:
    """Six images of 32 x 32 pixels, of which one has no labels."""
    splits: tuple[SplitName, ...] = ("train", "train", "train", "train", "val", "test")
    classes = (ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="cell", colour=(255, 180, 0)))
    shape = (1, SIDE, SIDE)
    with DatasetWriter(path, count=len(splits), image_shape=shape, image_dtype=np.uint16) as writer:
        for number, split in enumerate(splits):
            pixels = noise(*shape, high=65535, dtype=np.uint16, seed=number)
            labels = None if number == 3 else noise(SIDE, SIDE, high=1, seed=number)
            source = ItemSource(f"a{number}.tif", f"{number:064x}", 0, (0, 0), (SIDE, SIDE))
            writer.add(Item(pixels, labels, split, f"g{number}", source))
        scale = Normalisation(method="minmax", low=(500.0,), high=(3200.0,))
        size = PixelSize(0.5, 0.5)
        writer.finish(DatasetInfo(recipe="a", settings={}, classes=classes, normalisation=scale, pixel_size=size))


def datasets() -> Iterator[Seed]:
    """With digests, and as an earlier version wrote them."""
    whole = written("a.h5", write_dataset)
    yield whole
    stream = BytesIO(whole.files[""])
    with h5py.File(stream, "r+") as file:
        without_digests(file)
    yield file_seed("earlier.h5", stream.getvalue())


def models() -> Iterator[Seed]:
    """Of classes and of clusters, with their checksum and as an earlier version wrote them."""
    for write in (save_random_model, save_clusters):
        name = f"{write.__name__}.safetensors"
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder) / name)
            yield stored(path)
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
                card = file.metadata()[CARD_KEY]
        yield file_seed(f"earlier-{name}", save(tensors, metadata={CARD_KEY: card}))


@cache
def training_parts() -> dict[str, Any]:
    """A network and its optimiser, whose state is saved, and restored again and again: to make them takes longer."""
    network = small_network()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.zeros(2, 1, 16, 16))["main"].sum().backward()
    optimiser.step()
    return {"network": network, "optimiser": optimiser}


def states() -> Iterator[Seed]:
    """With a checksum, and as an earlier version wrote them."""
    state = TrainingState(epoch=1, step=2, sums={"loss": 0.5}, best={"miou": {"value": 0.5, "epoch": 1.0}})
    state.rows = [{"epoch": 1, "loss": 0.5}]
    seed = written("resume.pt", lambda path: save_state(path, state, training_parts(), DATA_HASH, torch.device("cpu")))
    yield seed
    content = torch.load(BytesIO(seed.files[""]), weights_only=True)
    del content[CHECKSUM]
    stream = BytesIO()
    torch.save(content, stream)
    yield file_seed("earlier.pt", stream.getvalue())


MANIFEST = {
    "command": "train-uda", "status": "finished", "config": {"lr": 0.001, "note": "µ", "norm_images": "all"},
    "data": {"path": "discs.h5", "content_hash": "abc"}, "validation": 2, "unlabelled": 3,
    "labels": {"count": 1, "of": 2, "images": ["a"]},
    "times": {"started": "2026-01-01T00:00:00+00:00"}, "best": {"best-miou": {"value": 0.5, "epoch": 3}},
}  # fmt: skip
PREDICTIONS = {
    "command": "predict", "status": "finished", "config": {"run": "runs/a"}, "started": "2026-01-01T00:00:00+00:00",
    "classes": [{"label": 0, "name": "background", "colour": [0, 0, 0]},
                {"label": 1, "name": "cell", "colour": [255, 180, 0]}],
    "files": [{"input": "a.tif", "name": "a", "outputs": ["a.tif"], "shape": [9, 9]}],
    "failures": [{"input": "b.tif", "error": "truncated"}],
}  # fmt: skip


def runs() -> Iterator[Seed]:
    """Folders of runs: manifest, metrics and the record of the images."""
    image = {
        "name": "a", "use": "labelled", "through": None, "file": "a.tif", "sha256": "0" * 64, "frame": 0,
        "rows": [0, 9], "columns": [0, 9], "in_volume": False, "pixels": "1" * 64,
    }  # fmt: skip
    metrics = "epoch,loss,val_miou\n1,0.5,0.25\n2,0.25,0.5\n"
    manifest = yaml.safe_dump(MANIFEST)
    for name in ("manifest.yaml", "images.json", "metrics.csv"):
        files = {"manifest.yaml": manifest, "images.json": json.dumps([image]), "metrics.csv": metrics}
        content = {file: text.encode() for file, text in files.items()}
        yield Seed(name.partition(".")[0], content, frozenset(content) - {name})


def records() -> Iterator[Seed]:
    """Of predictions, and scores of a study."""
    yield file_seed("predictions.yaml", yaml.safe_dump(PREDICTIONS).encode())
    score = {"mean_iou": 0.5, "pixel_accuracy": 0.75, "iou": {"cell": 0.5}, "confusion": [[1, 2], [3, 4]], "images": 1}
    row = {"name": "a", "state": "last", "head": None, "mapping": None, "score": score, "images": {"a": 0.5}}
    scores = {"request": {"split": "test"}, "hash": DATA_HASH, "rows": [row]}
    yield file_seed("scores.json", json.dumps(scores).encode())


def plans() -> Iterator[Seed]:
    """Of studies with labels, without, and of both."""
    dataset = written("a.h5", write_dataset).files[""]
    with_labels = {"labels": [2], "losses": ["kl"], "draws": 1, "steps": 3, "uda": {"width": 4}, "baselines": ["otsu"]}
    without = {"iic": {"epochs": 2, "crop": 32}, "seeds": 2, "labels": [], "losses": []}
    both = {**with_labels, "iic": without["iic"], "losses": ["kl", "iid"], "labels": [1, 2], "seeds": 2}
    for name, plan in (("labels", with_labels), ("clusters", without), ("both", both)):
        text = yaml.safe_dump({"data": {"a": "a.h5"}, **plan}, sort_keys=False).encode()
        yield Seed(name, {"plan.yaml": text, "a.h5": dataset}, frozenset({"a.h5"}))


def settings() -> Iterator[Seed]:
    """The published settings of trainings and preparations."""
    for path in sorted((EXAMPLES / "paper").glob("*.yaml")):
        if not path.name.startswith("study"):
            yield file_seed(path.name, path.read_bytes())
    folder = {"images": "images", "masks": "masks", "classes": ["background", "cell"], "crop": 32, "out": "a.h5"}
    yield file_seed("prepare-folder.yaml", yaml.safe_dump(folder).encode())
    predict = {"run": "runs/a", "inputs": ["a.tif"], "out": "masks", "tile": 64, "overlay": True}
    yield file_seed("predict.yaml", yaml.safe_dump(predict).encode())


def lists() -> Iterator[Seed]:
    """Of files, of names of images, and of the splits of a published data set."""
    listed = {"a.tif": tiff_bytes(0), "folder/b.tif": tiff_bytes(1)}
    yield Seed("listed", {**listed, "files.txt": b"a.tif\nfolder/b.tif\n\n"}, frozenset(listed))
    yield file_seed("names.txt", b"a\nb\nc\n")
    yield file_seed("names.json", json.dumps({"suggested": [{"image": "a"}, {"image": "b"}]}).encode())
    images = {f"images/a_B02_s{number}_w1.tif": tiff_bytes(number) for number in range(3)}
    masks = {f"masks/a_B02_s{number}_w1.png": saved(Image.fromarray(noise(9, 9, high=2)), "PNG") for number in range(3)}
    texts = {f"metadata/{name}.txt": f"a_B02_s{number}_w1.png\n".encode()
             for number, name in enumerate(("training", "validation", "test"))}  # fmt: skip
    yield Seed("published", {**images, **masks, **texts}, frozenset({*images, *masks}))


def tiff_bytes(number: int) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, noise(9, 9, high=900, dtype=np.uint16, seed=number))
    return stream.getvalue()


def tables() -> Iterator[Seed]:
    """Tables of objects as a prediction writes them for each image."""
    yield file_seed("objects.csv", b"image,object,class,area\na,1,cell,20\na,2,cell,31\n")
    yield file_seed("quoted.csv", b'image,object,class,area\n"a,\nb",1,"=cell",20\n')
