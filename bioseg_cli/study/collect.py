"""Gathering what is known: of a study from its folder, or of any runs by scoring them now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bioseg_cli.config import SplitName
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.evaluation.report import Evaluation
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import Manifest, read_manifest
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.section import problems_of
from bioseg_cli.study.folder import ENDED, StudyFolder, is_study, status_of
from bioseg_cli.study.forest import FOREST, forest_file, forest_rows, score_forest
from bioseg_cli.study.grid import CONTROL, Budget
from bioseg_cli.study.record import RunEntry, StudyRecord
from bioseg_cli.study.results import (
    RunResult,
    ScoreRow,
    StudyResults,
    baselines_request,
    forest_request,
    read_scores,
    run_request,
)
from bioseg_cli.study.settings import Plan, file_key
from bioseg_cli.training.alike import learnt_by, unlike_control, unlike_repeat
from bioseg_cli.training.registry import METHODS


def results_of(paths: Sequence[Path], *, split: SplitName, output: Output) -> StudyResults:
    """The results of one study, or of runs that belong to none.

    Args:
        paths: a folder of a study, or run directories.
        split: what runs are scored on; a study has its own.
        output: for progress.

    Raises:
        UsageError: a study among other paths.
        DataError: not a run, or its data set is gone.
    """
    studies = [path for path in paths if is_study(path)]
    if studies and len(paths) > 1:
        raise UsageError("A report is of one study, or of runs", where=studies[0], fix="Give it alone.")
    return results_of_study(StudyFolder(studies[0])) if studies else results_of_runs(paths, split, output)


def results_of_study(folder: StudyFolder) -> StudyResults:
    """All that is in the folder of a study, which may still be going on.

    Raises:
        DataError: its manifest or its scores are damaged.
    """
    manifest = read_manifest(folder.path)
    try:
        record = StudyRecord.model_validate(manifest)
        plan = Plan.model_validate(record.config)
        named = {entry.title: entry.data for entry in record.runs}
        files = {title: record.data[data] for title, data in named.items()}
    except (KeyError, ValidationError) as error:
        said = problems_of(error) if isinstance(error, ValidationError) else f"data: {error} is missing"
        fix = "Carry the plan out again: what has ended is kept."
        raise DataError(f"The manifest of the study is damaged ({said})", where=folder.manifest, fix=fix) from None
    alone = [_run_of_study(folder, plan, entry) for entry in record.runs]
    manifests = [_manifest(run) for run in alone]
    runs = with_draws_of_their_own(alone, manifests)
    baselines = {data: _baselines(folder, plan, data) for data in record.data}
    return StudyResults(
        title=record.title,
        split=plan.split,
        files=files,
        runs=with_controls(runs, manifests),
        baselines={
            title: (*baselines[data], *_forests(folder, plan, [run for run in runs if run.data == title], data))
            for title, data in named.items()
        },
        settings=record.config,
    )


def _run_of_study(folder: StudyFolder, plan: Plan, entry: RunEntry) -> RunResult:
    path = folder.run(entry.name)
    status, failure = status_of(path, entry.hash)
    wanted = run_request(plan.split, plan.states)
    rows = read_scores(folder.scores(entry.name), wanted, entry.hash) or ()
    if status in ENDED and not rows and entry.failure is not None:
        status, failure = "failed", entry.failure
    elif failure is None and status not in ENDED:
        failure = entry.failure
    manifest = Manifest.read(path) if status in ENDED else None
    return RunResult(
        name=entry.name,
        path=path,
        data=entry.title,
        loss=entry.loss,
        budget=entry.budget,
        draw=entry.draw,
        seed=entry.seed,
        hash=entry.hash,
        status=status,
        failure=failure,
        collapse={} if manifest is None else manifest.collapse,
        rows=rows,
        labelled_share=None if manifest is None else _labelled_share(manifest),
        unseen=() if manifest is None else _unseen(manifest),
    )


def _manifest(run: RunResult) -> Manifest | None:
    return Manifest.read(run.path) if run.status in ENDED else None


def _labelled_share(manifest: Manifest) -> float | None:
    return None if manifest.labels is None else manifest.labels.share


def _unseen(manifest: Manifest) -> tuple[str, ...]:
    labelled = manifest.labelled_images
    return (labelled and labelled.unseen) or ()


def with_draws_of_their_own(runs: Sequence[RunResult], manifests: Sequence[Manifest | None]) -> tuple[RunResult, ...]:
    """The runs, with one label draw for all that have the same labelled images: these are not independent.

    Of few images, two draws may choose the same.

    Args:
        runs: of a study, or any.
        manifests: of each; None where it has not ended.
    """
    first: dict[tuple[str, frozenset[str]], int] = {}
    found = []
    for run, manifest in zip(runs, manifests, strict=True):
        if manifest is not None and manifest.labels is not None and manifest.labels.images is not None:
            choice = run.data, frozenset(manifest.labels.images)
            run = replace(run, draw=first.setdefault(choice, run.draw))
        found.append(run)
    return tuple(found)


def with_controls(runs: Sequence[RunResult], manifests: Sequence[Manifest | None]) -> tuple[RunResult, ...]:
    """The runs, each with what it differs in from the one that its place in the tables makes its control.

    Args:
        runs: of a study, or any.
        manifests: of each; None where it has not ended.
    """
    known = {
        (run.data, run.loss, run.count, run.repeat): manifest for run, manifest in zip(runs, manifests, strict=True)
    }
    found = []
    for run, manifest in zip(runs, manifests, strict=True):
        control = known.get((run.data, CONTROL, run.count, run.repeat))
        if run.count is not None and manifest is not None and control is not None:
            run = replace(run, unlike_control=tuple(unlike_control(manifest, control)))
        found.append(run)
    return tuple(found)


def _baselines(folder: StudyFolder, plan: Plan, data: str) -> tuple[ScoreRow, ...]:
    """Those of a data set; none where they are not scored yet."""
    path = folder.scores(f"{data}.baselines")
    # A study that goes on with a changed file finds that out itself; here any that were scored as planned will do. In
    # studies from before forests had label budgets, one of all labels is among them.
    for names in (plan.label_free_baselines, plan.baselines):
        if (rows := read_scores(path, baselines_request(plan.split, names), None)) is not None:
            return rows
    return ()


def _forests(folder: StudyFolder, plan: Plan, runs: Sequence[RunResult], data: str) -> tuple[ScoreRow, ...]:
    """Those of runs on a data set, as far as they are scored."""
    if FOREST not in plan.baselines:
        return ()
    found: dict[int, dict[int, ScoreRow]] = {}
    for run in runs:
        if run.count is not None:
            path = folder.scores(forest_file(data, run.count, run.draw))
            for row in read_scores(path, forest_request(plan.split, run.count, run.draw), None) or ():
                found.setdefault(run.count, {})[run.draw] = row
    return forest_rows(found)


def results_of_runs(paths: Sequence[Path], split: SplitName, output: Output) -> StudyResults:
    """Score runs, each in the states that it has, and their baselines.

    Raises:
        DataError: not a run, or a data set that is gone or has no image to score on.
    """
    from bioseg_cli.evaluation.runs import evaluate_runs
    from bioseg_cli.evaluation.session import NoFigures
    from bioseg_cli.evaluation.settings import EvaluateConfig

    manifests = [RunDirectory.open(path).manifest for path in paths]
    refuse_no_repeats(paths, manifests)
    data_names = _data_names([Path(manifest.data.path) for manifest in manifests])
    runs = []
    baselines: dict[str, tuple[ScoreRow, ...]] = {}
    files: dict[str, dict[str, Path]] = {}
    for path, manifest in zip(paths, manifests, strict=True):
        file = Path(manifest.data.path)
        data = data_names[file]
        config = EvaluateConfig(runs=(path,), split=split, state="all", baselines=("otsu", "kmeans", "all-background"))
        (report,) = evaluate_runs(config, output, NoFigures())
        baselines.setdefault(data, tuple(ScoreRow.of(baseline) for baseline in report.baselines))
        files.setdefault(data, {})[file_key(METHODS.of_command(manifest.command))] = file
        runs.append(_run_alone(path, manifest, data, report.evaluations))
    for data, rows in _forests_of_runs(manifests, data_names, split, output).items():
        baselines[data] += rows
    return StudyResults(
        title=", ".join(path.name for path in paths),
        split=split,
        files=files,
        runs=with_controls(with_draws_of_their_own(runs, manifests), manifests),
        baselines=baselines,
        settings={},
    )


def _forests_of_runs(
    manifests: Sequence[Manifest], data_names: Mapping[Path, str], split: SplitName, output: Output
) -> dict[str, tuple[ScoreRow, ...]]:
    """The forests beside runs, by data set: one for each choice of labelled images that they have."""
    choices: dict[Path, list[frozenset[str]]] = {}
    for manifest in manifests:
        images = frozenset((manifest.labels and manifest.labels.images) or ())
        known = choices.setdefault(Path(manifest.data.path), [])
        if images and images not in known:
            known.append(images)
    rows = {}
    for file, of_data in choices.items():
        found: dict[int, dict[int, ScoreRow]] = {}
        with Dataset(file) as dataset:
            for images in of_data:
                order = dataset.label_order
                labelled = order[[dataset.name(int(index)) in images for index in order]]
                draws = found.setdefault(len(images), {})
                draws[len(draws)] = score_forest(dataset, labelled, split, output)
        rows[data_names[file]] = forest_rows(found)
    return rows


def refuse_no_repeats(paths: Sequence[Path], manifests: Sequence[Manifest]) -> None:
    """Raise `UsageError` where a cell of the tables would be the mean of runs that are no repeats of each other."""
    cells: dict[tuple[Any, ...], tuple[Path, Manifest]] = {}
    for path, manifest in zip(paths, manifests, strict=True):
        loss, count = _loss(manifest), None if manifest.labels is None else manifest.labels.count
        first, known = cells.setdefault((manifest.data.path, loss, count), (path, manifest))
        if said := unlike_repeat(known, manifest):
            raise UsageError(
                f"{first} and {path} would be repeats of one figure of the tables, and differ in {', '.join(said)}",
                fix="Report them one at a time.",
            )


def _loss(manifest: Manifest) -> str:
    """What tables tell the run of a manifest apart by."""
    return learnt_by(manifest.config, manifest.command.removeprefix(METHODS.prefix))


def _data_names(files: Sequence[Path]) -> dict[Path, str]:
    """What tables call data sets: the stem of the file, or all of its path where that is another's too."""
    distinct = set(files)
    stems = Counter(file.stem for file in distinct)
    return {file: file.stem if stems[file.stem] == 1 else str(file) for file in distinct}


def _run_alone(path: Path, manifest: Manifest, data: str, scored: Sequence[Evaluation]) -> RunResult:
    labels, settings = manifest.labels, manifest.config
    loss = _loss(manifest)
    budget = None
    if labels is not None:
        count = labels.count
        every = loss == CONTROL and count == labels.of
        budget = Budget(count, "all" if every else f"{count} label{'s' * (count > 1)}")
    return RunResult(
        name=path.name,
        path=path,
        data=data,
        loss=loss,
        budget=budget,
        draw=settings.get("label_draw", 0),
        seed=settings["seed"],
        hash=manifest.hash,
        status=str(manifest.status),
        failure=manifest.failure,
        collapse=manifest.collapse,
        rows=tuple(ScoreRow.of(row) for row in scored),
        labelled_share=_labelled_share(manifest),
        unseen=next((row.unseen for row in scored if row.unseen), ()),
    )
