"""What other systems do otherwise: Windows syncs no file that is open for reading and has no signal 0, Apple's GPUs
have no float64."""

from __future__ import annotations

import errno
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from conftest import write_discs
from helpers.runs import manifest
from torch.overrides import TorchFunctionMode

from bioseg_cli.io import owner
from bioseg_cli.io.owner import Owner
from bioseg_cli.io.ownership import owned_folder

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
TINY = ("--width", 4, "--steps", 4, "--quiet")


class DeviceWithoutFloat64(TorchFunctionMode):
    """Refuses float64 of tensors that were moved to the device of a run, and of all that is computed from them.

    A tensor is on the device from `to(device)` until `cpu()`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0
        self._there: dict[int, weakref.ref[torch.Tensor]] = {}

    def is_there(self, tensor: torch.Tensor) -> bool:
        known = self._there.get(id(tensor))
        return known is not None and known() is tensor

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        name = getattr(function, "__name__", "")
        if name == "cpu":
            # Of a tensor that is in main memory it is the tensor itself.
            return found.clone() if found is args[0] else found
        given = [*args, *kwargs.values()]
        moved = name == "to" and any(isinstance(value, torch.device) for value in given)
        self.moved += moved
        if moved or any(self.is_there(tensor) for tensor in tensors_in(given)):
            for tensor in tensors_in([found]):
                if tensor.dtype == torch.float64:
                    raise TypeError(
                        "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it"
                    )
                self._there[id(tensor)] = weakref.ref(tensor)
        return found


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


@pytest.fixture
def device() -> Iterator[DeviceWithoutFloat64]:
    with DeviceWithoutFloat64() as mode:
        yield mode
    assert mode.moved


@pytest.mark.parametrize(
    "settings",
    [
        ("--unsup-loss", "kl"),
        ("--unsup-loss", "iid"),
        ("--preset", "best", "--unsup-loss", "fixmatch", "--denoise", 0.5),
    ],
    ids=["kl", "iid", "fixmatch"],
)
def test_uda_needs_no_float64_of_the_device(
    device: DeviceWithoutFloat64, bioseg: Bioseg, disc_dataset: Path, tmp_path: Path, settings: tuple[Any, ...]
):
    run = tmp_path / "run"
    result = bioseg("train-uda", disc_dataset, "--run", run, "--labels", 4, "--epoch-steps", 2, *TINY, *settings)
    assert result.exit_code == 0, result.stderr
    assert manifest(run)["status"] == "finished"
    result = bioseg("evaluate", run, "--split", "val", "--json")
    assert result.exit_code == 0, result.stderr


def test_the_guard_needs_no_float64_of_the_device(device: DeviceWithoutFloat64, bioseg: Bioseg, tmp_path: Path):
    data = write_discs(tmp_path / "discs.h5", ("train",) * 6)
    run = tmp_path / "run"
    result = bioseg("train-uda", data, "--run", run, "--labels", 2, "--unsup-loss", "kl", *TINY)
    assert result.exit_code == 0, result.stderr
    assert manifest(run)["guard"]["run"]["steadiness"] >= 0


def test_iic_needs_no_float64_of_the_device(
    device: DeviceWithoutFloat64, bioseg: Bioseg, disc_dataset: Path, tmp_path: Path
):
    run = tmp_path / "run"
    result = bioseg("train-iic", disc_dataset, "--run", run, *TINY, "--crop", 32)
    assert result.exit_code == 0, result.stderr
    result = bioseg("predict", run, disc_dataset, "--split", "val", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr


def test_float64_of_the_device_is_noticed():
    with DeviceWithoutFloat64(), pytest.raises(TypeError, match="float64"):
        torch.zeros(2).to(torch.device("cpu")).add(1).double()
    with DeviceWithoutFloat64():
        assert torch.zeros(2).to(torch.device("cpu")).cpu().double().dtype == torch.float64


def test_no_signal_is_sent_where_signal_0_is_ctrl_c(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(owner, "_POSIX", False)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("Windows would stop a process"))
    with owned_folder(tmp_path):
        found = Owner.read(tmp_path / ".bioseg.owner")
        assert found is not None and found.process == os.getpid()
        assert not found.gone


@pytest.mark.skipif(sys.platform == "win32", reason="the real thing is there")
def test_files_are_written_where_only_files_open_for_writing_are_synced(
    monkeypatch: pytest.MonkeyPatch, bioseg: Bioseg, tmp_path: Path
):
    import fcntl

    synced = []

    def sync(number: int) -> None:
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        synced.append(number)

    monkeypatch.setattr(os, "fsync", sync)
    result = bioseg("prepare", "demo", "--images", 6, "--size", 64, "--out", tmp_path / "demo.h5", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert synced
