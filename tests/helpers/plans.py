"""Plans of studies."""

from __future__ import annotations

from pathlib import Path

import yaml

from bioseg_cli.study.grid import expand, read_plan


def write_plan(path: Path, dataset: Path, **changes: object) -> Path:
    plan = {"labels": [2, 4], "losses": ["kl", "iid"], "draws": 2, "seeds": 2, "steps": 3}
    plan["baselines"] = ["otsu", "all-background"]
    values = {"data": {"Discs": str(dataset)}, **plan, **changes}
    path.write_text(yaml.safe_dump({name: value for name, value in values.items() if value is not None}))
    return path


def runs_of(path: Path):
    return expand(read_plan(path), path)
