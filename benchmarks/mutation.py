"""Change the code on purpose, one small change at a time, and count the changes that no test notices.

`python -m benchmarks.mutation [--package NAME ...] [--sample N] [--seed S] [--survivors]`. Mutmut makes the changes
(mutants) and runs the tests that reach each; this module chooses what is changed and by which tests it is to be
noticed, and prints what came of it. Every package is copied to build/mutation/NAME first, where mutmut leaves all that
it knows: `cd build/mutation/NAME && mutmut show MUTANT` prints a mutant, and build/mutation/NAME.txt lists those that
no test noticed.

A mutant that mypy refuses is not tested, and counts neither for the tests nor against them.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from scipy.stats import binomtest

from benchmarks.timing import printer

FOLDER = Path("build/mutation")

STATES = {
    0: "survived", 1: "killed", 3: "killed", 5: "not covered", 33: "not covered", 37: "refused by mypy",
    36: "timed out", -24: "timed out", 24: "timed out", 152: "timed out", 255: "timed out", None: "not drawn",
}  # fmt: skip
"""What mutmut's numbers mean; another number is a crash, which is noticed too."""

NOTICED = ("killed", "timed out", "crashed")
UNNOTICED = ("survived", "not covered")


@dataclass(frozen=True)
class Package:
    """What is changed, by a pattern of files, and the options of pytest that choose its tests."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


PACKAGES = {
    "metrics": Package(
        ("metrics/*",),
        (
            "test_metrics.py", "test_intervals.py", "test_mapping.py", "test_objects.py", "test_oracle_metrics.py",
            "test_oracle_data_prep.py",
        ),
    ),
    "augment": Package(
        ("augment/*",),
        ("test_affine.py", "test_photometric.py", "test_policy.py", "test_second_view.py", "test_oracle_augment.py"),
    ),
    "scores": Package(("evaluation/scores.py",), ("test_scores.py", "test_evaluate_parts.py")),
    "statistics": Package(("study/statistics.py",), ("test_study_plan.py",)),
    "dataset": Package(("dataset/*",), ("test_dataset.py", "test_dataset_files.py", "test_batches.py")),
    # `distributed` and `joint_norm` are about several processes, whose tests take seconds each.
    "training": Package(
        tuple(
            f"training/{module}.py"
            for module in (
                "average", "clusters", "collapse", "iic", "loop", "losses", "method", "record", "restarts", "session",
                "settings", "state", "uda",
            )
        ),
        (
            "test_losses.py", "test_uda.py", "test_iic.py", "test_iic_collapse.py", "test_oracle_losses.py",
            "test_oracle_uda_options.py", "test_training.py", "test_training_resume.py", "test_iic_training.py",
            "--deselect=tests/test_iic_training.py::test_a_run_on_the_demo_data_does_not_collapse",
            "--deselect=tests/test_training_resume.py::test_a_signal_saves_and_exits_130",
            "--deselect=tests/test_training_resume.py::test_a_killed_run_resumes_to_the_same_weights",
        ),
    ),
}  # fmt: skip


def settings(package: Package) -> str:
    """The setup.cfg that mutmut reads."""
    only = [f"bioseg_cli/{pattern}" for pattern in package.files]
    tests = [test if test.startswith("-") else f"tests/{test}" for test in package.tests]
    check = ["mypy", "bioseg_cli", "--output", "json", "--disable-error-code", "unused-ignore"]
    return "\n".join(
        (
            "[mutmut]",
            "source_paths = bioseg_cli",
            listed("only_mutate", only),
            # The words of a refusal are not changed; whether it comes, and when, is.
            r"do_not_mutate_patterns = ^\s*raise \w+\(",
            listed("type_check_command", check),
            # Torch is loaded once, and no test has run in the process that the mutants' processes are forked from.
            "process_isolation = forkserver",
            "on_dependency_change = ignore",
            listed("pytest_add_cli_args_test_selection", tests),
        )
    )


def listed(name: str, values: list[str]) -> str:
    """A setting of several lines."""
    return "\n    ".join((f"{name} =", *values))


def prepare(name: str, *, keep: bool) -> Path:
    """Copy code and tests to the package's folder; with `keep`, what mutmut found there before stays."""
    folder = FOLDER / name
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    for tree in ("bioseg_cli", "tests"):
        shutil.rmtree(folder / tree, ignore_errors=True)
        shutil.copytree(tree, folder / tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2("pyproject.toml", folder)
    (folder / "setup.cfg").write_text(settings(PACKAGES[name]))
    return folder


def mutmut(folder: Path, *arguments: str) -> None:
    """Run mutmut in a folder: this Python's programs, a thread a process, the same random numbers every time."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    surroundings = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CI": "true", "PYTHONHASHSEED": "0"}
    with (folder / "mutmut.log").open("w") as log:
        code = subprocess.run(["mutmut", *arguments], cwd=folder, env=surroundings, stdout=log, stderr=log).returncode
    if code:
        raise SystemExit(f"mutmut exited with {code}: see {log.name}")


def found(folder: Path) -> dict[str, str]:
    """The state of every mutant there is."""
    states = {}
    for path in sorted((folder / "mutants").rglob("*.meta")):
        for mutant, code in json.loads(path.read_text())["exit_code_by_key"].items():
            states[mutant] = STATES.get(code, "crashed")
    return states


def run(name: str, sample: int | None, seed: int, *, survivors: bool) -> dict[str, str]:
    """The mutants of a package and what became of each."""
    folder = prepare(name, keep=survivors)
    if survivors:
        left = [mutant for mutant, state in found(folder).items() if state in UNNOTICED]
        if left:
            mutmut(folder, "run", *left)
    elif sample is None:
        mutmut(folder, "run")
    else:
        # Nothing but a run makes the mutants: run some, then draw among all.
        mutmut(folder, "run", "*__mutmut_1")
        mutants = sorted(found(folder))
        drawn = random.Random(seed).sample(mutants, min(sample, len(mutants)))
        mutmut(folder, "run", *drawn)
        states = found(folder)
        return {mutant: states[mutant] if mutant in drawn else "not drawn" for mutant in mutants}
    return found(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--sample", type=int, help="so many mutants a package, drawn at random; without it all")
    parser.add_argument("--seed", type=int, default=0, help="the draw")
    parser.add_argument("--survivors", action="store_true", help="test only those that no test noticed the last time")
    arguments = parser.parse_args()
    columns = ("killed", "timed out", "crashed", "survived", "not covered", "refused by mypy", "not drawn")
    table = Table("package", "mutants", *columns, "noticed", "95 % interval")
    for name in arguments.package:
        states = run(name, arguments.sample, arguments.seed, survivors=arguments.survivors)
        counts = collections.Counter(states.values())
        noticed = sum(counts[state] for state in NOTICED)
        tested = noticed + sum(counts[state] for state in UNNOTICED)
        low, high = binomtest(noticed, tested).proportion_ci(method="wilson")
        cells = (len(states), *(counts[column] for column in columns))
        table.add_row(name, *map(str, cells), f"{noticed / tested:.1%}", f"{low:.1%} to {high:.1%}")
        left = sorted(mutant for mutant, state in states.items() if state in UNNOTICED)
        (FOLDER / f"{name}.txt").write_text("".join(f"{states[mutant]}\t{mutant}\n" for mutant in left))
    printer().print(table)


if __name__ == "__main__":
    main()
