"""What a run has written."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file


def weights(run: Path, state: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"{state}.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def manifest(run: Path) -> dict:
    return yaml.safe_load((run / "manifest.yaml").read_text())


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]
