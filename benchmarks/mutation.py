"""Change the code on purpose, one small change at a time, and count the changes that no test notices.

`python -m benchmarks.mutation [--package NAME ...] [--sample N] [--seed S] [--rest]`. Mutmut makes the changes
(mutants) and runs the tests that reach each; this module chooses what is changed and by which tests it is to be
noticed, and prints what came of it. Every package is copied to build/mutation/NAME first, where mutmut leaves all that
it knows: `cd build/mutation/NAME && mutmut show MUTANT` prints a mutant, and build/mutation/NAME.txt lists those that
no test noticed. With --rest the mutants of functions that changed since, and those that no test noticed, are tested.

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

REFUSED = "refused by mypy"
NOT_DRAWN = "not drawn"

STATES = {
    0: "survived", 1: "killed", 3: "killed", 5: "not covered", 33: "not covered", 37: REFUSED,
    36: "timed out", -24: "timed out", 24: "timed out", 152: "timed out", 255: "timed out", None: NOT_DRAWN,
}  # fmt: skip
"""What mutmut's numbers mean; another number is a crash, which is as good as a failing test."""

NOTICED = ("killed", "timed out")
UNNOTICED = ("survived", "not covered")


@dataclass(frozen=True)
class Package:
    """What is changed, and the tests by which it is to be noticed.

    Attributes:
        files: patterns of files in bioseg_cli.
        tests: names of test_NAME.py, in any folder of tests.
        leave_out: files that match but are not changed.
        slow: NAME.py::TEST for each test of test_NAME.py that is not run, because it takes seconds, or starts a process
            with the code as it is.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]
    leave_out: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()


PACKAGES = {
    "metrics": Package(
        ("metrics/*",),
        (
            "metrics", "intervals", "paired", "mapping", "objects", "oracle_metrics", "oracle_data_prep", "temperature",
            "reliability", "expected_iou", "shapes",
        ),
    ),
    "augment": Package(
        ("augment/*",), ("affine", "photometric", "policy", "second_view", "microscopy", "oracle_augment")
    ),
    "scores": Package(("evaluation/scores.py",), ("scores", "evaluate_parts")),
    "statistics": Package(("study/statistics.py",), ("study_plan", "paired")),
    "dataset": Package(
        ("dataset/*",),
        ("dataset", "dataset_files", "batches", "label_budgets", "crops"),
        slow=(
            "dataset_files.py::test_a_full_disk_is_an_error_of_ours_and_leaves_nothing",
            "label_budgets.py::test_a_class_without_a_label_is_named_before_training_even_when_quiet",
            "label_budgets.py::test_a_report_names_it_too",
            "label_budgets.py::test_a_resumed_run_keeps_the_images_that_its_manifest_names",
            "label_budgets.py::test_a_study_names_it_too",
            "label_budgets.py::test_clusters_without_a_label_of_a_class_are_marked_where_labels_named_them",
            "label_budgets.py::test_labels_of_a_single_class_are_refused_with_what_to_do",
            "label_budgets.py::test_masks_that_all_show_a_single_class_are_refused",
        ),
    ),
    "training": Package(
        ("training/*",),
        (
            "losses", "uda", "iic", "iic_collapse", "oracle_losses", "oracle_uda_options", "training",
            "training_loop", "training_resume", "iic_training", "label_budgets", "controls", "best_preset",
            "consistency", "mixing", "denoising", "temperature", "guard", "init_from", "adapted_norm", "drawn_in_part",
            "temperature", "guard",
        ),
        # Their tests start several processes.
        leave_out=("training/distributed.py", "training/joint_norm.py"),
        slow=(
            "iic_training.py::test_a_run_on_the_demo_data_does_not_collapse",
            "init_from.py::test_all_processes_start_alike",
            "training_resume.py::test_a_signal_saves_and_exits_130",
            "training_resume.py::test_a_killed_run_resumes_to_the_same_weights",
            "controls.py::test_a_report_makes_no_mean_of_runs_that_are_no_repeats",
            "controls.py::test_a_report_pairs_a_run_with_its_own_control_alone",
            "controls.py::test_another_precision_is_no_other_control_and_is_said",
            "controls.py::test_in_a_study_the_own_control_is_found_by_data_labels_and_repeat",
            "controls.py::test_no_control_is_refused_with_what_it_differs_in_and_how_to_get_one",
            "controls.py::test_the_command_that_is_advised_trains_the_control",
            "label_budgets.py::test_a_report_names_it_too",
            "label_budgets.py::test_a_run_of_an_earlier_version_is_looked_at_where_its_data_are",
            "label_budgets.py::test_a_study_names_it_too",
            "label_budgets.py::test_clusters_without_a_label_of_a_class_are_marked_where_labels_named_them",
            "label_budgets.py::test_evaluate_marks_the_class_that_the_training_had_no_label_of",
        ),
    ),
}  # fmt: skip


def test_file(name: str) -> str:
    """The path of test_NAME.py below tests."""
    (path,) = Path("tests").rglob(f"test_{name}.py")
    return str(path)


def deselected(test: str) -> str:
    """The option that leaves out a test, given as NAME.py::TEST."""
    name, _, function = test.partition(".py::")
    return f"--deselect={test_file(name)}::{function}"


def settings(package: Package) -> str:
    """The setup.cfg that mutmut reads."""
    tests = [test_file(name) for name in package.tests]
    values = {
        "source_paths": ["bioseg_cli"],
        "only_mutate": [f"bioseg_cli/{pattern}" for pattern in package.files],
        "do_not_mutate": [f"bioseg_cli/{path}" for path in package.leave_out],
        # The words of a refusal are not changed; whether it comes, and when, is.
        "do_not_mutate_patterns": [r"^\s*raise \w+\("],
        "type_check_command": ["mypy", "bioseg_cli", "--output", "json", "--disable-error-code", "unused-ignore"],
        # Torch is loaded once, and no test has run in the process that the mutants' processes are forked from.
        "process_isolation": ["forkserver"],
        "on_dependency_change": ["ignore"],
        "pytest_add_cli_args_test_selection": tests + [deselected(test) for test in package.slow],
    }
    written = [f"{name} = " + "\n    ".join(several) for name, several in values.items() if several]
    return "\n".join(("[mutmut]", *written))


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


def mutmut(folder: Path, *arguments: str, check: bool = True) -> None:
    """Run mutmut in a folder: this Python's programs, a thread a process, the same random numbers every time."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    surroundings = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CI": "true", "PYTHONHASHSEED": "0"}
    with (folder / "mutmut.log").open("w") as log:
        code = subprocess.run(["mutmut", *arguments], cwd=folder, env=surroundings, stdout=log, stderr=log).returncode
    if code and check:
        raise SystemExit(f"mutmut exited with {code}: see {log.name}")


