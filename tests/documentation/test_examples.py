"""`bioseg examples` writes what the documentation names under examples/."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Cli = Callable[..., Result]
SHIPPED = Path(__file__).parents[2] / "examples"


def contents(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Of every file its bytes and whether it is a program."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), os.access(path, os.X_OK)) for path in files}


def test_every_example_is_written_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bioseg: Cli) -> None:
    monkeypatch.chdir(tmp_path)
    result = bioseg("examples", "--json")
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "examples") == contents(SHIPPED)
    assert {"examples/your-images.yaml", "examples/demo.sh"} <= set(json.loads(result.stdout)["files"])


def test_a_changed_example_is_not_replaced_unasked(tmp_path: Path, bioseg: Cli) -> None:
    out = tmp_path / "mine"
    assert bioseg("examples", "--out", out).exit_code == 0
    plan = out / "your-images.yaml"
    plan.write_text("data: {}\n")
    assert bioseg("examples", "--out", out).exit_code == 2
    assert plan.read_text() == "data: {}\n"
    assert bioseg("examples", "--out", out, "--overwrite").exit_code == 0
    assert plan.read_bytes() == (SHIPPED / "your-images.yaml").read_bytes()


@pytest.mark.parametrize("command", [("study",), ("train-uda", "d.h5", "--config")], ids=lambda words: words[0])
def test_who_lacks_a_plan_is_told_where_to_get_it(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bioseg: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bioseg(*command, "examples/your-images.yaml")
    assert result.exit_code == 2
    assert "There is no such file" in result.stderr and "`bioseg examples`" in result.stderr
