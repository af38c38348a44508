"""`bioseg init`: what it finds, what it asks for, and the commands that it writes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from click.testing import Result
from conftest import discs
from PIL import Image

from bioseg_cli.config import build_config
from bioseg_cli.init.commands import commands_of
from bioseg_cli.init.result import FoundData
from bioseg_cli.init.settings import InitConfig

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]


@pytest.fixture
def plate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 8 images, 3 of which have a mask; it is the working directory."""
    folder = tmp_path / "my plate"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(8):
        image, mask = discs(number)
        tifffile.imwrite(folder / "images" / f"t{number}.tif", image[0])
        if number < 3:
            Image.fromarray(255 * mask).save(folder / "masks" / f"t{number}_mask.png")
    monkeypatch.chdir(folder)
    return folder


def begun(bioseg: Bioseg, *options: object) -> dict[str, Any]:
    result = bioseg("init", *options, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def words(document: dict[str, Any]) -> list[list[str]]:
    """The words of each command."""
    return [shlex.split(line) for line in document["commands"]]


def test_it_says_what_is_there_and_writes_settings_commands_and_a_picture(bioseg: Bioseg, plate: Path) -> None:
    document = begun(bioseg, "--images", "images", "--masks", "masks", "--minutes", 5)
    data = document["data"]
    assert (data["files"], data["images"], data["labelled"]) == (8, 8, 3)
    assert data["sizes"] == [{"height": 48, "width": 48, "images": 8}]
    assert (data["channels"], data["dtype"], data["classes"]) == (1, "uint16", ["background", "foreground"])
    assert sorted(data["unlabelled"]) == [f"t{number}" for number in range(3, 8)]
    assert yaml.safe_load(Path("my-plate.yaml").read_text()) == {
        "images": "images", "masks": "masks", "out": "data/my-plate.h5",
    }  # fmt: skip
    assert words(document) == [
        ["bioseg", "prepare", "folder", "--config", "my-plate.yaml"],
        ["bioseg", "train-uda", "data/my-plate.h5", "--preset", "best", "--minutes", "5", "--run", "runs/my-plate"],
        ["bioseg", "predict", "runs/my-plate", "images", "--out", "predicted/my-plate", "--overlay"],
        ["bioseg", "evaluate", "runs/my-plate", "--cross-validate"],
    ]
    script = Path("my-plate.sh").read_text()
    assert all(f"\n{line}\n" in script for line in document["commands"]) and os.access("my-plate.sh", os.X_OK)
    with Image.open("my-plate.png") as picture:
        assert picture.width > 300
    # Nothing else: the data set of the trial is gone.
    assert sorted(path.name for path in plate.iterdir()) == [
        "images", "masks", "my-plate.png", "my-plate.sh", "my-plate.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize("masks", ["masks", "none"])
def test_the_commands_run(bioseg: Bioseg, plate: Path, tmp_path: Path, masks: str) -> None:
    work = tmp_path / "elsewhere"
    options = ("--images", "images", "--masks", masks, "--minutes", 0.02, "--folder", work, "--name", "cells")
    begun(bioseg, *options)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "elsewhere/cells.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (work / "data" / "cells.h5").is_file()
    if masks == "none":
        assert len(list((work / "cells-to-label" / "images").iterdir())) == 5
    else:
        assert len(list((work / "predicted" / "cells").glob("t*.tif"))) == 8
        assert "cross-validated training" in done.stdout


def test_settings_of_the_data_set_are_passed_on(bioseg: Bioseg, plate: Path) -> None:
    options = ("--masks-are", "binary", "--classes", "background,nucleus", "--val-share", 0.5, "--seed", 3)
    document = begun(bioseg, "--images", plate / "images", "--masks", "masks", "--minutes", 1, *options)
    assert document["data"]["classes"] == ["background", "nucleus"]
    settings = yaml.safe_load(Path("my-plate.yaml").read_text())
    assert settings["images"] == str(plate / "images")  # as it was given
    assert (settings["masks_are"], settings["classes"]) == ("binary", ["background", "nucleus"])
    assert (settings["val_share"], settings["seed"]) == (0.5, 3)
    prepared = bioseg("prepare", "folder", "--config", "my-plate.yaml", "--json")
    assert prepared.exit_code == 0, prepared.output
    assert json.loads(prepared.stdout)["images"]["val"]["labelled"] > 0


def test_what_is_proposed_is_taken_with_yes(bioseg: Bioseg, plate: Path) -> None:
    (plate / "predictions").mkdir()  # masks of a network are no truth
    document = begun(bioseg, "--yes")
    assert yaml.safe_load(Path("my-plate.yaml").read_text())["masks"] == "masks"
    assert words(document)[1][5:7] == ["--minutes", "5"]
    for path in (plate / "masks").iterdir():
        path.unlink()
    (plate / "masks").rmdir()
    document = begun(bioseg, "--yes", "--overwrite")
    assert words(document)[-1][:2] == ["bioseg", "suggest"] and "masks" not in Path("my-plate.yaml").read_text()
    result = bioseg("init", "--yes", "--images", "nowhere", "--name", "other")
    assert result.exit_code == 3 and "There is no such folder" in result.stderr


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ((), "--images, --masks and --minutes are not given"),
        (("--images", "images"), "--masks and --minutes are not given"),
        (("--images", "images", "--masks", "none"), "--minutes is not given"),
    ],
)
def test_without_a_terminal_the_missing_answers_are_named(
    bioseg: Bioseg, plate: Path, given: tuple[str, ...], missing: str
) -> None:
    result = bioseg("init", *given)
    assert result.exit_code == 2 and missing in result.stderr and "--yes" in result.stderr
    assert not list(plate.glob("my-plate*"))


