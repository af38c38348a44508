"""From a plan to its runs: data sets x settings x label budgets x losses x label draws x seeds, and controls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bioseg_cli.config import build_config, read_config
from bioseg_cli.dataset.area import unlabelled_pool
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.io.files import sha256_of
from bioseg_cli.runs.directory import checkpoint_of
from bioseg_cli.runs.manifest import run_hash
from bioseg_cli.study.settings import DEFAULT_RATIOS, Plan, file_key
from bioseg_cli.study.variants import Variant, variants_of
from bioseg_cli.training import alike
from bioseg_cli.training.labels import refuse_single_class
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig
from bioseg_cli.training.without_effect import refuse_without_effect

CONTROL = "none"
"""The unsupervised loss of a supervised control."""
IIC = "iic"

METHOD_NAMES = {
    CONTROL: "control",
    "kl": "KL",
    "iid": "IID",
    "fixmatch": "FixMatch",
    alike.DENOISED: "denoising",
    alike.PSEUDO_LABELLED: "pseudo-labels",
    IIC: "IIC",
}
"""What tables call a method."""

HASH_SHOWN = 8
"""Characters of its hash in the name of a run: with other settings it is another folder, and nothing is replaced."""


@dataclass(frozen=True)
class Budget:
    """How many images a run has labels of.

    Attributes:
        count: images.
        title: as the plan has it: "10 %", "5 labels", or "all".
    """

    count: int
    title: str


@dataclass(frozen=True)
class PlannedRun:
    """One training that the plan asks for.

    Attributes:
        name: of its run directory.
        data: name of the data set in the plan.
        command: of bioseg that trains it.
        variant: what tables call its settings, where the plan compares several; see `variants.Variant`.
        loss: what tables call its method: the unsupervised loss, or one of the names of `training.alike`, `none` for a
            supervised control; of other methods than UDA their name.
        budget: labelled images; None without labels.
        draw: which choice of them.
        seed: of the run.
        config: all its settings but where it is written, as JSON has them.
        hash: of the settings that matter and of the data; that of the manifest where the run is finished.
    """

    name: str
    data: str
    command: str
    variant: str
    loss: str
    budget: Budget | None
    draw: int
    seed: int
    config: Mapping[str, Any]
    hash: str


@dataclass(frozen=True)
class DataFacts:
    """What of a data set decides on its runs."""

    path: Path
    content_hash: str
    objects_hash: str | None
    labelled: int
    unlabelled: int


def read_plan(path: Path) -> Plan:
    """The plan in a YAML file; raises `UsageError` that names what is wrong in it."""
    return build_config(Plan, read_config(path, Plan), source=path)


def expand(plan: Plan, source: Path) -> list[PlannedRun]:
    """Every run of a plan, whole repeats one after the other, so that a study cut short is a balanced one.

    Several settings may share a control: it is one training, of one name, and here for each of them.

    Beside what the plan names there are, without asking, the supervised control with the same labels, images and
    seed of each run, and the one with all labels.

    Args:
        plan: see `docs/study.md`.
        source: its file, for messages.

    Raises:
        DataError: a data set is missing or damaged, or all its masks show a single class.
        UsageError: settings that do not exist, more labels than there are, or labels that show a single class.
    """
    facts = {file: _facts(file) for file in dict.fromkeys(_files(plan))}
    variants = variants_of(plan, source)
    runs: dict[tuple[str, str], PlannedRun] = {}
    for draw, seed in plan.repeats:
        for data in plan.data:
            for run in _runs_of(plan, variants, data, facts, draw, seed, source):
                runs.setdefault((run.name, run.variant), run)
    for data in plan.data:
        if (file := plan.file_of(data, "uda")) is not None:
            of_data = (run for run in runs.values() if run.data == data)
            _refuse_single_class(file, {(run.draw, run.budget.count) for run in of_data if run.budget}, source)
    return list(runs.values())


def _refuse_single_class(file: Path, budgets: Iterable[tuple[int, int]], source: Path) -> None:
    """Raise an error where the labelled images of a draw and budget show one class: no run could learn from them."""
    with Dataset(file) as dataset:
        for draw, count in sorted(budgets):
            of_draw = dataset.label_budgets(draw)
            fix = f"Of label draw {draw}, ask for {of_draw.enough} labels or more of {file}."
            refuse_single_class(dataset, of_draw, count, fix=fix, where=source)


def _files(plan: Plan) -> Iterator[Path]:
    for data in plan.data:
        for key in plan.file_keys:
            if (file := plan.file_of(data, key)) is not None:
                yield file


def _facts(path: Path) -> DataFacts:
    with Dataset(path) as dataset:
        unlabelled = len(unlabelled_pool(dataset, dataset.label_order))
        hashes = dataset.content_hash, dataset.objects_hash
        return DataFacts(path.resolve(), *hashes, len(dataset.label_order), unlabelled)


def _runs_of(
    plan: Plan,
    variants: Sequence[Variant],
    data: str,
    facts: Mapping[Path, DataFacts],
    draw: int,
    seed: int,
    source: Path,
) -> Iterator[PlannedRun]:
    """The runs of one repeat on one data set."""
    if (file := plan.file_of(data, "uda")) is not None:
        known = facts[file]
        budgets = _budgets(plan, known, source)
        for variant in variants:
            for budget in budgets:
                yield _control(plan, data, known, variant, budget, draw, seed, source)
                for loss in variant.losses:
                    run = _uda(plan, data, known, variant, loss, budget, draw, seed, source)
                    if run.loss != CONTROL:
                        yield run
            if all(budget.count < known.labelled for budget in budgets):
                yield _control(plan, data, known, variant, Budget(known.labelled, "all"), 0, seed, source)
    for name, settings in plan.further.items():
        model = plan.method(name)
        if (file := plan.file_of(data, file_key(model))) is None:
            continue
        values = {**settings, "seed": seed}
        if not model.learns_from_labels:
            yield _planned(data, facts[file], model, values, f"{data}-{name}-seed{seed}", name, None, 0, source)
            continue
        for budget in _budgets(plan, facts[file], source):
            labelled = {**values, **plan.budget, "labels": budget.count, "label_draw": draw}
            called = f"{data}-{name}-{budget.count}labels-draw{draw}-seed{seed}"
            yield _planned(data, facts[file], model, labelled, called, name, budget, draw, source)


def _budgets(plan: Plan, facts: DataFacts, source: Path) -> list[Budget]:
    """In ascending order, each number of images once."""
    ratios = plan.ratios or (() if plan.labels else DEFAULT_RATIOS)
    asked = [Budget(max(1, round(ratio * facts.labelled)), f"{100 * ratio:g} %") for ratio in ratios]
    asked += [Budget(count, f"{count} label{'s' * (count > 1)}") for count in plan.labels]
    most = facts.labelled if facts.unlabelled else facts.labelled - 1
    for budget in asked:
        if budget.count > most:
            raise UsageError(
                f"{budget.title} of {facts.path} leaves nothing unlabelled, or is more than its "
                f"{facts.labelled} labelled training images",
                where=source,
                fix="Ask for less; the control with all labels is run without asking.",
            )
    unique = {budget.count: budget for budget in reversed(asked)}
    return [unique[count] for count in sorted(unique)]


def _control(
    plan: Plan, data: str, facts: DataFacts, variant: Variant, budget: Budget, draw: int, seed: int, source: Path
) -> PlannedRun:
    supervised = replace(variant, settings={**variant.control, **alike.CONTROL})
    return _uda(plan, data, facts, supervised, CONTROL, budget, draw, seed, source)


def _uda(
    plan: Plan,
    data: str,
    facts: DataFacts,
    variant: Variant,
    loss: str,
    budget: Budget,
    draw: int,
    seed: int,
    source: Path,
) -> PlannedRun:
    values = {
        **variant.settings,
        **plan.budget,
        "labels": budget.count,
        "label_draw": draw,
        "unsup_loss": loss,
        "seed": seed,
    }
    learnt_by = alike.learnt_by(values, loss)
    which = "all" if budget.title == "all" else f"{budget.count}labels-draw{draw}"
    method = "supervised" if learnt_by == CONTROL else learnt_by
    name = f"{data}-{method}-{which}-seed{seed}"
    return _planned(data, facts, TrainUDAConfig, values, name, learnt_by, budget, draw, source, variant.name)


def _planned(
    data: str,
    facts: DataFacts,
    model: type[TrainConfig],
    values: Mapping[str, Any],
    name: str,
    loss: str,
    budget: Budget | None,
    draw: int,
    source: Path,
    variant: str = "",
) -> PlannedRun:
    built = build_config(model, {**values, "data": facts.path}, source=source)
    refuse_without_effect(built, source)
    config = built.model_dump(mode="json")
    start = config["init_from"]
    weights_hash = None if start is None else sha256_of(checkpoint_of(Path(start), None))
    identity = run_hash(model.command, config, facts.content_hash, weights_hash, facts.objects_hash)
    return PlannedRun(
        name=f"{name}-{identity[:HASH_SHOWN]}",
        data=data,
        command=model.command,
        variant=variant,
        loss=loss,
        budget=budget,
        draw=draw,
        seed=config["seed"],
        config=config,
        hash=identity,
    )
