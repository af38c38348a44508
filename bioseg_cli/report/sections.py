"""What stands where on the page, with the captions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bioseg_cli.report import bars, comparisons, curves, provenance, reliability, tables, words
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.markup import Markup, joined
from bioseg_cli.report.page import Exhibit, Section, bullets, difference_key, gallery, paragraph, plots, subheading
from bioseg_cli.report.paper import SOURCE, is_of_the_paper
from bioseg_cli.report.records import RunRecord
from bioseg_cli.report.strips import Album, Gallery
from bioseg_cli.report.summary import sentences
from bioseg_cli.study.statistics import SINGLE

PAPER_NOTE = (
    f"Rows in italics are the figures that the paper ({SOURCE}) reports: single runs, on its own split of the data."
)
READING = (
    "Mean IoU: pixels counted over all images together; intersection over union of each class, and their mean, the "
    "background included.",
    "States: “best supervised” is saved at the lowest validation Dice loss (the paper’s P1 and P3), “best final” at "
    "the lowest sum of supervised and unsupervised loss (P2 and P4). The control has no unsupervised loss: both are "
    "one.",
    "Intervals are Student’s, 95 %, over repeats. With several label draws the seeds of a draw are averaged and the "
    f"draw is the unit, as runs that share their labels are not independent. {words.capitalised(SINGLE)}.",
    "Student’s interval does not know that a mean IoU lies between 0 and 1: of few repeats it may reach beyond.",
    "Differences to the control are taken between runs with the same labelled images and the same seed.",
    "Baselines have nothing to train; their intervals are of the bootstrap over images.",
    "The paper’s figures are single runs on a split that it does not name, without a supervised control: they stand "
    "beside ours, and are no test of them.",
)

Part = Markup | Exhibit


def abstract(findings: Findings) -> Markup:
    """The summary at the top."""
    parts = [bullets(sentences(findings))]
    if findings.verdicts:
        state = words.STATES.get(findings.state, findings.state)
        about = (
            f"Which method is ahead, by the state {state}. A lead is clear where the interval of the paired difference "
            "to the control leaves 0 out; where the control is ahead, the difference is that of the method that comes "
            "closest."
        )
        parts += [paragraph(about), comparisons.ahead(findings)]
    return joined(parts)


def all_sections(findings: Findings, records: Sequence[RunRecord], album: Album) -> list[Section]:
    """The page's sections, in order; those without content have no parts."""
    return [
        Section("accuracy", "Accuracy with few labels", tuple(_accuracy(findings))),
        Section("control", "Difference to the supervised control", tuple(_differences(findings))),
        Section("reversals", "More labels, lower scores", tuple(_reversals(findings))),
        Section("unlabelled", "Without labels", tuple(_unlabelled(findings, records, album))),
        Section("pictures", "Predictions", tuple(_pictures(findings, album))),
        Section("training", "Learning curves", tuple(_training(findings, records))),
        Section("calibration", "As sure as right", tuple(_calibration(findings))),
        Section("runs", "Runs, settings and machines", tuple(_provenance(records))),
        Section("reading", "How to read the figures", (bullets(READING),)),
    ]


def _chart_name(findings: Findings, kind: str, data: str, *more: str) -> str:
    """An identity for a chart; the number keeps data sets apart whose names differ in signs alone."""
    parts = [kind, str(findings.results.data.index(data)), *more]
    return "-".join(re.sub(r"[^0-9A-Za-z]+", "-", part).strip("-") for part in parts)