@pytest.mark.parametrize("name", ["my-plate.yaml", "my-plate.sh", "my-plate.png"])
def test_nothing_is_replaced_unasked(bioseg: Bioseg, plate: Path, name: str) -> None:
    Path(name).write_text("mine")
    result = bioseg("init", "--yes")
    assert result.exit_code == 2 and name in result.stderr
    assert Path(name).read_text() == "mine" and len(list(plate.glob("my-plate*"))) == 1
    begun(bioseg, "--yes", "--overwrite")
    assert Path(name).read_bytes() != b"mine"


def test_the_settings_keep_a_name_of_their_own(bioseg: Bioseg, plate: Path) -> None:
    """`bioseg prepare` writes the record of cells.h5 into cells.yaml beside it."""
    result = bioseg("init", "--yes", "--name", "cells", "--out", plate / "cells.h5")
    assert result.exit_code == 2 and "cells.yaml" in result.stderr and "--name" in result.stderr
    assert not list(plate.glob("cells*"))


def test_files_that_cannot_be_used_are_listed_and_may_be_left_out(bioseg: Bioseg, plate: Path) -> None:
    (plate / "images" / "t7.tif").write_bytes(b"")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(plate / "masks" / "t2_mask.png")
    result = bioseg("init", "--yes")
    assert result.exit_code == 3 and "2 of 11 files cannot be used" in result.stderr
    assert "t7.tif" in result.stdout and "t2_mask.png" in result.stdout
    assert not list(plate.glob("my-plate*")) and not list(plate.glob(".init*"))
    document = begun(bioseg, "--yes", "--skip-bad")
    assert yaml.safe_load(Path("my-plate.yaml").read_text())["skip_bad"] is True
    # The folder holds an image that predict would stop at: the images of the data set are predicted instead.
    assert words(document)[2][3:6] == ["data/my-plate.h5", "--split", "all"]


def test_masks_beside_their_images_are_not_predicted(bioseg: Bioseg, plate: Path) -> None:
    for mask in (plate / "masks").iterdir():
        mask.rename(plate / "images" / mask.name)
    document = begun(bioseg, "--images", "images", "--masks", "images", "--minutes", 2)
    assert document["data"]["labelled"] == 3
    assert words(document)[2][3:6] == ["data/my-plate.h5", "--split", "all"]


def test_what_is_said_of_the_images_holds_for_the_prediction_too() -> None:
    found = FoundData(
        files=2, images=6, sizes={(48, 48): 6}, channels=1, dtype="uint8", labelled=3, training=3, unlabelled=(),
        classes=("background", "cell"), masks="", notes=(), predictable=True, picture=b"",
    )  # fmt: skip
    given = {"images": "plates", "masks": "drawn", "axes": "TYX", "planes": True, "level": 1, "recursive": True}
    _, _, predict, _ = commands_of(build_config(InitConfig, given), found)
    assert predict.words[2:-3] == ("plates", "--recursive", "--axes", "TYX", "--level", "1", "--planes")


def test_with_many_labels_the_validation_images_are_scored(bioseg: Bioseg, plate: Path) -> None:
    for number in range(3, 20):
        image, mask = discs(number)
        tifffile.imwrite(plate / "images" / f"t{number}.tif", image[0])
        Image.fromarray(255 * mask).save(plate / "masks" / f"t{number}_mask.png")
    assert words(begun(bioseg, "--yes"))[-1] == ["bioseg", "evaluate", "runs/my-plate"]
