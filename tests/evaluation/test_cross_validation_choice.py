"""`evaluate --cross-validate` of several runs: which are compared, which is chosen, and what is said of the choice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import Result
from conftest import write_discs

from bioseg_cli.evaluation.choice import choose
from bioseg_cli.evaluation.report import Evaluation
from bioseg_cli.evaluation.scores import ImageCounts, Resampling, score_images

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SETTINGS = ("--width", 4, "--lr", 0.02, "--steps", 20, "--epoch-steps", 20, "--quiet")
SUPERVISED = ("--unsup-loss", "none")
PIXELS = 100


def row(name: str, *right: int, group: str | None = None) -> Evaluation:
    """A row of images of 100 pixels, half of each class, of which so many are right, evenly over the classes."""
    counts = np.array([[[n - n // 2, (PIXELS - n) // 2], [(PIXELS - n + 1) // 2, n // 2]] for n in right])
    names = tuple(f"i{number}" for number in range(len(right)))
    images = ImageCounts(names, names if group is None else (group,) * len(right), counts)
    return Evaluation(name, images, score_images(images, ["background", "cell"], Resampling()))


CONTROL = row("control", 80, 82, 84)
BETTER, EQUAL, BEST = row("better", 82, 84, 86), row("equal", 80, 82, 84), row("best", 90, 70, 96)
WORSE = row("worse", 78, 80, 82)


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [
        ([BETTER], "better"),
        ([EQUAL], "equal"),
        ([WORSE], "control"),
        ([WORSE, BETTER, BEST], "best"),
        ([WORSE, EQUAL], "equal"),
        ([BETTER, row("as good", 82, 84, 86)], "better"),
    ],
)
def test_a_run_is_preferred_where_its_mean_is_not_below_that_of_the_control(
    runs: list[Evaluation], chosen: str
) -> None:
    found, sentence = choose(runs, CONTROL, Resampling())
    assert found.name == chosen
    assert sentence.startswith(f"Use {'the control ' if chosen == 'control' else ''}{chosen}: ")


def test_without_a_control_the_highest_mean_is_named_with_its_difference_to_the_next() -> None:
    found, sentence = choose([WORSE, BEST, BETTER, CONTROL], None, Resampling())
    assert found is BEST
    gain = BEST.score.mean_iou - BETTER.score.mean_iou
    assert f"highest mIoU of the 4 runs, difference {gain:+.4f}, 95 % interval" in sentence
    assert sentence.endswith("to better. The interval holds 0, and 3 images decide little.")


def test_what_the_images_decide_is_said() -> None:
    _, sentence = choose([BETTER], CONTROL, Resampling())
    assert sentence.endswith("). 3 images decide little.") and "95 % interval +0." in sentence
    _, sentence = choose([BEST], CONTROL, Resampling())
    assert sentence.endswith("). The interval holds 0, and 3 images decide little.")
    _, sentence = choose([WORSE, row("bad", 60, 60, 60)], CONTROL, Resampling())
    assert "no run reaches its mIoU (the highest, worse: difference -0." in sentence
    _, sentence = choose([row("one", 90)], row("control", 80), Resampling())
    assert "interval -" not in sentence
    assert sentence.endswith("Parts of a single labelled image give no interval: the mean alone has decided.")
    grouped = row("frames", 90, 92, group="a"), row("control", 80, 81, group="a")
    _, sentence = choose([grouped[0]], grouped[1], Resampling(by_group=True))
    assert sentence.endswith("Images of a single group give no interval: the mean alone has decided.")


class Runs:
    """Runs on one small data set, trained when they are asked for."""

    def __init__(self, bioseg: Cli, root: Path) -> None:
        self.bioseg, self.root = bioseg, root
        self.data = write_discs(root / "few.h5", ("train",) * 5, unlabelled=(4,))

    def trained(self, name: str, *options: object) -> Path:
        run = self.root / name
        if not run.exists():
            result = self.bioseg("train-uda", self.data, "--run", run, *SETTINGS, *options)
            assert result.exit_code == 0, result.output
        return run

    @property
    def control(self) -> Path:
        return self.trained("control", "--labels", 3, *SUPERVISED)

    @property
    def semi(self) -> Path:
        return self.trained("semi", "--labels", 3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, bioseg: Cli) -> Runs:
    return Runs(bioseg, tmp_path_factory.mktemp("arms"))


def evaluated(bioseg: Cli, *arguments: object) -> list[dict[str, Any]]:
    options = ("--cross-validate", "--json", "--draws", 100, "--baselines", "none")
    result = bioseg("evaluate", *arguments, *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["runs"]


def test_a_run_and_its_control_are_compared_image_by_image(bioseg: Cli, runs: Runs) -> None:
    (found,) = evaluated(bioseg, runs.semi, "--control", runs.control)
    (alone,) = evaluated(bioseg, runs.control)
    control = found["control"]
    assert control["run"] == str(runs.control)
    # The control is cross-validated like any run.
    assert control["confusion"] == alone["confusion"] != found["confusion"]
    assert control["difference"] == pytest.approx(found["mean_iou"] - control["mean_iou"])
    low, high = control["interval"]
    assert low <= control["difference"] <= high
    keys = {"folds", "updates", "temperature", "nll", "stored"}
    assert found["cross_validation"].keys() == control["cross_validation"].keys() == keys
    preferred = runs.semi if control["difference"] >= 0 else runs.control
    assert found["chosen"] == str(preferred)
    assert found["notes"][0].startswith("Use ") and str(preferred) in found["notes"][0]
    assert not any("alone." in note for note in found["notes"])
    assert "chosen" not in alone and "control" not in alone


def test_the_table_shows_the_arms_their_differences_and_the_choice(bioseg: Cli, runs: Runs) -> None:
    result = bioseg("evaluate", runs.semi, "--control", runs.control, "--cross-validate", "--draws", 100)
    assert result.exit_code == 0, result.output
    assert "control (control)" in result.stdout and "mIoU minus that of the control" in result.stdout
    assert result.stdout.count("- Use ") == 1


def test_runs_without_a_control_stand_in_one_report(bioseg: Cli, runs: Runs, tmp_path: Path) -> None:
    first, second = evaluated(bioseg, runs.semi, runs.control, runs.semi, "--csv", tmp_path / "table.csv")
    assert (first["run"], second["run"]) == (str(runs.semi), str(runs.control))
    best = max((first, second), key=lambda run: run["mean_iou"])
    assert first["chosen"] == second["chosen"] == best["run"]
    assert first["notes"] == second["notes"]
    assert sum(note.startswith("Cross-validation: 3 labelled images") for note in first["notes"]) == 1


def test_runs_with_other_labels_or_data_are_not_compared(bioseg: Cli, runs: Runs, tmp_path: Path) -> None:
    two = runs.trained("two", "--labels", 2, *SUPERVISED)
    other = tmp_path / "other"
    result = bioseg("train-uda", write_discs(tmp_path / "o.h5", ("train",) * 4), "--run", other, "--labels", 3,
                    *SETTINGS, *SUPERVISED)  # fmt: skip
    assert result.exit_code == 0, result.output
    found = evaluated(bioseg, two, runs.semi, other, "--control", runs.control)
    by_run = {row["run"]: row for row in found}
    assert {run for run, row in by_run.items() if "chosen" in row} == {str(runs.semi)}
    assert {run for run, row in by_run.items() if "control" in row} == {str(runs.semi)}
    assert by_run[str(two)]["images"] == 2
    result = bioseg("evaluate", two, "--control", runs.control, "--cross-validate")
    assert result.exit_code == 2
    assert "no run beside it has the same data and labelled images" in " ".join(result.output.split())


def test_a_control_among_the_runs_is_trained_once(bioseg: Cli, runs: Runs) -> None:
    options = ("--cross-validate", "--control", runs.control, "--draws", 100, "--baselines", "none")
    result = bioseg("evaluate", runs.control, runs.semi, *options)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("training 1 of 3") == 2
    result = bioseg("evaluate", runs.control, *options)
    assert result.exit_code == 2 and "no run beside it" in " ".join(result.output.split())


def test_a_control_that_learns_from_unlabelled_images_is_refused_before_anything_is_trained(
    bioseg: Cli, runs: Runs
) -> None:
    result = bioseg("evaluate", runs.control, "--control", runs.semi, "--cross-validate")
    assert result.exit_code == 2
    assert "--control learns from unlabelled images itself: unsup_loss (kl" in " ".join(result.output.split())
    assert "training 1 of" not in result.output


def test_what_else_differs_from_the_control_is_said(bioseg: Cli, runs: Runs) -> None:
    wide = runs.trained("wide", "--labels", 3, *SUPERVISED, "--width", 6)
    (found,) = evaluated(bioseg, wide, "--control", runs.control)
    said = f"{wide} and its control differ in width (6 and 4): their difference is not the work of unlabelled images"
    assert any(note.startswith(said) for note in found["notes"])


def test_trainings_of_other_lengths_are_said_run_by_run(bioseg: Cli, runs: Runs) -> None:
    short = runs.trained("short", "--labels", 3, *SUPERVISED, "--steps", 10, "--epoch-steps", 10)
    found = evaluated(bioseg, short, runs.control)
    for run, updates in ((short, 10), (runs.control, 20)):
        said = f"Cross-validation of {run}: 3 labelled images, each scored by a network that was trained without it, "
        assert f"{said}with {updates} of the run's {updates} updates." in " ".join(found[0]["notes"])


def test_parts_of_a_single_image_have_no_interval(bioseg: Cli, runs: Runs) -> None:
    control = runs.trained("control1", "--labels", 1, *SUPERVISED)
    (found,) = evaluated(bioseg, runs.trained("semi1", "--labels", 1), "--control", control)
    assert found["control"]["interval"] == [None, None]
    assert (found["chosen"] == str(control)) == (found["control"]["difference"] < 0)
    assert found["notes"][0].endswith("Parts of a single labelled image give no interval: the mean alone has decided.")


def test_a_guard_that_hands_out_the_control_is_said(bioseg: Cli, runs: Runs) -> None:
    guarded = runs.root / "guarded"
    shutil.copytree(runs.semi, guarded)
    path = guarded / "manifest.yaml"
    content = yaml.safe_load(path.read_text())
    content["guard"] = {**content.get("guard", {}), "hands_out": "control", "alarms": ["odd"]}
    path.write_text(yaml.safe_dump(content))
    (found,) = evaluated(bioseg, guarded, "--control", runs.control)
    assert f"{guarded}: its guard hands out the supervised control (odd)." in found["notes"]