def _accuracy(findings: Findings) -> list[Part]:
    parts: list[Part] = []
    for data in findings.results.data:
        if not findings.columns(data):
            continue
        caption = (
            f"Mean IoU on {data}, {findings.results.split} split, background included, as in the paper’s Table S1: "
            "mean over the runs, and below it the 95 % interval. The highest mean of a row is bold, whether its "
            "lead is clear or not."
        )
        caption += f" {PAPER_NOTE}" if tables.has_published(findings, data) else ""
        parts += [subheading(data), Exhibit("Table", caption, tables.accuracy(findings, data))]
        left = bars.pipelines(findings, data, _chart_name(findings, "bars", data))
        right = curves.efficiency(findings, data, _chart_name(findings, "labels", data))
        if left is None:
            continue
        caption = (
            f"{data}. {'Left: mean' if right else 'Mean'} IoU by label budget and method, as in the paper’s Figure "
            "3, from 0 on. Whiskers are 95 % intervals, dots single runs; black lines the supervised control with "
            "the same labels."
        )
        if right is not None:
            caption += (
                " Right: the same against the number of labelled images, enlarged; bands are 95 % intervals, and thin "
                "bars those that reach beyond the frame."
            )
        parts.append(Exhibit("Figure", caption, plots([left] if right is None else [left, right])))
    return parts


def _differences(findings: Findings) -> list[Part]:
    if not any(one.control is not None for one in findings.cells):
        return []
    tests = f"Holm: corrected for the {words.counted(findings.tests, 'test')} of this page; " if findings.tests else ""
    caption = (
        "Mean IoU minus that of the supervised control with the same labelled images and seed, pair by pair. p of the "
        f"paired t test; {tests}Wilcoxon: the exact signed-rank test, and in brackets the smallest p that so few pairs "
        "can give. The reading goes by the interval."
    )
    return [Exhibit("Table", caption, comparisons.differences(findings), breaks=True)]


def _reversals(findings: Findings) -> list[Part]:
    parts: list[Part] = []
    if findings.reversals:
        caption = (
            "Means that fall from a label budget to the next larger one, which contains it; the change is taken "
            "pair by pair. It is noise unless its own interval leaves 0 out."
        )
        parts.append(Exhibit("Table", caption, comparisons.falls(findings)))
    elif findings.budgets_compared:
        parts.append(paragraph("No mean falls from a label budget to the next larger one."))
    if findings.paper_reversals:
        caption = (
            f"Falls in the paper’s Table S1 ({SOURCE}). Each is of two single runs, so that nothing tells it from "
            "noise; beside it the same change as measured here, half the width of its interval, and how many of "
            "these the fall is. A mean of several runs varies less than a single run does, so even a fall of "
            "somewhat more than one may be chance."
        )
        parts.append(Exhibit("Table", caption, comparisons.published_falls(findings)))
    return parts


def _unlabelled(findings: Findings, records: Sequence[RunRecord], album: Album) -> list[Part]:
    if not any(findings.clusters(data) for data in findings.results.data):
        return []
    caption = (
        f"Mean IoU of IIC, {findings.results.split} split, as in the paper’s Table S2. Oracle mapping: each cluster "
        "becomes the class it overlaps most (one to one where the main head has as many clusters as classes) on the "
        "very images that are scored, which flatters; the paper says so of its auxiliary head. Stored mapping: "
        "decided beforehand on a few labelled images, which is what predictions on new images are worth."
    )
    caption += f" {PAPER_NOTE}" if any(is_of_the_paper(data) for data in findings.results.data) else ""
    parts: list[Part] = [Exhibit("Table", caption, tables.heads(findings))]
    chart = bars.heads(findings, "heads")
    if chart is not None:
        caption = (
            "Mean IoU of both heads of IIC, as in the paper’s Figure 5. Whiskers are 95 % intervals, dots single runs."
        )
        parts.append(Exhibit("Figure", caption, plots([chart])))
    if album.clusters:
        caption = (
            "What IIC finds, as in the paper’s Figure 6: the auxiliary head, the main head, the truth, the image. "
            "Of each head its clusters, in colours of no meaning, and the classes they become by the stored "
            "mapping, with the mean IoU of the image. Shown are the run and the image in the middle of the scores."
        )
        body = joined(gallery(one, _run_shown(one)) for one in album.clusters)
        parts.append(Exhibit("Figure", caption, body, breaks=True))
    return parts + _collapse(findings, records)


