"""One training by several processes: what they compute together, and what they write, say and refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from helpers.launches import COUNT, free_port, launched, together
from helpers.runs import manifest, rows, weights
from torch import Tensor, nn

from bioseg_cli.compute.torchrun import Launch, tell_launcher, this_launch
from bioseg_cli.config import UNetConfig
from bioseg_cli.errors import RunError, UsageError
from bioseg_cli.model.unet import UNet, own_batch_statistics
from bioseg_cli.training.distributed import joined, own_device
from bioseg_cli.training.joint_norm import JointBatchNorm2d

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SETTINGS = ("--labels", 2, "--width", 4, "--batch-size", 2, "--precision", "fp32")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads here as in each of the processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def torchrun(*command: object) -> list[str]:
    """The documented command line."""
    # The two dashes keep torchrun from taking --run for the beginning of an option of its own.
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(COUNT), "-m", "--", "bioseg_cli"]
    return [sys.executable, *launcher, *map(str, command)]


def metrics(run: Path) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items()} for row in rows(run)]


def assert_same_run(first: Path, second: Path, *, relative: float, absolute: float) -> None:
    """The logs, and every tensor of the last state, within `relative` or `absolute`."""
    for alone, other in zip(metrics(first), metrics(second), strict=True):
        assert alone == pytest.approx(other, rel=relative, abs=absolute)
    kept, expected = weights(first), weights(second)
    assert kept.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            kept[name], tensor, rtol=relative, atol=absolute, msg=lambda text, name=name: f"{name}: {text}"
        )


# What two connected processes compute, beside the same by one.


def features() -> Tensor:
    """(B, C, H, W), far from 0 beside how far they spread, and images unlike each other."""
    images = torch.randn(4, 3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return 100 + images + torch.arange(4)[:, None, None, None]


def network() -> UNet:
    torch.manual_seed(1)
    return UNet(UNetConfig(in_channels=1, heads={"main": 2}, width=2, depth=2)).double()


def normalise(norm: nn.BatchNorm2d, images: Tensor) -> dict[str, Tensor]:
    """Two passes in training, the derivative of a sum that weighs every value by its own square, and one pass more."""
    images = images.clone().requires_grad_()
    norm(images - 3)
    out = norm(images)
    (out**3).sum().backward()
    grads = {"images": images.grad, "of_weight": norm.weight.grad, "of_bias": norm.bias.grad}
    with own_batch_statistics(norm), torch.no_grad():
        own = norm(2 * images)
    return {
        "out": out.detach(),
        "own": own,
        **grads,
        **{key: value.clone() for key, value in norm.state_dict().items()},
    }


def train_step(plain: UNet, called: nn.Module) -> dict[str, Tensor]:
    """Logits, the running statistics and every gradient of a step with all kinds of passes that UDA makes."""
    images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits = called(images)["main"]
    with torch.no_grad():
        target = called(images.flip(3))["main"]
    with own_batch_statistics(called):
        strong = called(1 - images)["main"]
    # Not a mean over images: each has to be told from the others.
    joint = torch.einsum("bkhw,blhw->kl", logits.softmax(1), strong.softmax(1))
    (joint.log().trace() + (strong - target).square().amax(dim=(1, 2, 3)).prod()).backward()
    grads = {name: parameter.grad for name, parameter in plain.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in plain.named_buffers()}
    return {"logits": logits.detach(), "target": target, **buffers, **grads}


def measure(rank: int, port: int, folder: Path) -> None:
    """What a process finds, into a file."""
    os.environ.update(launched(rank, port))
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with joined(this_launch(), torch.device("cpu")) as processes:
        norm = JointBatchNorm2d.sharing(nn.BatchNorm2d(3).double())
        found["norm"] = normalise(norm, features().chunk(COUNT)[rank])
        half = nn.BatchNorm2d(3)
        with torch.no_grad():
            found["half"] = JointBatchNorm2d.sharing(half)(features().chunk(COUNT)[rank].bfloat16()), half.running_mean
        plain = network()
        found["step"] = train_step(plain, processes.shared(plain))
        found["any"] = [processes.any(asked) for asked in (False, rank == 1, True)]
        found["values"] = processes.of_the_first({"a": 0.1 + rank, "b": rank / 3})
        processes.check_alike("the same")
        torch.manual_seed(5)
        processes.seed_step(0, 7)
        found["random"] = torch.rand(3)
        processes.seed_step(0, 8)
        found["later"] = torch.rand(3)
        # The first one lost the other only: what it ends with is the other's.
        if rank == 1:
            processes.explained(RunError("It broke", where="here", fix="Mend it."))
        processes.any(False)
        found["explained"] = str(processes.explained(RuntimeError("gloo: Connection closed by peer")))
        found["fault"] = str(processes.explained(ZeroDivisionError("division by zero")))
        try:
            processes.check_alike(f"different {rank}")
        except UsageError as error:
            found["unlike"] = str(error)
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two connected processes found, by rank."""
    folder = tmp_path_factory.mktemp("found")
    torch.multiprocessing.spawn(measure, (free_port(), folder), nprocs=COUNT)
    return [torch.load(folder / f"{rank}.pt") for rank in range(COUNT)]


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_batch_norm_over_two_processes_is_that_of_the_whole_batch(found: list[dict[str, Any]]) -> None:
    expected = normalise(nn.BatchNorm2d(3).double(), features())
    parts = [process["norm"] for process in found]
    whole = {name: torch.cat([part[name] for part in parts]) for name in ("out", "own", "images")}
    # Each process has its part of the sums over pixels; DistributedDataParallel adds those up.
    whole |= {name: parts[0][name] + parts[1][name] for name in ("of_weight", "of_bias")}
    kept = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert_close(whole | {name: parts[0][name] for name in kept}, expected)
    assert all(torch.equal(parts[0][name], parts[1][name]) for name in kept)


