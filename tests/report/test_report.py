"""`bioseg report`: every figure on the page, whoever wins, with what is missing named in place."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import Result
from conftest import new_manifest
from helpers.plans import write_plan
from helpers.studies import BUDGETS, STATES, Page, kl_wins, page_of, score_row, study

from bioseg_cli.report.chosen import Scored, middle_budget, ranked_images, shown_runs
from bioseg_cli.report.comparisons import least_wilcoxon
from bioseg_cli.report.findings import Findings
from bioseg_cli.report.page import render
from bioseg_cli.report.paper import TABLE_S1, published, published_head, published_reversals
from bioseg_cli.report.records import RunRecord, read_record
from bioseg_cli.report.strips import Album, Gallery, Picture, Strip
from bioseg_cli.report.tables import FootNotes
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.sections import Environment
from bioseg_cli.study.grid import Budget
from bioseg_cli.study.results import StudyResults

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def four() -> tuple[StudyResults, str]:
    """The paper's four data sets."""
    results = study(kl_wins, data=tuple(TABLE_S1))
    return results, page_of(results)


def test_the_page_is_sound_and_needs_nothing_from_elsewhere(four) -> None:
    page = Page(four[1])
    assert not page.all("script")
    assert not page.all("link")
    assert "@import" not in four[1]
    for name, attributes in page.elements:
        for key in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(key)
            assert value is None or value.startswith(("#", "data:")), (name, value)
    assert re.findall(r"url\((?!#)", four[1]) == []
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identities)) == len(identities)
    linked = {value[1:] for _, each in page.elements for key, value in each.items() if key.endswith("href") and value}
    assert linked <= set(identities)
    headings = [int(name[1]) for name, _ in page.elements if re.fullmatch(r"h[1-6]", name)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_every_plot_says_in_words_and_numbers_what_it_shows(four) -> None:
    page = Page(four[1])
    plots = page.plots
    assert len(plots) == 4 * 2 + 1
    identities = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for plot in plots:
        assert plot["role"] == "img"
        assert set(str(plot["aria-labelledby"]).split()) <= identities
    described = re.findall(r"<desc[^>]*>(.*?)</desc>", four[1])
    assert len(described) == len(plots)
    assert all(len(re.findall(r"0\.\d{4}", text)) > 5 for text in described)
    # Text is text: it can be found and copied.
    assert ">mean IoU</text>" in four[1]


def table_with(page: Page, heading: str) -> list[list[str]]:
    return next(table for table in page.tables if any(heading in cell for row in table[:2] for cell in row))


def test_table_s1_has_every_mean_with_its_interval_and_the_papers_figure_beside(four) -> None:
    results, text = four
    page, findings = Page(text), Findings(results)
    tables = [table for table in page.tables if table[0][0] == "Labelled images" and "KL loss" in table[0][1]]
    assert len(tables) == 4
    for data, table in zip(TABLE_S1, tables, strict=True):
        assert table[0][1:] == ["KL loss", "IID loss", "Supervised control"]
        states = ["Best supervised (P1)", "Best final (P2)", "Best supervised (P3)", "Best final (P4)"]
        assert table[1] == [*states, "Best supervised"]
        columns = [(loss, state) for loss in ("kl", "iid") for state in STATES] + [("none", "best-supervised")]
        for place, (title, count) in enumerate(BUDGETS.items()):
            ours, theirs = table[2 + 2 * place], table[3 + 2 * place]
            assert theirs[0] == "the paper, one run"
            assert theirs[1:] == [f"{value:.4f}" for value in TABLE_S1[data][title]] + [""]
            for cell, column in zip(ours[1:], columns, strict=True):
                found = findings.cell(data, column, Budget(count, title)).estimate
                low, high = found.interval.low, found.interval.high
                assert cell == f"{found.mean:.4f} {low:.4f} to {high:.4f}"
        every = table[2 + 2 * len(BUDGETS)]
        assert every[0] == "all\N{NO-BREAK SPACE}labels (100 images)"
        assert every[1:5] == ["–"] * 4
        assert [row[0] for row in table[-3:]] == ["Otsu’s threshold", "k-means of brightness", "all background"]


def test_the_papers_figures_are_for_its_data_sets_and_shares_alone() -> None:
    assert published("FluoHoechst", "iid", "best-supervised", "10 %") == 0.9516
    assert published("phc", "kl", "best-final", "25 %") == 0.9416
    assert published("BigBrain", "kl", "best-supervised", "25 %") == 0.6991
    assert published_head("FluoGFP", "main") == 0.2133
    for nothing in (
        published("cells", "kl", "best-final", "25 %"),
        published("PhC", "kl", "best-final", "5 labels"),
        published("PhC", "kl", "last", "25 %"),
        published("PhC", "none", "best-supervised", "25 %"),
        published_head("BigBrain", "aux"),
    ):
        assert nothing is None
    assert {(fall.loss, fall.state, fall.less, round(fall.change, 4)) for fall in published_reversals("PhC")} == {
        ("kl", "best-supervised", "10 %", -0.0115),
        ("kl", "best-final", "25 %", -0.0224),
        ("iid", "best-final", "10 %", -0.0617),
    }
    other = page_of(study(kl_wins, data=("cells",)))
    assert "the paper, one run" not in other


def test_who_wins_is_said_and_who_loses() -> None:
    results = study(kl_wins)
    findings = Findings(results)
    assert [(verdict.best.loss, verdict.clear) for verdict in findings.verdicts] == [("kl", True)] * 3
    text = " ".join(Page(page_of(results)).words.split())
    assert (
        "Of 6 comparisons with the control (state best supervised), 3 are clearly better, 3 are clearly worse" in text
    )
    assert "worse than the control" in text

    def control_wins(data: str, loss: str, labels: int, state: str) -> float:
        return 0.9 - 0.02 * (loss == "kl") - 0.05 * (loss == "iid")

    findings = Findings(study(control_wins))
    assert [(verdict.best.loss, verdict.told_by.loss, verdict.clear) for verdict in findings.verdicts] == [
        ("none", "kl", True)
    ] * 3
    text = Page(page_of(study(control_wins))).words
    assert "none is clearly better, 6 are clearly worse and none is not told apart" in text
    assert "better than the control" not in text

    def all_alike(data: str, loss: str, labels: int, state: str) -> float:
        return 0.8

    findings = Findings(study(all_alike, noise=0.02))
    assert {verdict.clear for verdict in findings.verdicts} == {False}
    assert "and no better than Otsu’s threshold, 0.8700" in Page(page_of(study(all_alike, noise=0.02))).words


def test_single_runs_have_no_interval_and_the_page_says_why() -> None:
    results = study(kl_wins, repeats=((0, 0),))
    page = Page(page_of(results))
    assert "no interval: it is a single run, and one run has no spread" in " ".join(page.words.split())
    table = table_with(page, "KL loss")
    assert table[2][1].startswith("0.9")
    assert "no interval" in table[2][1]
    assert "6 cannot be judged, for want of repeats" in page.words
    assert {verdict.clear for verdict in Findings(results).verdicts} == {None}


def test_what_failed_or_collapsed_is_named_in_place_and_the_rest_stands() -> None:
    results = study(kl_wins)
    changed = []
    for run in results.runs:
        if run.name.endswith("kl-10 %-draw1-seed1"):
            run = replace(run, rows=(), status="failed", failure="The loss is not finite at step 7")
        if run.name.endswith("iid-50 %-draw0-seed0"):
            run = replace(run, rows=(), status="missing")
        if run.loss == "iid" and "25 %" in run.name:
            run = replace(run, rows=(), status="interrupted")
        if run.loss == "iic" and run.seed == 2:
            run = replace(run, status="collapsed", collapse={"best-final": {"main": "half and half"}, "last": {}})
        changed.append(run)
    page = Page(page_of(replace(results, runs=tuple(changed))))
    table = table_with(page, "KL loss")
    ten, quarter, half = (table[2 + 2 * place] for place in range(3))
    assert "2 of 3 runs; 1 failed: The loss is not finite at step 7" in ten[1]
    assert ten[1].startswith("0.92")
    assert quarter[3] == "no run; 3 interrupted"
    assert "2 of 3 runs; 1 missing" in half[3]
    heads = table_with(page, "Clusters of")
    main = [row for row in heads if row[0].startswith("Main head")]
    assert all("1 of 3 runs collapsed" in row[1] for row in main)
    aux = [row for row in heads if row[0].startswith("Auxiliary head")]
    assert not any("collapsed" in row[1] for row in aux)
    text = " ".join(page.words.split())
    (said,) = re.findall(r"5 runs are not in the tables \((.*?)\):", text)
    assert set(said.split("; ")) == {"1 failed: The loss is not finite at step 7", "3 interrupted", "1 missing"}
    assert (
        "1 run of IIC collapsed (main head: half and half) and is counted all the same: FluoHoechst-iic-seed2" in text
    )


def test_a_fall_with_more_labels_is_called_noise_or_not() -> None:
    def falling(data: str, loss: str, labels: int, state: str) -> float:
        return 0.9 - {10: 0.0, 25: 0.05, 50: 0.0501, 100: 0.0}[labels]

    results = study(falling, data=("PhC",))
    found = {(fall.less.count, fall.more.count): fall.reversal.verdict for fall in Findings(results).reversals}
    assert found[10, 25] == "holds over the repeats"
    page = Page(page_of(results))
    table = table_with(page, "Verdict")
    assert {"holds over the repeats"} <= {row[-1] for row in table}
    theirs = table_with(page, "Fall in the paper")
    row = next(row for row in theirs if row[1] == "IID, best final (P4)")
    own = next(
        fall
        for fall in Findings(results).paper_reversals
        if fall.published.state == "best-final" and fall.published.loss == "iid"
    )
    assert row[3] == "−0.0617"
    assert row[5:] == [f"{own.half_width:.4f}", f"{0.0617 / own.half_width:.1f}"]
    assert "Each is of two single runs" in page.words


def test_the_smallest_p_of_so_few_pairs_is_the_one_that_the_test_has() -> None:
    from bioseg_cli.metrics.paired import wilcoxon_signed_rank

    for pairs in range(2, 8):
        first = np.arange(1, pairs + 1) / 10
        assert wilcoxon_signed_rank(first, np.zeros(pairs)).p_value == pytest.approx(least_wilcoxon(pairs))


HOSTILE = (
    "</td></style></svg><script>alert(1)</script>{{ 7 * 7 }}&lt;",
    "\"'><img src=x onerror='alert(1)'>",
    'javascript:alert(1)//" onload="alert(1)',
)


def test_names_are_text_whatever_signs_are_in_them() -> None:
    name = '<b>A&B</b> "x" \'y\' $10$ style="fill: red"'
    results = study(kl_wins, data=(name,))
    runs = list(results.runs)
    runs[1] = replace(runs[1], rows=(), status="failed", failure="<script>alert(1)</script>")
    text = page_of(replace(results, runs=tuple(runs), title="<i>T</i>"))
    page = Page(text)
    assert not page.all("script")
    assert not page.all("i")
    assert "<b>A" not in text
    assert name in page.words
    assert "<script>alert(1)</script>" in page.words
    # In the drawings too, where no attribute is made of it.
    assert name in [unescape(each) for each in re.findall(r">([^<]*)</text>", text)]


def page_of_names(name: str) -> str:
    """A page on which everything that can be called something is called so."""
    results = study(kl_wins, data=(name,), iic=True)
    runs = [replace(run, name=f"{name}{place}", unseen=(name,)) for place, run in enumerate(results.runs)]
    runs[1] = replace(runs[1], rows=(), status="failed", failure=name)
    runs[-1] = replace(runs[-1], status="collapsed", collapse={"best-final": {"main": name}})
    baselines = {name: (score_row(name, 0.8, None), score_row("otsu", 0.7, None))}
    results = replace(results, title=name, runs=tuple(runs), baselines=baselines)
    manifest = new_manifest()
    manifest.command = manifest.device = name
    manifest.config = {name: name}
    manifest.environment = Environment.model_validate({name: name, "packages": {name: "1"}})
    log = {"updates": [1.0, 2.0], "epoch": [1.0, 2.0], "val_mean_iou": [0.5, 0.6]}
    records = [RunRecord(run, manifest, log) for run in runs]
    shown = Scored(runs[0], runs[0].rows[0])
    pictures = ((Picture(b"PNG", name, name), Picture(b"", name, name)),)
    drawn = Gallery(name, (shown,), (Strip(name, pictures), Strip(name, pictures)), ((name, (1, 2, 3)),))
    gone = Gallery(name, (shown,), problem=name)
    album = Album((drawn, gone), (drawn, gone), (drawn, gone))
    return render(name, name, Findings(results), records, album)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_is_read_and_adds_nothing_else(hostile: str) -> None:
    harmless = "N" * len(hostile)
    page, plain = Page(page_of_names(hostile)), Page(page_of_names(harmless))
    seen, wanted = ([(name, list(attributes)) for name, attributes in each.elements] for each in (page, plain))
    assert seen == wanted
    for name, attributes in page.elements:
        for key in {"href", "xlink:href", "src"} & set(attributes):
            assert re.match("#|data:image/png;base64,", str(attributes[key])), (name, attributes[key])
    # As it is, expressions of templates and escapes too.
    assert page.words.count(hostile) == plain.words.count(harmless) > 100


def test_the_policy_lets_in_the_stylesheet_of_the_page_and_nothing_else() -> None:
    text = page_of_names("cells")
    page = Page(text)
    (policy,) = (each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    allowed = {what: sources for what, *sources in map(str.split, str(policy).split(";"))}
    # Every block of style is allowed by its hash, and there is no other hash, host or word that allows.
    blocks = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    hashes = [f"'sha256-{b64encode(sha256(block.encode()).digest()).decode()}'" for block in blocks]
    assert len(blocks) == len(page.all("style")) == 1
    assert allowed == {
        "default-src": ["'none'"], "style-src": hashes, "img-src": ["data:"], "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }  # fmt: skip
    # It comes before all that it is of, and what it forbids is not used.
    assert text.index("Content-Security-Policy") < text.index("<style>")
    assert not page.all("script")
    assert [name for name, attributes in page.elements if "style" in attributes] == []


def test_the_same_results_make_the_same_page(four) -> None:
    results, text = four
    again = page_of(results)
    dated = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
    assert len(dated.findall(text)) == 1
    assert dated.sub("", again) == dated.sub("", text)


def test_what_is_shown_is_in_the_middle_and_of_one_repeat() -> None:
    results = study(kl_wins)
    findings = Findings(results)
    budget = middle_budget(findings, "FluoHoechst")
    assert budget == Budget(25, "25 %")
    shown = shown_runs(findings, "FluoHoechst", budget)
    assert [scored.run.loss for scored in shown] == ["none", "kl", "iid"]
    assert len({scored.run.repeat for scored in shown}) == 1
    scores = sorted(results.values("FluoHoechst", "none", 25, "best-supervised").values())
    assert shown[0].row.mean_iou == scores[1]
    assert ranked_images(shown[0].row) == [f"image{number}" for number in range(7)]


REPORT_KEYS = {
    "report", "title", "split", "state", "summary", "cells", "baselines", "runs", "ahead", "tests", "reversals",
    "paper_reversals", "without_picture",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, disc_dataset: Path, bioseg: Cli) -> Path:
    """The folder of a tiny study; its jobs are done in this process, which is quicker."""
    import torch

    from bioseg_cli.study import job, worker

    folder = tmp_path_factory.mktemp("report")
    tiny = {"width": 2, "lr": 0.01}
    plan = write_plan(
        folder / "tiny.yaml", disc_dataset, labels=[2, 4], losses=["kl"], draws=1, seeds=1, steps=6, split="val",
        uda=tiny, iic={**tiny, "epochs": 2, "crop": 32},
    )  # fmt: skip

    def do_here(module: str, line: str, log: Path, *, threads: int | None) -> dict[str, Any]:
        log.parent.mkdir(parents=True, exist_ok=True)
        return worker.reply(line.encode())

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "ask", do_here)
        torch.set_num_threads(1)  # of so little work the rest is waiting for each other
        result = bioseg("study", plan, "--out", folder / "out", "--quiet")
        torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    return folder / "out"


@pytest.fixture(scope="module")
def reported(finished: Path, bioseg: Cli) -> tuple[dict[str, Any], Page]:
    result = bioseg("report", finished, "--json", "--quiet", "--title", "Discs & squares")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), Page((finished / "report.html").read_text())


def test_a_study_becomes_a_page_beside_it(reported, finished: Path) -> None:
    found, page = reported
    assert found.keys() == REPORT_KEYS
    assert found["report"] == str(finished / "report.html")
    assert found["without_picture"] == []
    assert "Discs & squares" in page.words
    assert len(found["runs"]) == 6
    for run in found["runs"]:
        assert run["name"] in page.words
        assert run["hash"][:16] in page.words
    for cell in found["cells"]:
        assert f"{cell['mean_iou']:.4f}" in page.words
    assert all(
        sentence in " ".join(page.words.replace("\N{NO-BREAK SPACE}", " ").split()) for sentence in found["summary"]
    )


def test_pictures_show_truth_predictions_and_clusters_with_words(reported) -> None:
    _, page = reported
    pictures = page.all("img")
    # Image and truth, two predictions with differences; the two worst images and the best; two heads, truth, image.
    assert len(pictures) == 6 + 3 * 3 + 6
    for picture in pictures:
        assert str(picture["src"]).startswith("data:image/png;base64,")
        assert len(str(picture["alt"])) > 10
    words = " ".join(str(picture["alt"]) for picture in pictures)
    for said in ("mean IoU of the image", "missed", "added", "with over 1 % of the image", "true outlines: background"):
        assert said in words
    plots = [re.sub(r"-title .*", "", str(plot["aria-labelledby"])) for plot in page.plots]
    kinds = {plot.split("-")[0] for plot in plots}
    assert kinds == {"bars", "labels", "heads", "collapse", "learning", "reliability"}


def test_the_page_is_not_replaced_without_being_told(reported, finished: Path, bioseg: Cli, tmp_path: Path) -> None:
    before = (finished / "report.html").read_bytes()
    for arguments, said in (
        ((finished,), "exists already"),
        ((finished, finished / "runs", "--out", tmp_path / "a.html"), "Give it alone"),
        ((finished, "--split", "test", "--out", tmp_path / "a.html"), "scored on its val split"),
        ((finished, "--out", tmp_path / "a.pdf"), "does not end in .html"),
        ((), "RUNS is needed"),
    ):
        result = bioseg("report", *arguments, "--quiet")
        assert (result.exit_code, said in result.stderr) == (2, True), result.output
    assert bioseg("report", tmp_path, "--quiet").exit_code == 3
    assert list(tmp_path.iterdir()) == []
    assert (finished / "report.html").read_bytes() == before
    result = bioseg("report", finished, "--quiet", "--overwrite")
    assert result.exit_code == 0
    assert "page  " in result.stdout
    assert "Discs & squares" not in (finished / "report.html").read_text()


def test_what_is_gone_is_said_in_place_and_the_rest_is_there(finished: Path, bioseg: Cli, tmp_path: Path) -> None:
    for run in (finished / "runs").glob("*-supervised-*"):
        (tmp_path / "out" / "runs" / run.name).mkdir(parents=True)
    copy = tmp_path / "out"
    (copy / "manifest.yaml").write_text((finished / "manifest.yaml").read_text())
    scores = copy / "scores"
    scores.mkdir()
    for file in (finished / "scores").iterdir():
        (scores / file.name).write_text(file.read_text())
    result = bioseg("report", copy, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    page = Page((copy / "report.html").read_text())
    assert page.all("img") == []
    assert any("not a run" in reason for reason in json.loads(result.stdout)["without_picture"])
    assert "No picture: The folder is not a run" in page.words
    assert "learning curves are not shown" in page.words
    assert len(page.plots) == 6
    manifest = yaml.safe_load((copy / "manifest.yaml").read_text())
    manifest["data"] = {
        name: {method: str(tmp_path / "gone.h5") for method in files} for name, files in manifest["data"].items()
    }
    (copy / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    result = bioseg("report", copy, "--quiet", "--overwrite")
    assert result.exit_code == 0, result.output
    assert "No picture: The data set is gone" in Page((copy / "report.html").read_text()).words


@pytest.mark.parametrize(
    ("log", "without", "said"),
    [
        ("epoch,updates,lr,val_mean_iou\n1,4,0.1,0.5\n2,8,,0.6\n", "lr", "has no number in line 3, column lr"),
        ("epoch,updates,lr,val_mean_iou\n1,4,0.1,0.5\n2,8,0.1\n", "val_mean_iou", "in line 3, column val_mean_iou"),
        ("epoch,updates,lr,val_mean_iou\n1,nan,0.1,0.5\n", "updates", "in line 2, column updates"),
        ("epoch,updates,lr,val_mean_iou\n" + "1" * 200_000, "all", "cannot be read: field larger than field limit"),
        ("", "all", "is empty"),
    ],
    ids=["an empty cell", "cut off", "no finite number", "one long line", "empty"],
)
def test_a_damaged_log_costs_the_curve_that_it_damages_and_the_page_says_so(
    log: str, without: str, said: str, tmp_path: Path
) -> None:
    results = study(kl_wins, folder=tmp_path, iic=False)
    for run in results.runs:
        RunDirectory.create(run.path, new_manifest(), overwrite=False)
        whole = "epoch,updates,lr,val_mean_iou\n1,4,0.1,0.5\n2,8,0.1,0.6\n"
        (run.path / "metrics.csv").write_text(whole)
    damaged = results.runs[1]
    (damaged.path / "metrics.csv").write_text(log)
    columns = {"epoch", "updates", "lr", "val_mean_iou"}
    assert read_record(damaged).metrics.keys() == (set() if without == "all" else columns - {without})
    text = page_of(results)
    said_of = Page(text).words.split("A curve of ")[1:]
    assert len(said_of) == 1 and said_of[0].startswith(f"{damaged.name} is left out: {damaged.path / 'metrics.csv'}")
    assert said in said_of[0]
    drawn = re.findall(r"<desc[^>]*>([^<]*at the end[^<]*)</desc>", text)
    kl_runs = sum(int(count) for each in drawn for count in re.findall(r"(\d+) runs? of KL", each, re.IGNORECASE))
    assert kl_runs == 9 - (without != "lr")


def test_runs_alone_become_a_page_too(disc_run: Path, bioseg: Cli, tmp_path: Path) -> None:
    result = bioseg("report", disc_run, "--out", tmp_path / "page.html", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {cell["state"] for cell in found["cells"]} == {"best-supervised", "best-final", "best-miou", "last"}
    page = Page((tmp_path / "page.html").read_text())
    assert "No run is scored together with a control of the same labels and seed" in page.words
    assert "Saved states were chosen on this split" in page.words
    assert len(page.all("img")) == 4 + 3 * 3
    twice = bioseg("report", disc_run, disc_run, "--out", tmp_path / "twice.html", "--quiet")
    assert (twice.exit_code, "they would be one" in " ".join(twice.stderr.split())) == (2, True)


def test_torch_is_not_loaded_where_no_picture_can_be_drawn(tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, "tests")
from helpers.studies import kl_wins, page_of, study
page_of(study(kl_wins))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_no_two_notes_of_a_table_have_the_same_letters() -> None:
    notes = FootNotes()
    marks = [notes.marks(f"note {number}") for number in range(60)]
    assert marks[:2] == ["a", "b"] and marks[25:28] == ["z", "aa", "bb"] and len(set(marks)) == 60
    assert notes.marks("note 27", None, "note 0") == "bb,a"
