"""The results in a few sentences, whoever wins."""

from __future__ import annotations

from collections.abc import Sequence

from bioseg_cli.report import words
from bioseg_cli.report.comparisons import BETTER, UNTOLD, WORSE, reading
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.tables import how_they_ended
from bioseg_cli.study.grid import CONTROL, IIC
from bioseg_cli.study.results import RunResult
from bioseg_cli.study.statistics import SINGLE

SIGNIFICANT = 0.05
OTHER_SPLITS = {
    "val": " Saved states were chosen on this split, which flatters them.",
    "train": " The runs were trained on this split: the figures say nothing of new images.",
}
NAMED = 6
"""Runs that are named in a sentence; of more the number is given, and the table of runs has them all."""


def sentences(findings: Findings) -> list[str]:
    """What was compared, what came out, and what is missing; a paragraph each."""
    parts = (
        _compared, _against_the_control, _without_control, _without_labels, _repeats, _missing, _unseen, _collapsed
    )  # fmt: skip
    return [sentence for part in parts if (sentence := part(findings))]


def _compared(findings: Findings) -> str:
    results = findings.results
    with_labels = [run for run in results.runs if run.loss != IIC]
    count = len({run.name for run in results.runs})
    said = f"{words.counted(count, 'run')} on {words.listed(results.data)}, scored on the {results.split} "
    said += f"split ({_images(findings)})."
    losses = [words.method(loss) for loss in results.losses]
    if losses:
        said += f" Unsupervised losses: {words.listed(losses)}"
        controlled = any(run.loss == CONTROL for run in with_labels)
        said += ", beside the supervised control with the same labels." if controlled else ", without a control."
    elif with_labels:
        said += " Supervised trainings alone."
    if any(run.loss == IIC for run in results.runs):
        said += " IIC was trained without labels."
    return said + OTHER_SPLITS.get(results.split, "")


def _images(findings: Findings) -> str:
    counts: dict[str, int] = {}
    for run in findings.results.runs:
        if run.rows:
            counts.setdefault(run.data, run.rows[0].score.images)
    if len(counts) > 1:
        return ", ".join(f"{data} {count}" for data, count in counts.items()) + " images"
    return words.counted(max(counts.values()), "image") if counts else "nothing was scored"


def _against_the_control(findings: Findings) -> str:
    compared = [cell.control for cell in findings.cells if cell.state == findings.state and cell.control is not None]
    if not compared:
        unpaired = "No run is scored together with a control of the same labels and seed"
        nothing = "nothing can be said of what the unlabelled images add"
        return f"{unpaired}: {nothing}." if findings.results.losses else ""
    readings = list(map(reading, compared))
    better, worse, untold = (readings.count(outcome) for outcome in (BETTER, WORSE, UNTOLD))
    open_ones = len(compared) - better - worse - untold
    state = words.state(findings.state)
    said = f"Of {words.counted(len(compared), 'comparison')} with the control (state {state}), "
    parts = []
    if untold < len(compared):
        parts += [
            f"{_number(better)} {_are(better)} clearly better",
            f"{_number(worse)} {_are(worse)} clearly worse",
            f"{_number(open_ones)} {_are(open_ones)} not told apart from it",
        ]
    if untold:
        parts.append(f"{untold} cannot be judged, for want of repeats")
    said += words.listed(parts) + "."
    if findings.tests:
        small = sum(cell.p_corrected is not None and cell.p_corrected < SIGNIFICANT for cell in findings.cells)
        tests = words.counted(findings.tests, "paired t test")
        said += f" Of the {tests} of all states, {_number(small)} {_are(small)} below {SIGNIFICANT} after Holm’s "
        said += "correction."
    return said