def test_batch_norm_of_half_precision_keeps_its_statistics_in_full(found: list[dict[str, Any]]) -> None:
    plain = nn.BatchNorm2d(3)
    out = plain(features().bfloat16())
    assert found[0]["half"][0].dtype == torch.bfloat16
    torch.testing.assert_close(torch.cat([process["half"][0] for process in found]), out.detach())
    torch.testing.assert_close(found[1]["half"][1], plain.running_mean)


def test_a_step_has_the_logits_statistics_and_gradients_of_one_process(found: list[dict[str, Any]]) -> None:
    plain = network()
    expected = train_step(plain, plain)
    for process in found:
        assert_close(process["step"], expected)
    # Bit for bit alike among the processes, or they would drift apart.
    assert all(torch.equal(found[0]["step"][name], found[1]["step"][name]) for name in expected)


def test_the_processes_agree(found: list[dict[str, Any]]) -> None:
    for process in found:
        assert process["any"] == [False, True, True]
        assert process["values"] == {"a": 0.1, "b": 0.0}
    assert "unlike" not in found[0]
    assert "not those of the first process" in found[1]["unlike"]


def test_the_processes_drop_out_differently_and_the_first_as_one_process_would(found: list[dict[str, Any]]) -> None:
    torch.manual_seed(5)
    assert torch.equal(found[0]["random"], torch.rand(3))
    assert torch.equal(found[0]["later"], torch.rand(3))
    assert len({float(process[key][0]) for process in found for key in ("random", "later")}) == 4


def test_the_first_process_says_why_another_failed(found: list[dict[str, Any]]) -> None:
    assert found[0]["explained"] == "Process 1 failed: It broke\nin here\nMend it."
    assert found[0]["fault"] == "division by zero"


# Whole trainings.


TAUGHT = ("--teacher", "average", "--ema", 0.9, "--mix", "labelled", "--denoise", 0.5, "--confidence", 0.6)


