"""The device and the precision of a run, chosen once and recorded with the reason."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from bioseg_cli.config import DeviceName, PrecisionName
from bioseg_cli.errors import UsageError

LAYOUT = {
    "name": "channels_last",
    "reason": "convolutions reach the vector and matrix units without reordering what they are given",
}
"""How networks and images lie in memory, for the manifest; benchmarks/RESULTS.md has what it gives."""


@dataclass(frozen=True)
class Precision:
    """What the network multiplies in; losses are computed in float32 whatever this is."""

    name: str
    """"bf16" or "fp32"."""
    reason: str
    device: torch.device

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Run the network's convolutions in this precision."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.name == "bf16"):
            yield


def resolve_device(name: DeviceName) -> torch.device:
    """The device of that name, such as "cpu" or "cuda:1"; "auto" takes CUDA, else Apple's GPU, else the CPU.

    Raises:
        UsageError: the device asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(name for name, usable in there.items() if usable))
    device = torch.device(name)
    if not there[device.type]:
        raise UsageError(f"There is no {device.type} device here", fix="Give --device cpu, or leave --device out.")
    if device.index is not None and device.index >= (gpus := torch.cuda.device_count()):
        raise UsageError(
            f"There is no {name} here: the number of GPUs is {gpus}, and the first is cuda:0",
            fix=f"Give --device cuda:{gpus - 1}, or leave --device out.",
        )
    return device


def resolve_precision(name: PrecisionName, device: torch.device) -> Precision:
    """The precision of that name; "auto" takes bfloat16 where the hardware multiplies it natively."""
    if name != "auto":
        return Precision(name, "asked for", device)
    if device.type == "cuda":
        native, why = torch.cuda.is_bf16_supported(including_emulation=False), "the GPU"
    elif device.type == "cpu":
        native, why = bool({"amx_bf16", "avx512_bf16"} & _cpu_features()), "the processor (AMX or AVX512-BF16)"
    else:
        native, why = False, f"the {device.type} device"
    if native:
        return Precision("bf16", f"auto: {why} multiplies bfloat16 natively", device)
    return Precision("fp32", f"auto: {why} does not multiply bfloat16 natively", device)


def _cpu_features() -> set[str]:
    description = Path("/proc/cpuinfo")
    if not description.is_file():
        return set()
    flags = next((line for line in description.read_text().splitlines() if line.startswith("flags")), "")
    return set(flags.split())


def is_device_failure(error: BaseException) -> bool:
    """Whether the device itself has failed: nothing more can be computed on it."""
    return isinstance(error, RuntimeError) and "CUDA error" in str(error)