def _without_control(findings: Findings) -> str:
    """Runs whose place in the tables has a control that is not theirs."""
    said = [
        f"{run.name} is not compared with the control of its labels and seed: they differ in "
        f"{words.listed(run.unlike_control)}."
        for run in findings.results.runs
        if run.unlike_control
    ]
    more = len(said) - NAMED
    return " ".join(said[:NAMED]) + (f" So with {more} more." if more > 0 else "")


def _unseen(findings: Findings) -> str:
    by_classes: dict[tuple[str, tuple[str, ...]], list[RunResult]] = {}
    for run in findings.results.runs:
        if run.unseen:
            by_classes.setdefault((run.data, run.unseen), []).append(run)
    said = []
    for (data, classes), runs in by_classes.items():
        what = words.listed([f"‘{name}’" for name in classes])
        said.append(
            f"{words.counted(len(runs), 'run')} on {data} had no label of {what}, which could not be learnt, and "
            f"{_are(len(runs))} counted all the same: {_named(runs)}."
        )
    return " ".join(said)


def _are(count: int) -> str:
    return "is" if count <= 1 else "are"


def _number(count: int) -> str:
    return str(count) if count else "none"


def _without_labels(findings: Findings) -> str:
    said = []
    for data in findings.results.data:
        scored = [(cell.estimate.mean, cell) for cell in findings.clusters(data) if cell.estimate is not None]
        mapped = [(mean, cell) for mean, cell in scored if cell.mapping == "stored"] or scored
        if not mapped:
            continue
        mean, best = max(mapped, key=lambda each: each[0])
        otsu = findings.otsu(data)
        against = "" if otsu is None else f"; {words.baseline('otsu')} {words.score(otsu)}"
        mapping = "" if best.mapping == "stored" else ", oracle mapping"
        said.append(f"{data} {words.score(mean)} ({words.HEADS.get(str(best.head), str(best.head))}{mapping}{against})")
    return f"Without labels, by the better head of IIC: {', '.join(said)}." if said else ""


def _repeats(findings: Findings) -> str:
    estimates = [cell.estimate for cell in findings.cells if cell.estimate is not None]
    repeated = [estimate for estimate in estimates if estimate.interval is not None]
    if not estimates:
        return ""
    if not repeated:
        single = all(estimate.runs == 1 for estimate in estimates)
        return f"There is {SINGLE if single else 'no interval: the runs of a cell share one label draw'}."
    units = sorted({len(estimate.units) for estimate in repeated})
    kinds = sorted({f"{estimate.unit}s" for estimate in repeated})
    least = str(units[0]) if len(units) == 1 else f"{units[0]} to {units[-1]}"
    said = f"Intervals are Student’s, 95 %, over {least} {' or '.join(kinds)}"
    if units[0] == 2:
        said += "; of two they are very wide, and say little"
    if kinds == ["seeds"]:
        said += "; they say nothing of other choices of the labelled images"
    return f"{said}."


def _missing(findings: Findings) -> str:
    missing = [run for run in findings.results.runs if not run.rows]
    if not missing:
        return ""
    said = f"{words.counted(len(missing), 'run')} {_are(len(missing))} not in the tables ("
    return said + "; ".join(how_they_ended(missing)) + f"): {_named(missing)}."


def _collapsed(findings: Findings) -> str:
    collapsed = [run for run in findings.results.runs if any(run.collapse.values())]
    if not collapsed:
        return ""
    kinds: dict[str, list[str]] = {}
    for each in (each for run in collapsed for each in run.collapse.values()):
        for head, kind in each.items():
            kinds.setdefault(words.HEADS.get(head, head), []).append(kind)
    how = "; ".join(f"{head}: {', '.join(dict.fromkeys(found))}" for head, found in kinds.items())
    said = f"{words.counted(len(collapsed), 'run')} of IIC collapsed ({how}) and "
    return said + f"{_are(len(collapsed))} counted all the same: {_named(collapsed)}."


def _named(runs: Sequence[RunResult]) -> str:
    names = [run.name for run in runs[:NAMED]]
    more = len(runs) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
