"""How large a tile the free memory allows."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from bioseg_cli.config import UNetConfig
from bioseg_cli.errors import RunError
from bioseg_cli.prediction.settings import DEFAULT_TILE

SMALLEST_TILE = 128
"""Side in pixels below which the free memory makes no tile: so small a tile sees too little."""

LIVE_MAPS = 12
"""Feature maps of the first level's width and the tile's size that a pass through the network holds at most.

The skips of all levels are two, the last concatenation four with what it is made of, a convolution has its input, its
output and what the library unfolds of them; the deeper levels are half a map each and less.
"""
USABLE_SHARE = 0.7
"""Of the free memory; the rest is for pixels, probabilities and whatever else runs."""


def fitting_tile(architecture: UNetConfig, usable: float, overlap: int | None) -> int:
    """The largest tile, halved from `DEFAULT_TILE`, whose activations fit in the memory.

    Args:
        architecture: of the network.
        usable: memory in bytes.
        overlap: that the tiles must have, which is at most half of one; None where it may shrink with them.
    """
    tile = DEFAULT_TILE
    while activation_bytes(architecture, tile**2) > usable and may_halve(tile, overlap):
        tile //= 2
    return tile


def sees_the_tile(architecture: UNetConfig) -> bool:
    """Whether the network normalises by what it is shown, so that the size of the tile is part of the result."""
    return architecture.norm in ("instance", "group")


def may_halve(tile: int, overlap: int | None) -> bool:
    """Whether tiles of half the side are large enough, and large enough for the overlap."""
    return tile // 2 >= max(SMALLEST_TILE, 2 * (overlap or 0))


def activation_bytes(architecture: UNetConfig, pixels: int) -> int:
    """Estimated memory of a pass over so many pixels, at 4 bytes a value in any precision: some layers keep it."""
    return LIVE_MAPS * architecture.width * pixels * 4


def refuse_too_large(
    architecture: UNetConfig, shape: tuple[int, int], tile: int, affordable: int, usable: float, where: Path | None
) -> None:
    """Raise `RunError` where the pixels of a tile do not fit in the memory, and a smaller tile would change the result.

    Args:
        architecture: of the network.
        shape: height and width of what is predicted at once.
        tile: side of the tiles.
        affordable: side of the tiles that fit.
        usable: memory in bytes.
        where: the file that the error names.
    """
    height, width = shape
    needed = activation_bytes(architecture, height * width)
    if height * width <= affordable**2 or needed <= usable:
        return
    takes, free = f"{needed / 2**20:.0f} MiB of memory", f"{usable / 2**20:.0f} MiB"
    raise RunError(
        f"{height} x {width} pixels at once take about {takes}, and {free} is free for them; with "
        f"{architecture.norm} norm a smaller tile gives another result, so none is chosen unasked",
        where=where,
        fix=f"Give `bioseg predict` --tile {affordable}, or --tile {tile} to try it all the same. "
        "`bioseg evaluate` scores masks too.",
    )


def usable_bytes(device: torch.device, processes: int = 1) -> float:
    """The part of the free memory of `device` that one of `processes` may take; infinite where nobody knows."""
    free = free_bytes(device)
    return math.inf if free is None else USABLE_SHARE * free / processes


def free_bytes(device: torch.device) -> int | None:
    """Memory that can be allocated on `device` without displacing anything; None where the system does not say."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    meminfo = Path("/proc/meminfo")
    if device.type != "cpu" or not meminfo.is_file():
        return None
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)
