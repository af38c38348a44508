"""What `bioseg doctor` finds, and what it says is in the way."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bioseg_cli.doctor import session
from bioseg_cli.doctor.result import Computing
from bioseg_cli.doctor.session import remarks
from bioseg_cli.io.files import temporary_path

Cli = Callable[..., Result]

GB = 10**9


@pytest.fixture
def place(disc_dataset: Path, disc_run: Path, tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    shutil.copy(disc_dataset, tmp_path / "data" / "discs.h5")
    (tmp_path / "data" / "broken.h5").write_bytes(b"no HDF5")
    temporary_path(tmp_path / "data" / "cells.h5").write_bytes(b"of a process that is writing it")
    for name in ("run10", "run9"):
        shutil.copytree(disc_run, tmp_path / "runs" / name)
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "manifest.yaml").write_text("status: [")
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path


def test_data_sets_and_runs_are_listed_with_what_is_wrong_with_them(bioseg: Cli, place: Path) -> None:
    result = bioseg("doctor", place, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    broken, discs = document["datasets"]
    assert (discs["images"], discs["labelled"], discs["classes"]) == (13, 13, ["background", "cell"])
    assert discs["fault"] is None and broken["fault"]
    assert [Path(run["path"]).name for run in document["runs"]] == ["run9", "run10", "torn"]
    first, _, torn = document["runs"]
    assert (first["command"], first["status"], first["updates"], first["fault"]) == ("train-uda", "finished", 60, None)
    assert torn["fault"]
    assert document["versions"]["torch"] == importlib.metadata.version("torch")
    assert document["disk"] > 0 and document["computing"]["cores"] >= 1


def test_a_person_reads_the_same(bioseg: Cli, place: Path) -> None:
    result = bioseg("doctor", place)
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert "precision" in words and "finished" in words and "background, cell" in words
    assert sorted(path.name for path in place.iterdir()) == ["data", "runs"]


def test_an_empty_folder_says_how_to_begin(bioseg: Cli, tmp_path: Path) -> None:
    result = bioseg("doctor", tmp_path)
    assert result.exit_code == 0 and "begin with `bioseg init`" in result.output
    missing = bioseg("doctor", tmp_path / "nowhere")
    assert missing.exit_code == 2 and "There is no such folder" in missing.output


def test_an_extra_that_is_not_installed_has_its_install_line(
    bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "EXTRAS", {"volumes": ("brain volumes", ("numpy", "no-such-package"))})
    result = bioseg("doctor", tmp_path)
    assert "not installed: pip install 'bioseg[volumes]' (brain volumes)" in result.output


@pytest.mark.parametrize(
    ("changed", "disk", "said"),
    [
        ({}, 50 * GB, []),
        ({"busy": 3.9}, 50 * GB, []),
        ({"busy": 4.0}, 50 * GB, ["Other programs keep the processors busy (4.0 processes for 4 processors)"]),
        ({"precision": "fp32"}, 50 * GB, ["The processor has no bfloat16 units"]),
        ({"precision": "fp32", "device": "mps"}, 50 * GB, []),
        ({"memory": GB}, 50 * GB, ["1.0 GB of memory is free"]),
        ({"memory": None, "busy": None}, GB, ["1.0 GB of disk is free"]),
    ],
)
def test_what_is_in_the_way_is_said(changed: dict[str, object], disk: int, said: list[str]) -> None:
    usual = {"device": "cpu", "gpus": (), "precision": "bf16", "reason": "", "cores": 4, "busy": 0.5, "memory": 16 * GB}
    found = list(remarks(Computing(**{**usual, **changed}), disk))
    assert len(found) == len(said)
    assert all(remark.startswith(beginning) for remark, beginning in zip(found, said, strict=True))


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for name, (_, packages) in session.EXTRAS.items():
        declared = {re.split(r"[<>=\[]", requirement)[0] for requirement in project["optional-dependencies"][name]}
        assert set(packages) <= declared | {"dask"}, name  # distributed brings dask