@pytest.mark.parametrize(
    ("loss", "further"),
    [("kl", ()), ("iid", ()), ("fixmatch", ()), ("none", ()), ("kl", (*TAUGHT, "--class-confidence"))],
    ids=str,
)
def test_two_processes_train_the_network_of_one(
    loss: str, further: tuple[object, ...], bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    # Where rounding tips a ReLU or a maximum over, a gradient changes by a finite step, and Adam makes whole updates of
    # the smallest. One process with another number of threads differs from itself by 0.005 here at the default rate,
    # and two processes by as much. That there is no other difference shows the step in double precision above.
    options = ("--unsup-loss", loss, *further, "--lr", 1e-4, "--steps", 4, *SETTINGS)
    assert bioseg("train-uda", disc_dataset, "--run", tmp_path / "one", *options).exit_code == 0
    command = ("train-uda", disc_dataset, "--run", tmp_path / "two", *options)
    done = together(command, command, folder=tmp_path)
    assert [process.returncode for process in done] == [0, 0], done
    assert_same_run(tmp_path / "two", tmp_path / "one", relative=5e-3, absolute=8e-4)


def test_only_the_first_process_writes_and_speaks(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    command = ("train-uda", disc_dataset, "--run", "run", "--steps", 2, *SETTINGS)
    first, second = together(command, command, folder=tmp_path)
    assert "2 processes" in first.stderr
    assert "Best states of run" in first.stdout
    assert (second.stdout, second.stderr) == ("", "")
    assert list((tmp_path / "process1").iterdir()) == []
    run = tmp_path / "process0" / "run"
    assert manifest(run)["processes"] == 2
    bioseg("train-uda", disc_dataset, "--run", tmp_path / "alone", "--steps", 2, *SETTINGS)
    assert manifest(tmp_path / "alone")["processes"] == 1

    def files(of: Path) -> set[Path]:
        return {path.relative_to(of) for path in of.rglob("*")}

    assert files(run) == files(tmp_path / "alone")


def test_a_run_goes_on_with_another_number_of_processes(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    # Without batch norm rounding stays rounding.
    options = ("--norm", "none", "--ema", 0.9, "--lr", 1e-4, "--schedule", "constant", *SETTINGS)
    run, whole = tmp_path / "run", tmp_path / "whole"
    bioseg("train-uda", disc_dataset, "--run", whole, *options, "--epochs", 3)
    bioseg("train-uda", disc_dataset, "--run", run, *options, "--epochs", 1)
    command = ("train-uda", "--resume", run, "--epochs", 2)
    assert [process.returncode for process in together(command, command, folder=tmp_path)] == [0, 0]
    assert bioseg("train-uda", "--resume", run, "--epochs", 3).exit_code == 0
    assert_same_run(run, whole, relative=1e-4, absolute=1e-6)
    state, expected = (torch.load(folder / "resume.pt", weights_only=True) for folder in (run, whole))
    assert state["parts"]["network"].keys() == expected["parts"]["network"].keys()


def test_what_fails_in_one_process_ends_both_and_the_first_says_it(disc_dataset: Path, tmp_path: Path) -> None:
    options = ("--run", tmp_path / "run", *SETTINGS)
    first, second = together(
        ("train-uda", disc_dataset, *options), ("train-uda", tmp_path / "nowhere.h5", *options), folder=tmp_path
    )
    assert first.stderr.startswith("Error: Process 1 failed: There is no such data set\nin ")
    assert [first.returncode, second.returncode] == [3, 3]
    assert second.stderr == ""


def test_torchrun_trains_and_ctrl_c_saves(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        torchrun("train-uda", disc_dataset, "--run", run, "--epochs", 5000, *SETTINGS),
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    try:
        end = time.monotonic() + 60
        while not (run / "resume.pt").is_file():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert errors.count("the state is saved") == 1
    record = manifest(run)
    assert record["status"] == "interrupted"
    updates = record["progress"]["updates"]
    assert bioseg("train-uda", "--resume", run, "--steps", updates + 1).exit_code == 0
    assert manifest(run)["progress"]["updates"] == updates + 1


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that tests is told that it is the second of a launch."""
    for name, value in launched(1, 1).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("second_of_two")
def test_a_batch_that_cannot_be_divided_is_refused(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    result = bioseg("train-uda", disc_dataset, "--run", tmp_path / "run", *SETTINGS, "--batch-size", 3)
    assert result.exit_code == 2
    assert "--batch-size 3 is the images of all 2 processes together" in result.output
    assert "Give --batch-size 4" in result.output


@pytest.mark.usefixtures("second_of_two")
@pytest.mark.parametrize("command", ["train-iic", "predict", "evaluate"])
def test_other_commands_refuse_to_be_several(command: str, bioseg: Cli, tmp_path: Path) -> None:
    result = bioseg(command, tmp_path)
    assert result.exit_code == 2
    assert f"torchrun is for train-uda, not for {command}" in result.output


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert this_launch() == Launch()
    assert this_launch().first


def test_an_error_is_left_where_torchrun_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    tell_launcher(UsageError("It is wrong", where="here", fix="Right it."))
    left = json.loads((tmp_path / "error.json").read_text())
    assert left["message"]["message"] == "It is wrong; in here; Right it."


def test_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    cuda = torch.device("cuda")
    assert own_device(cuda, Launch()) == cuda
    assert own_device(cuda, Launch(0, 2, 0)) == torch.device("cuda", 0)
    assert chosen == [0]
    with pytest.raises(UsageError, match="There is no GPU for process 2 of this host: it has 1"):
        own_device(cuda, Launch(1, 2, 1))
    with pytest.raises(UsageError, match="together on mps"):
        own_device(torch.device("mps"), Launch(1, 2, 1))
    assert own_device(torch.device("cpu"), Launch(1, 2, 1)) == torch.device("cpu")
    with pytest.raises(UsageError, match="each has a GPU of its own"):
        own_device(torch.device("cuda:1"), Launch(1, 2, 1))
    assert own_device(torch.device("cuda:1"), Launch()) == torch.device("cuda:1")
