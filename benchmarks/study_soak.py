"""Kill a study at random moments, start it again until it ends, and compare its tables with one that never stopped.

`python -m benchmarks.study_soak [--kills 10] [--jobs 1]`. Kills are SIGKILL of the command, SIGKILL of it with all that
it started, and SIGINT, in turn. With --jobs 2 the runs are those of a local Dask cluster.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.timing import bioseg

PLAN = {
    "labels": [2, 4],
    "losses": ["kl", "iid"],
    "draws": 2,
    "steps": 60,
    "uda": {"width": 4, "dropout": 0.2},
    "iic": {"width": 4, "epochs": 2, "crop": 64},
    "split": "test",
    "threads": 1,
}


def end(process: subprocess.Popen[bytes], way: int) -> str:
    """End the command in one of three ways; says which."""
    if way == 0:
        process.kill()
    elif way == 1:
        for child in (*psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    else:
        process.send_signal(signal.SIGINT)
    process.wait()
    return ("killed", "killed with all it started", "interrupted")[way]


def tables(command: list[Any]) -> dict[str, Any]:
    ended = subprocess.run([*map(str, command), "--json", "--quiet"], capture_output=True, text=True, check=True)
    document = json.loads(ended.stdout)
    return {name: document[name] for name in ("cells", "baselines", "runs")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, plan = folder / "data.h5", folder / "plan.yaml"
        made = bioseg("prepare", "demo", "--images", 30, "--size", 128, "--out", data, "--quiet")
        subprocess.run(made, check=True)
        plan.write_text(yaml.safe_dump({"data": {"demo": str(data)}, **PLAN}))
        begun = time.monotonic()
        whole = tables(bioseg("study", plan, "--out", folder / "whole", "--jobs", options.jobs))
        took = time.monotonic() - begun
        print(f"{len(whole['runs'])} runs in {took:.0f} s without a kill", flush=True)
        command = bioseg("study", plan, "--out", folder / "broken", "--jobs", options.jobs)
        for kill in range(options.kills):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(dice.uniform(1, 1.6 * took / options.kills))
            if process.poll() is not None:
                raise SystemExit(f"The study ended before kill {kill + 1}: give fewer --kills or another --seed")
            said = end(process, kill % 3)
            scored = len(list((folder / "broken" / "scores").glob("*.json")))
            print(f"{said}, {scored} scored", flush=True)
        broken = tables(command)
    if broken != whole:
        raise SystemExit("The tables differ")
    print(f"equal tables after {options.kills} kills")


if __name__ == "__main__":
    main()
