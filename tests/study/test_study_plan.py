"""From a plan to runs, and from repeated runs to figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import write_discs
from helpers.plans import runs_of, write_plan

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.runs.manifest import run_hash
from bioseg_cli.study.statistics import compare, estimate, holm, reversals


def test_a_plan_becomes_every_combination_and_its_controls(disc_dataset: Path, tmp_path: Path) -> None:
    runs = runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset, iic={"epochs": 1}))
    # 4 repeats x (2 budgets x (control, KL, IID) + the control with all labels + IIC)
    assert len(runs) == 4 * (2 * 3 + 1 + 1)
    assert len({run.hash for run in runs}) == len({run.name for run in runs}) == len(runs)
    assert {(run.draw, run.seed) for run in runs if run.loss == "kl"} == {(0, 0), (0, 1), (1, 2), (1, 3)}
    every = [run for run in runs if run.budget is not None and run.budget.title == "all"]
    assert [run.config["labels"] for run in every] == [8] * 4
    assert {run.config["unsup_loss"] for run in every} == {"none"}
    assert all(run.config["steps"] == 3 for run in runs if run.loss != "iic")
    # A study cut short has whole repeats: all of the first before any of the second.
    seeds = [run.seed for run in runs]
    assert seeds == sorted(seeds)


def test_a_control_differs_from_its_run_in_the_loss_alone(disc_dataset: Path, tmp_path: Path) -> None:
    runs = runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset))
    for run in (candidate for candidate in runs if candidate.loss in ("kl", "iid")):
        (control,) = (
            other
            for other in runs
            if (other.loss, other.budget, other.draw, other.seed) == ("none", run.budget, run.draw, run.seed)
        )
        differing = {name for name in run.config if run.config[name] != control.config[name]}
        assert differing == {"unsup_loss"}


def test_a_control_denoises_nothing(disc_dataset: Path, tmp_path: Path) -> None:
    runs = runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset, uda={"denoise": 0.5, "pseudo_labels": "forest"}))
    assert {(run.loss, run.config["denoise"]) for run in runs} == {("none", 0.0), ("kl", 0.5), ("iid", 0.5)}
    assert {run.config["pseudo_labels"] for run in runs if run.loss == "none"} == {"none"}
    assert {run.config["pseudo_labels"] for run in runs if run.loss != "none"} == {"forest"}


def test_settings_that_differ_have_controls_of_their_own(disc_dataset: Path, tmp_path: Path) -> None:
    entries = [{"width": 4, "lr": 0.01}, {"width": 8, "lr": 0.01}]
    runs = runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset, uda=entries))
    # 4 repeats x 2 settings x (2 budgets x (control, KL, IID) + the control with all labels)
    assert len({run.name for run in runs}) == len({run.hash for run in runs}) == len(runs) == 4 * 2 * (2 * 3 + 1)
    assert {(run.variant, run.config["width"], run.config["lr"]) for run in runs} == {
        ("width 4", 4, 0.01), ("width 8", 8, 0.01),
    }  # fmt: skip
    for run in (candidate for candidate in runs if candidate.loss != "none"):
        (control,) = (
            other
            for other in runs
            if (other.loss, other.variant, other.budget, other.draw, other.seed)
            == ("none", run.variant, run.budget, run.draw, run.seed)
        )
        assert {name for name in run.config if run.config[name] != control.config[name]} == {"unsup_loss"}
    seeds = [run.seed for run in runs]
    assert seeds == sorted(seeds)


def test_settings_of_unlabelled_images_share_a_control(disc_dataset: Path, tmp_path: Path) -> None:
    entries = [{"width": 4}, {"width": 4, "denoise": 0.5, "confidence": 0.9}, {"width": 8, "confidence": 0.9}]
    runs = runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset, uda=entries, losses=["kl"], draws=1, seeds=1))
    controls = [run for run in runs if run.loss == "none" and run.budget is not None and run.budget.count == 2]
    assert [run.variant for run in controls] == [
        "width 4, confidence none, denoise 0.0",
        "width 4, confidence 0.9, denoise 0.5",
        "width 8, confidence 0.9, denoise 0.0",
    ]
    assert controls[0].name == controls[1].name != controls[2].name
    assert controls[0].config["confidence"] is None and controls[0].config["denoise"] == 0
    assert len({run.name for run in runs}) == len(runs) - 3  # two budgets, and all labels


def test_one_entry_is_the_plan_without_a_list(disc_dataset: Path, tmp_path: Path) -> None:
    entry = {"width": 4, "denoise": 0.5}
    alone, listed = (
        runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset, uda=given, iic={"epochs": 1}))
        for given in (entry, [entry])
    )
    assert alone == listed and {run.variant for run in alone} == {""}


def test_an_entry_may_say_its_loss(disc_dataset: Path, tmp_path: Path) -> None:
    entries = [{"unsup_loss": "none", "pseudo_labels": "forest"}, {"unsup_loss": "iid"}, {"denoise": 0.5}]
    changes = {"uda": entries, "losses": ["kl"], "labels": [2], "draws": 1, "seeds": 1}
    runs = runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset, **changes))
    assert [(run.variant, run.loss) for run in runs if run.config["labels"] == 2] == [
        ("pseudo_labels forest, unsup_loss none, denoise 0.0", "none"),
        ("pseudo_labels forest, unsup_loss none, denoise 0.0", "pseudo-labels"),
        ("pseudo_labels none, unsup_loss iid, denoise 0.0", "none"),
        ("pseudo_labels none, unsup_loss iid, denoise 0.0", "iid"),
        ("pseudo_labels none, unsup_loss of the plan, denoise 0.5", "none"),
        ("pseudo_labels none, unsup_loss of the plan, denoise 0.5", "kl"),
    ]
    assert len({run.name for run in runs if run.loss == "none"}) == 2
    supervised = runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset, **{**changes, "uda": {"unsup_loss": "none"}}))
    assert {run.loss for run in supervised} == {"none"}


def test_what_a_preset_leaves_open_is_called_default(disc_dataset: Path, tmp_path: Path) -> None:
    entries = [{"preset": "best"}, {"preset": "best", "lr": 0.001, "width": 64}]
    runs = runs_of(write_plan(tmp_path / "plan.yaml", disc_dataset, uda=entries))
    assert {run.variant for run in runs} == {"lr 0.002, width default", "lr 0.001, width 64"}


def test_ratios_that_mean_as_many_images_are_one_budget(disc_dataset: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.yaml", disc_dataset, ratios=[0.25, 0.3, 0.5], labels=[2])
    budgets = {run.budget.count: run.budget.title for run in runs_of(plan) if run.budget is not None}
    assert budgets == {2: "25 %", 4: "50 %", 8: "all"}


def test_label_draws_differ_and_each_is_nested(disc_dataset: Path) -> None:
    with Dataset(disc_dataset) as dataset:
        orders = [dataset.label_subset(count=8, draw=draw).tolist() for draw in range(4)]
        assert orders[0] == dataset.label_order.tolist()
        assert len({tuple(order) for order in orders}) == 4
        assert all(sorted(order) == sorted(orders[0]) for order in orders)
        assert dataset.label_subset(count=3, draw=2).tolist() == orders[2][:3]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 3, "epochs": 2}, "steps or epochs"),
        ({"losses": ["kl", "mse"]}, "mse"),
        ({"uda": {"widht": 4}}, "widht"),
        ({"uda": {"seed": 4}}, "set by the plan"),
        ({"uda": [{"width": 4}, {"seed": 4}]}, "set by the plan"),
        ({"uda": [{"width": 4}, {"widht": 4}]}, "widht"),
        ({"uda": [{}, {"lr": 0.1}, {"width": 64}]}, "entries 1 and 3 are the same"),
        ({"uda": []}, "the list is empty"),
        ({"draws": 10**9}, "up to 12,000,000,000 runs, and a study at most 10,000"),
        ({"seeds": 2**62}, "runs, and a study at most 10,000"),
        ({"iic": {"data": "x.h5"}}, "set by the plan"),
        ({"labels": [2, 9]}, "more than its 8 labelled"),
        ({"labels": [8]}, "leaves nothing unlabelled"),
        ({"ratios": [1.5]}, "ratios"),
        ({"baselines": ["otsu", "magic"]}, "magic"),
        ({"baselines": ["\ud800"]}, "half a character"),
        ({"typo": 1}, "typo"),
        ({"data": {}}, "data"),
    ],
)
def test_a_wrong_plan_is_refused_with_what_is_wrong(changes, said, disc_dataset: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.yaml", disc_dataset, **changes)
    with pytest.raises(UsageError, match=said) as refused:
        runs_of(plan)
    assert refused.value.where == str(plan)


def test_the_hash_is_of_what_a_result_depends_on() -> None:
    config = {"lr": 0.1, "seed": 1, "data": "a.h5", "run": "x", "resume": None, "cache": 4.0}
    known = run_hash("train-uda", config, "content")
    assert known == run_hash("train-uda", {**config, "data": "b.h5", "run": "y", "cache": 0.0}, "content")
    others = [
        run_hash("train-iic", config, "content"),
        run_hash("train-uda", {**config, "lr": 0.2}, "content"),
        run_hash("train-uda", config, "other content"),
    ]
    assert len({known, *others}) == 4


def test_five_repeats_agree_with_the_oracle(oracles: Path) -> None:
    with np.load(oracles / "o10_stats.npz") as oracle:
        a, b = ({(0, seed): float(value) for seed, value in enumerate(oracle[name])} for name in "ab")
        for name, values in (("a", a), ("b", b)):
            np.testing.assert_allclose(estimate(values).interval, oracle[f"{name}/mean_sd_lo_hi"], rtol=0, atol=1e-9)
        comparison = compare(b, a)
        assert comparison is not None and comparison.t is not None and comparison.wilcoxon is not None
        np.testing.assert_allclose(comparison.difference.interval, oracle["diff/mean_sd_lo_hi"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(comparison.t, oracle["paired_t"], rtol=1e-9)
        np.testing.assert_allclose(comparison.wilcoxon, oracle["wilcoxon_exact"], rtol=0, atol=1e-9)
        assert comparison.clear


def test_five_label_draws_of_two_seeds_each_count_as_five(oracles: Path) -> None:
    with np.load(oracles / "o10_stats.npz") as oracle:
        means, expected = oracle["a"], oracle["a/mean_sd_lo_hi"]
    spread = np.linspace(0.01, 0.03, 5)
    values = {
        (draw, 2 * draw + number): mean + sign * width
        for draw, (mean, width) in enumerate(zip(means, spread, strict=True))
        for number, sign in enumerate((-1, 1))
    }
    found = estimate(values)
    assert (found.runs, found.unit, len(found.units)) == (10, "label draw", 5)
    np.testing.assert_allclose(found.interval, expected, rtol=0, atol=1e-9)


def test_seeds_are_averaged_within_their_draw_and_draws_weigh_alike() -> None:
    found = estimate({(0, 0): 0.2, (0, 1): 0.4, (3, 5): 0.9})
    assert found.units == pytest.approx((0.3, 0.9))
    assert (found.mean, found.runs, found.unit, found.reservation) == (pytest.approx(0.6), 3, "label draw", None)
    one_draw = estimate({(2, 1): 0.4, (2, 0): 0.2})
    assert (one_draw.units, one_draw.unit) == ((0.2, 0.4), "seed")
    assert one_draw.reservation == "the interval is over seeds alone"


def test_a_single_run_has_no_interval_and_says_why() -> None:
    found = estimate({(0, 0): 0.9})
    assert found.interval is None
    assert found.reservation == "no interval: it is a single run, and one run has no spread"
    comparison = compare({(0, 0): 0.9}, {(0, 0): 0.8})
    assert comparison is not None
    assert (comparison.t, comparison.clear) == (None, None)


def test_two_runs_have_an_interval_and_of_seeds_alone_it_says_so() -> None:
    seeds = estimate({(0, 0): 0.5, (0, 1): 0.7})
    assert (seeds.unit, seeds.runs, seeds.units) == ("seed", 2, (0.5, 0.7))
    # Student's t of one degree of freedom is 12.706; the mean's standard error is 0.1.
    assert seeds.interval == pytest.approx((0.6, 0.02**0.5, 0.6 - 1.27062, 0.6 + 1.27062), abs=1e-5)
    assert seeds.reservation == "the interval is over seeds alone"
    draws = estimate({(0, 0): 0.5, (1, 0): 0.7})
    assert (draws.unit, draws.units, draws.interval) == ("label draw", (0.5, 0.7), seeds.interval)
    assert draws.reservation is None


def test_as_good_with_more_labels_is_no_fall() -> None:
    even = {5: {(0, 0): 0.5, (0, 1): 0.7}, 10: {(0, 0): 0.7, (0, 1): 0.5}}
    assert reversals(even) == []
    even[10][0, 0] = 0.69
    assert [(fall.less, fall.more) for fall in reversals(even)] == [(5, 10)]


def test_only_repeats_that_both_have_are_compared() -> None:
    first = {(0, 0): 0.9, (1, 1): 0.8, (2, 2): 0.7}
    second = {(0, 0): 0.8, (2, 2): 0.5, (3, 3): 0.1}
    comparison = compare(first, second)
    assert comparison is not None
    assert comparison.difference.units == pytest.approx((0.1, 0.2))
    assert comparison.unpaired == 2
    assert compare(first, {(7, 7): 0.1}) is None


def test_equal_runs_have_a_difference_and_no_test() -> None:
    values = {(draw, draw): 0.8 + 0.01 * draw for draw in range(4)}
    comparison = compare(values, values)
    assert comparison is not None
    assert (comparison.difference.mean, comparison.t, comparison.clear) == (0, None, False)


def test_a_fall_with_more_labels_is_noise_unless_it_holds() -> None:
    steady = {(i, i): 0.9 + 0.001 * i for i in range(5)}
    lower = {repeat: value - 0.05 - 0.001 * repeat[0] for repeat, value in steady.items()}
    jumping = {repeat: value + (0.3 if repeat[0] == 0 else -0.09) for repeat, value in lower.items()}
    found = {
        (reversal.less, reversal.more): reversal.verdict for reversal in reversals({10: steady, 25: lower, 50: jumping})
    }
    assert found == {(10, 25): "holds over the repeats", (25, 50): "noise: its interval contains 0"}
    assert reversals({10: lower, 25: steady}) == []
    assert reversals({10: steady, 25: steady}) == []
    single = reversals({10: {(0, 0): 0.9}, 25: {(0, 0): 0.8}})
    assert [reversal.verdict for reversal in single] == ["cannot be told from noise: single runs"]


def test_holm_corrects_step_by_step() -> None:
    # By hand: 0.01 x 4, then 0.02 x 3, then 0.03 x 2, then the running maximum for 0.04.
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.6]), [1.0, 1.0])
    assert holm([]).size == 0


def test_a_data_set_with_unlabelled_images_may_use_all_its_labels(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "discs.h5", unlabelled=(0, 1))
    budgets = [run.budget for run in runs_of(write_plan(tmp_path / "plan.yaml", data, labels=[6])) if run.budget]
    # Its controls are the ones with all labels: there are no others of as many.
    assert {(budget.count, budget.title) for budget in budgets} == {(6, "6 labels")}
