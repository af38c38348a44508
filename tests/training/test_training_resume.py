"""An interrupted run goes on as if it had never stopped, whatever stopped it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from helpers.runs import manifest, rows, same, weights

from bioseg_cli.compute import signals
from bioseg_cli.errors import DataError
from bioseg_cli.model.checksum import checksum_of
from bioseg_cli.training.state import read_state

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
# Dropout makes torch's own random state part of what has to be restored, an average of the weights a second network.
SETTINGS = ("--labels", 2, "--width", 2, "--dropout", 0.2, "--epochs", 3, "--lr", 0.01, "--ema", 0.9)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, bioseg: Cli, disc_dataset: Path) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert bioseg("train-uda", disc_dataset, "--run", run, *SETTINGS).exit_code == 0
    return run


def assert_equal_runs(resumed: Path, whole: Path) -> None:
    for state in ("best-supervised", "best-final", "best-miou", "last"):
        assert same(weights(resumed, state), weights(whole, state)), state
    assert rows(resumed) == rows(whole)
    assert manifest(resumed)["status"] == "finished"
    assert manifest(resumed)["best"] == manifest(whole)["best"]
    # What is saved as a model is the average, and not the network that is trained.
    parts = torch.load(resumed / "resume.pt", weights_only=True)["parts"]
    assert same(weights(resumed, "last"), parts["average"])
    assert not same(weights(resumed, "last"), parts["network"])


@pytest.mark.parametrize("stop_after", [0, 1, 5, 6, 8, 17])
def test_a_stopped_run_resumes_to_the_same_weights_bit_for_bit(
    stop_after: int,
    bioseg: Cli,
    disc_dataset: Path,
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    asked = iter(range(1000))

    class StopAfter:
        def __enter__(self) -> Callable[[], bool]:
            return lambda: next(asked) == stop_after

        def __exit__(self, *_: object) -> None:
            return None

    with monkeypatch.context() as patch:
        patch.setattr(signals, "stop_signals", StopAfter)
        stopped = bioseg("train-uda", disc_dataset, "--run", run, *SETTINGS)
    assert stopped.exit_code == 130
    assert f"Stopped after {stop_after} of 18 steps" in stopped.output
    assert manifest(run)["status"] == "interrupted"
    resumed = bioseg("train-uda", "--resume", run)
    assert resumed.exit_code == 0, resumed.output
    assert_equal_runs(run, uninterrupted)
    before = manifest(run)["times"]
    assert bioseg("train-uda", "--resume", run).exit_code == 0
    after = manifest(run)["times"]
    assert set(after) == {"started", "resumed", "ended"}
    assert after["started"] == before["started"]
    assert len(after["resumed"]) == 2
    assert after["resumed"][0] == before["resumed"][0]


@pytest.fixture
def training(disc_dataset: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A training in a process of its own, and its run directory."""
    run = tmp_path / "run"
    arguments = [str(argument) for argument in ("train-uda", disc_dataset, "--run", run, *SETTINGS)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bioseg_cli", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    yield process, run
    process.kill()
    process.wait()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_killed_run_resumes_to_the_same_weights(
    training: tuple[subprocess.Popen[str], Path], bioseg: Cli, uninterrupted: Path
) -> None:
    process, run = training
    wait_until((run / "resume.pt").is_file, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # What a kill in the middle of a write leaves behind.
    (run / "checkpoints" / ".last.1.partial.safetensors").write_bytes(b"half")
    resumed = bioseg("train-uda", "--resume", run)
    assert resumed.exit_code == 0, resumed.output
    assert not list(run.rglob(".*"))
    assert_equal_runs(run, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_130(
    number: signal.Signals, training: tuple[subprocess.Popen[str], Path], bioseg: Cli, uninterrupted: Path
) -> None:
    process, run = training
    wait_until((run / "manifest.yaml").is_file, process)
    process.send_signal(number)
    _, errors = process.communicate()
    # The manifest is written before the first step: a run that ends with 0 has not heard the signal.
    assert process.returncode == 130, errors
    assert "the state is saved" in errors
    assert "Traceback" not in errors
    assert manifest(run)["status"] == "interrupted"
    assert bioseg("train-uda", "--resume", run).exit_code == 0
    assert_equal_runs(run, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with signals.stop_signals() as stop_requested:
        assert not stop_requested()
        signal.raise_signal(number)
        assert stop_requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_finished_run_goes_on_with_a_larger_budget(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    constant = (*SETTINGS, "--schedule", "constant")
    bioseg("train-uda", disc_dataset, "--run", whole, *constant)
    bioseg("train-uda", disc_dataset, "--run", run, *constant, "--epochs", 2)
    assert len(rows(run)) == 2
    assert bioseg("train-uda", "--resume", run, "--epochs", 3).exit_code == 0
    assert_equal_runs(run, whole)


def test_epochs_take_the_place_of_the_updates_that_the_run_had(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    short = ("--labels", 2, "--width", 2, "--crop", 32, "--epoch-steps", 1, "--unsup-loss", "none")
    bioseg("train-uda", disc_dataset, "--run", run, *short, "--steps", 1)
    assert bioseg("train-uda", "--resume", run, "--epochs", 2).exit_code == 0
    assert manifest(run)["progress"]["updates"] == 2
    assert (manifest(run)["config"]["steps"], manifest(run)["config"]["epochs"]) == (None, 2)


def test_resuming_a_finished_run_changes_nothing(bioseg: Cli, uninterrupted: Path) -> None:
    before, record = weights(uninterrupted), manifest(uninterrupted)
    result = bioseg("train-uda", "--resume", uninterrupted)
    assert result.exit_code == 0, result.output
    assert same(weights(uninterrupted), before)
    after = manifest(uninterrupted)
    assert {key: after[key] for key in ("best", "metrics", "progress", "status", "config")} == {
        key: record[key] for key in ("best", "metrics", "progress", "status", "config")
    }


def test_nothing_to_resume_is_an_error(bioseg: Cli, tmp_path: Path) -> None:
    result = bioseg("train-uda", "--resume", tmp_path / "nowhere")
    assert result.exit_code == 3
    assert "not a run" in result.output


def test_a_resumed_run_keeps_its_settings(bioseg: Cli, uninterrupted: Path) -> None:
    result = bioseg("train-uda", "--resume", uninterrupted, "--width", 4)
    assert result.exit_code == 2
    assert "width (2, not 4)" in result.output
    result = bioseg("train-uda", "--resume", uninterrupted, "--width", 4, "--lr", 0.5, "--epochs", 9)
    assert "A resumed run keeps its settings: lr (0.01, not 0.5), width (2, not 4)" in " ".join(result.output.split())


def test_a_changed_data_set_is_not_resumed_on(bioseg: Cli, tmp_path: Path) -> None:
    from conftest import SPLITS, write_discs

    data = write_discs(tmp_path / "d.h5")
    run = tmp_path / "run"
    bioseg("train-uda", data, "--run", run, *SETTINGS, "--epochs", 1)
    data.unlink()
    write_discs(data, SPLITS[1:] + SPLITS[:1])
    result = bioseg("train-uda", "--resume", run, "--epochs", 2)
    assert result.exit_code == 3
    assert "not the one this run was trained on" in result.output


def test_a_run_of_a_gpu_goes_on_without_one(
    bioseg: Cli, disc_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    bioseg("train-uda", disc_dataset, "--run", run, *SETTINGS, "--epochs", 1)
    content = torch.load(run / "resume.pt", weights_only=True)
    del content["checksum"]
    torch.save({**content, "random_cuda": [torch.zeros(16, dtype=torch.uint8)]}, run / "resume.pt")
    # Where there is no GPU torch would keep the call for later, and say nothing.
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: pytest.fail("the state is of a GPU"))
    result = bioseg("train-uda", "--resume", run, "--epochs", 2)
    assert result.exit_code == 0, result.output


def test_a_flipped_bit_is_noticed_or_changes_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    """What torch does not read of its file, such as the padding between tensors, is of no account."""
    content = (uninterrupted / "resume.pt").read_bytes()
    saved = checksum_of(read_state(uninterrupted / "resume.pt"))
    random = np.random.default_rng(0)
    path, noticed = tmp_path / "resume.pt", 0
    for place in random.integers(0, len(content), 60):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            found = read_state(path)
        except DataError as error:
            assert "cannot be resumed" in error.what and error.where == str(path)
            noticed += 1
        else:
            assert checksum_of(found) == saved, place
    assert noticed > 30


def test_a_state_that_is_not_the_one_that_was_saved_is_refused(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bioseg("train-uda", disc_dataset, "--run", run, *SETTINGS, "--epochs", 1)
    content = torch.load(run / "resume.pt", weights_only=True)
    first = next(iter(content["parts"]["network"].values()))
    first[0] = -first[0]
    torch.save(content, run / "resume.pt")
    result = bioseg("train-uda", "--resume", run, "--epochs", 2)
    assert result.exit_code == 3
    assert "its content is not what was saved" in " ".join(result.output.split())
    del content["checksum"]
    torch.save(content, run / "resume.pt")  # as an earlier version wrote it
    assert bioseg("train-uda", "--resume", run, "--epochs", 2).exit_code == 0


@pytest.mark.parametrize("content", [b"", b"not a state", None])
def test_a_damaged_state_is_refused(content: bytes | None, bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bioseg("train-uda", disc_dataset, "--run", run, *SETTINGS, "--epochs", 1)
    state = run / "resume.pt"
    state.write_bytes(state.read_bytes()[:1000] if content is None else content)
    result = bioseg("train-uda", "--resume", run, "--epochs", 2)
    assert result.exit_code == 3
    assert "cannot be resumed" in result.output