def _collapse(findings: Findings, records: Sequence[RunRecord]) -> list[Part]:
    parts: list[Part] = []
    for data in findings.results.data:
        found = [
            curves.collapse(records, data, one, _chart_name(findings, "collapse", data, one)) for one in curves.MEASURES
        ]
        shown = [one for one in found if one is not None]
        if shown:
            caption = (
                f"Signs of collapse on {data}, on validation images and without labels. Entropies are shares of log K; "
                "dotted lines are where a head is said to have collapsed. Runs that collapsed end in a cross."
            )
            parts.append(Exhibit("Figure", caption, plots(shown, small=True)))
    return parts or [paragraph("The runs of IIC have no log of metrics here: signs of collapse are not shown.")]


def _pictures(findings: Findings, album: Album) -> list[Part]:
    parts: list[Part] = []
    state = words.STATES.get(findings.state, findings.state)
    if album.typical:
        caption = (
            f"Image, truth, and of each method prediction and difference, as in the paper’s Figure 4; state {state}. "
            "Figures are the mean IoU of the image. Runs of one repeat, and the image, are those in the middle of the "
            "scores."
        )
        shown = [gallery(one, _budget_shown(one)) for one in album.typical]
        parts.append(Exhibit("Figure", caption, joined([*shown, difference_key(album.typical)]), breaks=True))
    if album.cases:
        caption = (
            "The images that the leading method does worst and best on: true outlines, predicted outlines, and the "
            "difference."
        )
        shown = [gallery(one, _run_shown(one), large=True) for one in album.cases]
        parts.append(Exhibit("Figure", caption, joined([*shown, difference_key(album.cases)]), breaks=True))
    return parts


def _run_shown(one: Gallery) -> str:
    return f"Run {one.shown[0].run.name}."


def _budget_shown(one: Gallery) -> str:
    run = one.shown[0].run
    labelled = "" if run.budget is None else f"{words.labels(run.budget)}, "
    return f"{labelled}label draw {run.draw}, seed {run.seed}."


def _training(findings: Findings, records: Sequence[RunRecord]) -> list[Part]:
    parts: list[Part] = []
    for data in findings.results.data:
        charts = [
            curves.learning(records, data, budget, _chart_name(findings, "learning", data, budget.title))
            for budget in findings.budgets(data)
        ]
        shown = [one for one in charts if one is not None]
        if shown:
            caption = (
                f"Mean IoU of the validation images of {data} against updates, a line a run. The lowest twentieth of "
                "the points, mostly of the first epochs, may lie below the frame."
            )
            parts.append(Exhibit("Figure", caption, plots(shown, small=True)))
    if not parts and any(findings.columns(data) for data in findings.results.data):
        return [paragraph("The runs have no log of metrics here: learning curves are not shown.")]
    return parts


def _calibration(findings: Findings) -> list[Part]:
    parts: list[Part] = []
    state = words.STATES.get(findings.state, findings.state)
    for data in findings.results.data:
        charts = [
            reliability.reliability(findings, data, budget, _chart_name(findings, "reliability", data, budget.title))
            for budget in findings.budgets(data)
        ]
        shown = [one for one in charts if one is not None]
        if shown:
            caption = (
                f"Of the pixels of {data}, {findings.results.split} split, how many are right among those that a "
                f"network is so sure of, in bins of 1/15; state {state}, all runs of a method together. Below the grey "
                "line it is too sure. Dotted: before the temperature that was fitted on validation images."
            )
            parts.append(Exhibit("Figure", caption, plots(shown, small=True)))
    return parts


def _provenance(records: Sequence[RunRecord]) -> list[Part]:
    caption = (
        "Every run. A hash is of the command, all settings that the result depends on, and the content of the data "
        "set: equal hashes are equal trainings."
    )
    parts: list[Part] = [Exhibit("Table", caption, provenance.runs_table(records), breaks=True)]
    for command, settings in provenance.settings_lists(records):
        parts += [subheading(f"Settings that all runs of {command} share"), settings]
    machines = provenance.machines(records)
    if machines:
        parts += [subheading("Versions and machines"), machines]
    return parts
