"""Which device a name stands for, on machines with and without GPUs."""

from __future__ import annotations

import pytest
import torch

from bioseg_cli.compute.device import resolve_device
from bioseg_cli.config import build_config
from bioseg_cli.errors import UsageError
from bioseg_cli.prediction.settings import PredictConfig


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("two_gpus")
def test_one_gpu_of_several_is_chosen_by_its_number() -> None:
    assert resolve_device("auto") == torch.device("cuda")
    assert [str(resolve_device(name)) for name in ("cuda", "cuda:0", "cuda:1", "cpu")] == [
        "cuda",
        "cuda:0",
        "cuda:1",
        "cpu",
    ]
    with pytest.raises(UsageError, match="There is no cuda:2 here: the number of GPUs is 2") as error:
        resolve_device("cuda:2")
    assert error.value.fix == "Give --device cuda:1, or leave --device out."


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_none_is_promised() -> None:
    assert resolve_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(UsageError, match=f"There is no {name.partition(':')[0]} device here"):
            resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cuda:1,2", ""])
def test_what_is_no_name_of_a_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"--device: .* does not fit"):
        build_config(PredictConfig, {"run": "runs/a", "inputs": ["images"], "device": name})
