"""Data sets and methods by name: what is imported for one of them, and what is said of an entry that is no good."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from bioseg_cli.errors import UsageError
from bioseg_cli.prepare.registry import RECIPES
from bioseg_cli.prepare.settings import PrepareConfig
from bioseg_cli.registry import Registry

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
    assert recipes == {"bioseg_cli.prepare.recipes.folder", "bioseg_cli.prepare.recipes.settings"}
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
    import typer

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
