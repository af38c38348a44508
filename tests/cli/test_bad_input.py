"""What people give by mistake, from the command line: the exit code, the message, and nothing lost or half-written."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from PIL import Image

Cli = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path, disc_dataset: Path, disc_run: Path) -> Path:
    """A folder with `data.h5`, `run/`, `images/` and `masks/` that are all well."""
    shutil.copy(disc_dataset, tmp_path / "data.h5")
    shutil.copytree(disc_run, tmp_path / "run")
    for name in ("images", "masks", "empty"):
        (tmp_path / name).mkdir()
    for index in range(6):
        image, mask = discs(index)
        tifffile.imwrite(tmp_path / "images" / f"c{index}.tif", image[0])
        tifffile.imwrite(tmp_path / "masks" / f"c{index}.tif", mask)
    return tmp_path


def truncate(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def truncated_image(place: Path) -> None:
    truncate(place / "images" / "c3.tif", 0.5)


def truncated_data_set(place: Path) -> None:
    truncate(place / "data.h5", 0.5)


def another_hdf5(place: Path) -> None:
    with h5py.File(place / "data.h5", "w") as file:
        file["weights"] = np.zeros(3)


def newer_schema(place: Path) -> None:
    with h5py.File(place / "data.h5", "a") as file:
        file.attrs["bioseg_schema"] = 99


def a_mask_too_many(place: Path) -> None:
    shutil.copy(place / "masks" / "c0.tif", place / "masks" / "c9.tif")


def mask_of_another_shape(place: Path) -> None:
    tifffile.imwrite(place / "masks" / "c2.tif", np.ones((20, 48), np.uint8))


def volume(place: Path) -> None:
    stack = np.zeros((5, 48, 48), np.uint16)
    tifffile.imwrite(place / "images" / "c1.tif", stack, imagej=True, metadata={"axes": "ZYX"})


def not_a_number(place: Path) -> None:
    for index in range(6):
        image = discs(index)[0][0].astype(np.float32)
        image[3, 4] = np.nan if index == 4 else image[3, 4]
        tifffile.imwrite(place / "images" / f"c{index}.tif", image)


def colour_images(place: Path) -> None:
    for path in (place / "images").iterdir():
        path.unlink()
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(place / "images" / "c0.png")


def unknown_key(place: Path) -> None:
    (place / "settings.yaml").write_text("ratio: 0.5\nunsup_lose: kl\n")


def not_yaml(place: Path) -> None:
    (place / "settings.yaml").write_text("ratio: [0.5\n")


class Bomb:
    """Pickles to something that creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def pickled_checkpoint(place: Path) -> None:
    (place / "run" / "checkpoints" / "best-supervised.safetensors").write_bytes(
        pickle.dumps(Bomb(place / "was-executed"))
    )


def nothing(place: Path) -> None:
    """All is well but the command."""


PREPARE = "prepare folder --images images --masks masks --out new.h5"
TRAIN = "train-uda data.h5 --labels 2 --width 2 --steps 1 --run new"
PREDICT = "predict run images --out new"

CASES = [
    (nothing, "train-uda none.h5 --run new", 3, ["no such data set", "none.h5", "bioseg prepare"]),
    (nothing, "predict run none.tif --out new", 3, ["none.tif"]),
    (nothing, "predict none images --out new", 3, ["none"]),
    (nothing, "evaluate none", 3, ["none"]),
    (nothing, "prepare folder --images none --out new.h5", 3, ["none"]),
    (nothing, "prepare folder --images empty --out new.h5", 3, ["empty"]),
    (nothing, "predict run empty --out new", 3, ["empty"]),
    (truncated_image, PREPARE, 3, ["c3.tif"]),
    (truncated_data_set, TRAIN, 3, ["truncated", "data.h5", "bioseg prepare"]),
    (another_hdf5, TRAIN, 3, ["not a bioseg data set", "data.h5"]),
    (another_hdf5, "evaluate run --data data.h5", 3, ["not a bioseg data set", "data.h5"]),
    (newer_schema, TRAIN, 3, ["schema 99", "Update bioseg"]),
    (a_mask_too_many, PREPARE, 3, ["c9"]),
    (mask_of_another_shape, PREPARE, 3, ["c2.tif", "20"]),
    (volume, PREPARE, 3, ["c1.tif", "--planes"]),
    (not_a_number, PREPARE, 3, ["c4.tif", "NaN"]),
    (colour_images, PREDICT, 3, ["c0.png", "channel"]),
    (nothing, "train-uda data.h5 --labels 99 --run new", 2, ["99", "has 8"]),
    (nothing, "train-uda data.h5 --ratio 0 --run new", 2, ["--ratio", "greater than 0"]),
    (nothing, "train-uda data.h5 --ratio 1.5 --run new", 2, ["--ratio", "less than or equal to 1"]),
    (nothing, "train-uda data.h5 --rato 0.5 --run new", 2, ["--rato"]),
    (unknown_key, f"{TRAIN} --config settings.yaml", 2, ["unsup_lose", "settings.yaml", "unsup_loss"]),
    (not_yaml, f"{TRAIN} --config settings.yaml", 2, ["not valid YAML", "settings.yaml"]),
    (pickled_checkpoint, PREDICT, 3, ["never opened", "best-supervised.safetensors"]),
    (pickled_checkpoint, "evaluate run", 3, ["never opened", "best-supervised.safetensors"]),
    (nothing, "predict run images --out masks", 2, ["exists already", "--overwrite"]),
    (nothing, "prepare folder --images images --masks masks --out data.h5", 2, ["exists already", "--overwrite"]),
    (nothing, "train-uda data.h5 --labels 2 --width 2 --steps 1 --run run", 2, ["exists already", "--overwrite"]),
]


@pytest.mark.parametrize(("spoil", "command", "code", "parts"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_mistake_is_named_and_costs_nothing(
    spoil: Callable[[Path], None],
    command: str,
    code: int,
    parts: list[str],
    place: Path,
    bioseg: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(place)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    monkeypatch.chdir(place)
    result = bioseg(*command.split())
    shown = " ".join(result.output.split())
    assert result.exit_code == code, shown
    for part in parts:
        assert part in shown
    assert "Traceback" not in shown
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert not (place / "was-executed").exists()


def test_the_commands_succeed_where_nothing_is_spoilt(
    place: Path, bioseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    for command in (PREPARE, TRAIN, "predict run images --out new-masks"):
        result = bioseg(*command.split())
        assert result.exit_code == 0, result.output


def test_one_unreadable_image_does_not_stop_the_rest(place: Path, bioseg: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    truncated_image(place)
    monkeypatch.chdir(place)
    result = bioseg(*PREDICT.split())
    assert result.exit_code == 1
    assert "c3.tif" in result.output
    assert sorted(path.name for path in (place / "new").glob("*.tif")) == [f"c{i}.tif" for i in (0, 1, 2, 4, 5)]
