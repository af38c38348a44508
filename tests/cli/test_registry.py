"""Data sets and methods by name: what is imported for one of them, and what is said of an entry that is no good."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from PIL import Image
from typer.testing import CliRunner

from bioseg_cli.cli.app import AFTER_TRAINING, BEFORE_TRAINING
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.prepare.registry import RECIPES
from bioseg_cli.prepare.settings import PrepareConfig
from bioseg_cli.registry import Registry

pytestmark = pytest.mark.slow

PREPARE_FOLDER = """
import sys
from typer.testing import CliRunner
from bioseg_cli.cli.app import app
result = CliRunner().invoke(app, ["prepare", "folder", "--images", "images", "--masks", "masks", "--out", "set.h5"])
assert result.exit_code == 0, result.output
print("\\n".join(sys.modules))
"""


def test_preparing_a_folder_imports_no_other_recipe_and_no_library_of_volumes(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(10):
        mask = np.zeros((32, 32), np.uint8)
        mask[4 : 8 + number, 4:20] = 255
        tifffile.imwrite(tmp_path / "images" / f"{number}.tif", mask // 2 + np.uint8(number))
        tifffile.imwrite(tmp_path / "masks" / f"{number}.tif", mask)
    done = subprocess.run(
        [sys.executable, "-c", PREPARE_FOLDER], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    modules = done.stdout.split()
    recipes = {name for name in modules if name.startswith(("bioseg_cli.prepare.recipes.", "bioseg_cli.prepare.sl"))}
    parts = ("folder", "folder_annotations", "folder_channels", "folder_files", "folder_masks", "settings")
    assert recipes == {f"bioseg_cli.prepare.recipes.{part}" for part in parts}
    assert not {"numba", "nibabel", "torch", "matplotlib", "bioseg_cli.io.volumes"} & set(modules)


def test_a_name_that_nothing_has_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no `bioseg prepare nuclei`") as error:
        RECIPES.load("nuclei")
    assert "demo, folder, fluohoechst" in str(error.value)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nowhere.to.be:Found", "cannot be loaded"),
        ("bioseg_cli.prepare.recipes.settings:Nothing", "cannot be loaded"),
        ("bioseg_cli.config:ClassInfo", "a subclass of PrepareConfig"),
        ("bioseg_cli.config:VIEWS", "a subclass of PrepareConfig"),
        ("bioseg_cli.prepare.recipes.settings:DemoConfig", "with the command 'prepare broken'"),
    ],
)
def test_an_entry_that_is_no_settings_class_is_refused(reference: str, said: str) -> None:
    registry = Registry(PrepareConfig, "prepare ", "bioseg.recipes", {"broken": reference})
    with pytest.raises(UsageError, match=said) as error:
        registry.load("broken")
    assert error.value.where == reference


def test_a_broken_entry_stops_its_own_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES.own, "demo", "nowhere.to.be:Found")

    from bioseg_cli.cli.commands.prepare import prepare
    from bioseg_cli.cli.registered import RegisteredCommands, bind_registry

    group = typer.Typer(cls=RegisteredCommands)
    bind_registry(group, RECIPES, prepare)
    listed = CliRunner(env={"COLUMNS": "200"}).invoke(group, ["--help"])
    assert listed.exit_code == 0
    assert "`bioseg prepare demo` cannot be loaded" in listed.stdout and "your own images" in listed.stdout
    refused = CliRunner().invoke(group, ["demo"])
    assert refused.exit_code == 2
    assert "in nowhere.to.be:Found" in refused.stderr


@pytest.mark.parametrize(("name", "about"), [*BEFORE_TRAINING.items(), *AFTER_TRAINING.items()])
def test_the_list_of_commands_says_what_the_function_of_each_does(name: str, about: str) -> None:
    assert getattr(importlib.import_module(f"bioseg_cli.cli.commands.{name}"), name).__doc__ == about


def test_the_list_of_commands_imports_the_settings_of_none_but_the_methods() -> None:
    code = "import sys\nfrom bioseg_cli.cli.app import app\ntry: app(['--help'])\nfinally:\n"
    code += "    print(*(name for name in sys.modules if name.endswith('settings')), file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {name for name in ended.stderr.split() if name.startswith("bioseg_cli.")}
    training = {f"bioseg_cli.training.{name}settings" for name in ("", "uda_", "iic_")}
    assert found == {"bioseg_cli.prepare.settings", *training}
    assert all(f" {name} " in ended.stdout for name in [*BEFORE_TRAINING, *AFTER_TRAINING, "prepare", "train-uda"])


PLUGIN = Path(__file__).parent / "plugin"
PLAN = """
data: {stripes: stripes.h5}
labels: [4]
losses: [stripes-mse]
draws: 1
steps: 30
uda: {width: 2}
methods: {plain: {width: 4, lr: 0.01}}
states: [best-miou]
baselines: [otsu]
"""


@pytest.fixture
def installed(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run bioseg beside an installed package that adds a recipe, a method, a loss and a reader of annotations."""
    paths = [str(PLUGIN), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def run(*words: object, exits: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "bioseg_cli", *map(str, words)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == exits, done.stderr
        return done

    return run


def test_a_recipe_and_a_method_of_another_package_go_through_all_commands(installed, tmp_path: Path) -> None:
    assert "Draw bright stripes on a dark ground." in installed("prepare", "--help").stdout
    assert "Train on labelled images alone by cross entropy." in installed("--help").stdout
    installed("prepare", "stripes", "--count", 20, "--out", "stripes.h5")
    trained = installed(
        "train-plain", "stripes.h5", "--width", 4, "--steps", 30, "--lr", 0.01, "--run", "run", "--json"
    )
    assert set(json.loads(trained.stdout)["best"]) == {"best-miou"}

    Image.fromarray(stripe_image()).save(tmp_path / "new.png")
    installed("predict", "run", "new.png", "--out", "masks")
    assert len(list((tmp_path / "masks").glob("new*"))) >= 1

    (row,) = json.loads(installed("evaluate", "run", "--json", "--baselines", "none").stdout)["runs"]
    assert (row["state"], row["labels"]["count"]) == ("best-miou", 4)
    assert row["mean_iou"] > 0.8

    (tmp_path / "plan.yaml").write_text(PLAN)
    cells = json.loads(installed("study", "plan.yaml", "--json").stdout)["cells"]
    found = {(cell["loss"], cell["labels"]): cell["mean_iou"] for cell in cells}
    assert set(found) == {("none", 4), ("none", 12), ("stripes-mse", 4), ("plain", 4)}
    assert found["plain", 4] > 0.8
    installed("report", "studies/plan")


def test_annotations_of_another_package_become_a_data_set(installed, tmp_path: Path) -> None:
    for name in ("images", "drawn"):
        (tmp_path / name).mkdir()
    for number in range(5):
        Image.fromarray(stripe_image() + np.uint8(number)).save(tmp_path / "images" / f"t{number}.png")
    for number in range(3):
        (tmp_path / "drawn" / f"t{number}.bars").write_text("stripe 8 18\nedge 0 2\n")
    prepared = installed("prepare", "folder", "--images", "images", "--masks", "drawn", "--out", "set.h5", "--json")
    document = json.loads(prepared.stdout)
    assert document["classes"] == ["background", "edge", "stripe"]
    assert document["masks"].startswith("shapes of bars: 3 'edge', 3 'stripe'")
    with Dataset(tmp_path / "set.h5") as dataset:
        expected = np.zeros((32, 32), np.uint8)
        expected[8:18], expected[:2] = 2, 1
        np.testing.assert_array_equal(dataset.labels(dataset.indices("train", labelled=True)[0]), expected)
    # A file that the reader cannot read is in the table with the others.
    (tmp_path / "drawn" / "t3.bars").write_text("stripe 8\n")
    (tmp_path / "drawn" / "t9.bars").write_text("stripe 8 18\n")
    given = ("prepare", "folder", "--images", "images", "--masks", "drawn", "--out", "other.h5", "--json")
    refused = installed(*given, exits=3)
    said = {file["file"]: file["reason"] for file in json.loads(refused.stdout)["rejected"]}
    assert said.keys() == {"t3.bars", "t9.bars"} and said["t3.bars"].startswith("Line 1 not enough values")
    (tmp_path / "images" / "t0.bars").write_text("stripe 8 18\n")
    beside = installed("prepare", "folder", "--images", "images", "--out", "plain.h5")
    assert "t0.bars beside the images may hold annotations" in beside.stdout
    assert ".bars and .broken and .lost and .wrong (of installed packages)" in beside.stdout


@pytest.mark.parametrize(
    ("suffix", "said"),
    [
        ("broken", "The reader of .broken files is no function"),
        ("lost", "The reader of .lost files cannot be loaded"),
        ("wrong", "The reader of .wrong files returns something else than one annotation per image"),
    ],
)
def test_a_broken_reader_is_named_with_its_package(installed, tmp_path: Path, suffix: str, said: str) -> None:
    for name in ("images", "drawn"):
        (tmp_path / name).mkdir()
    Image.fromarray(stripe_image()).save(tmp_path / "images" / "t.png")
    (tmp_path / "drawn" / f"t.{suffix}").write_text("stripe 8 18\n")
    given = ("prepare", "folder", "--images", "images", "--masks", "drawn", "--out", "set.h5")
    refused = installed(*given, exits=2)
    assert said in refused.stderr and "in stripes:" in refused.stderr


def stripe_image() -> np.ndarray:
    image = np.full((32, 32), 30, np.uint8)
    image[8:18] = 180
    return image
