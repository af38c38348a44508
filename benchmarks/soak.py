"""Kill a training at random moments, resume it until it ends, and compare with one that never stopped.

`python -m benchmarks.soak [--rounds 20]`. Each round uses another seed; kills are SIGKILL and SIGTERM in turn.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.timing import bioseg


def one_round(folder: Path, seed: int) -> int:
    """Run one comparison; return how many times the training was killed."""
    data = folder / "data.h5"
    settings = ("--labels", 2, "--width", 4, "--epochs", 12, "--dropout", 0.2, "--seed", seed, "--quiet")
    whole, broken = folder / f"whole{seed}", folder / f"broken{seed}"
    subprocess.run(bioseg("train-uda", data, "--run", whole, *settings), check=True)
    dice = random.Random(seed)
    kills = 0
    command = bioseg("train-uda", data, "--run", broken, *settings)
    while True:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(dice.uniform(1.5, 4.5))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL if kills % 2 == 0 else signal.SIGTERM)
        process.wait()
        kills += 1
        # Before the first save there is nothing to resume: begin again.
        command = (
            bioseg("train-uda", "--resume", broken)
            if (broken / "resume.pt").is_file()
            else bioseg("train-uda", data, "--run", broken, "--overwrite", *settings)
        )
    if process.returncode != 0:
        raise SystemExit(f"seed {seed}: the resumed training exited with {process.returncode}")
    for state in ("best-supervised", "best-final", "best-miou", "last"):
        first, second = (load_file(run / "checkpoints" / f"{state}.safetensors") for run in (whole, broken))
        if not all(torch.equal(first[name], second[name]) for name in first):
            raise SystemExit(f"seed {seed}: {state} differs after {kills} kills")
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            bioseg("prepare", "demo", "--images", 30, "--size", 128, "--out", folder / "data.h5", "--quiet"), check=True
        )
        total = 0
        for seed in range(rounds):
            kills = one_round(folder, seed)
            total += kills
            print(f"seed {seed}: equal bit for bit after {kills} kills", flush=True)
    print(f"{rounds} passed, 0 failed: {total} kills in all")


if __name__ == "__main__":
    main()