def found(folder: Path) -> dict[str, str]:
    """The state of every mutant there is."""
    states = {}
    for path in sorted((folder / "mutants").rglob("*.meta")):
        for mutant, code in json.loads(path.read_text())["exit_code_by_key"].items():
            states[mutant] = STATES.get(code, "killed")
    return states


def run(name: str, sample: int | None, seed: int, *, rest: bool) -> dict[str, str]:
    """The mutants of a package and what became of each, those that were not drawn aside."""
    folder = prepare(name, keep=rest)
    if sample is None and not rest:
        mutmut(folder, "run")
        return found(folder)
    # Nothing but a run makes the mutants, also one that then finds no mutant of the name.
    mutmut(folder, "run", "none", check=False)
    states = found(folder)
    drawn = sorted(states)
    if sample is not None:
        drawn = random.Random(seed).sample(drawn, min(sample, len(drawn)))
    wanted = [mutant for mutant in drawn if not rest or states[mutant] not in (*NOTICED, REFUSED)]
    if wanted:
        mutmut(folder, "run", *wanted)
    return {mutant: state if mutant in drawn else NOT_DRAWN for mutant, state in found(folder).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--sample", type=int, help="so many mutants a package, drawn at random; without it all")
    parser.add_argument("--seed", type=int, default=0, help="the draw")
    parser.add_argument(
        "--rest", action="store_true", help="keep what was found, and test what no test has noticed yet"
    )
    arguments = parser.parse_args()
    columns = (*NOTICED, *UNNOTICED, REFUSED, NOT_DRAWN)
    table = Table("package", "mutants", *columns, "noticed", "95 % interval")
    for name in arguments.package:
        states = run(name, arguments.sample, arguments.seed, rest=arguments.rest)
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
