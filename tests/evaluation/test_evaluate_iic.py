"""`bioseg evaluate` on runs of train-iic: a row for each head and mapping, and what is said of them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import conftest
import numpy as np
import pytest
from helpers.scores import RUN_KEYS, SCORE_KEYS, change_manifest
from PIL import Image

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.evaluation.clusters import ORACLE_NOTE, ClusterCounts
from bioseg_cli.evaluation.document import ClusterMapping
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.metrics.mapping import contingency, hungarian, many_to_one, mapped_counts
from bioseg_cli.prediction.predictor import Predictor

pytestmark = pytest.mark.slow

TRAINING = tuple(range(8))
EVERYWHERE = tuple(range(13))
# Enough that the clusters depend on the image.
SMALL = (
    "--width", 2, "--batch-size", 4, "--epochs", 3, "--norm", "instance", "--optimizer", "adam", "--heads", "joint",
    "--aux-clusters", 5, "--quiet",
)  # fmt: skip
ROWS = [("main", "stored"), ("main", "oracle"), ("aux", "stored"), ("aux", "oracle")]


@pytest.fixture(scope="module")
def train(bioseg):
    def run(data: Path, path: Path, *options: object) -> Path:
        result = bioseg("train-iic", data, "--run", path, *SMALL, *options)
        assert result.exit_code == 0, result.output
        return path

    return run


@pytest.fixture(scope="module")
def misled_data(tmp_path_factory):
    """The masks of the training images are the opposite of what they should be; those of the others are right."""
    return conftest.write_discs(tmp_path_factory.mktemp("data") / "misled.h5", wrong=TRAINING)


@pytest.fixture(scope="module")
def misled(tmp_path_factory, train, misled_data):
    return train(misled_data, tmp_path_factory.mktemp("runs") / "misled", "--map-labels", 3)


@pytest.fixture(scope="module")
def unmapped(tmp_path_factory, train):
    folder = tmp_path_factory.mktemp("unmapped")
    return train(conftest.write_discs(folder / "bare.h5", unlabelled=EVERYWHERE), folder / "run")


@pytest.fixture
def evaluate(bioseg):
    def run(*arguments):
        result = bioseg("evaluate", "--json", "--draws", 100, "--baselines", "none", *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["runs"]

    return run


def kinds(rows):
    return [(row["head"], row["mapping"]["kind"]) for row in rows]


def test_every_head_and_mapping_has_a_row(evaluate, misled, misled_data):
    rows = evaluate(misled)
    assert kinds(rows) == ROWS
    for row in rows:
        assert row.keys() == RUN_KEYS | {"head", "mapping"}
        assert (row["state"], row["labels"], row["baselines"]) == ("best-final", None, {})
    mappings = [row["mapping"] for row in rows]
    assert [
        (mapping["rule"], mapping["split"], mapping["images"], len(mapping["classes"])) for mapping in mappings
    ] == [
        ("hungarian", "train", 3, 2),
        ("hungarian", "val", 3, 2),
        ("majority", "train", 3, 5),
        ("majority", "val", 3, 5),
    ]
    # The opposite masks turned the main head's mapping round.
    assert mappings[0]["classes"] == mappings[1]["classes"][::-1]
    notes = " ".join(rows[0]["notes"])
    assert (
        "stored: 3 labelled training images decided what each cluster is (main by hungarian, aux by majority)" in notes
    )
    assert "an upper bound" in notes


def test_no_mapping_matches_more_pixels_than_the_oracle(evaluate, misled):
    rows = {(row["head"], row["mapping"]["kind"]): row["pixel_accuracy"] for row in evaluate(misled, "--split", "test")}
    for head in ("main", "aux"):
        assert rows[head, "oracle"] > rows[head, "stored"]


def test_the_oracle_bounds_the_right_pixels_and_not_the_mean_iou():
    # The second cluster has most of the few cells, and more background than cells.
    counts = ClusterCounts(("image",), ("image",), {"aux": np.array([[[900, 10], [60, 50]]])})
    stored = ClusterMapping(kind="stored", rule="majority", split="train", images=1, classes=(0, 1))
    oracle = counts.oracle("aux", "test")
    assert oracle.classes == (0, 0)
    right, iou = [], []
    for mapping in (stored, oracle):
        images = counts.mapped("aux", mapping)
        right.append(np.trace(images.counts[0]))
        iou.append(images.image_iou()[0])
    assert right[1] > right[0]
    assert iou[1] < iou[0]
    assert "not of the mean IoU" in ORACLE_NOTE


@pytest.mark.parametrize("head", ["main", "aux"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_stored_rows_are_what_the_predicted_masks_score(bioseg, evaluate, misled, misled_data, tmp_path, head, split):
    options = ("--head", head, "--split", split)
    result = bioseg("predict", misled, misled_data, "--out", tmp_path / "masks", *options, "--quiet")
    assert result.exit_code == 0, result.output
    (of_run,) = evaluate(misled, *options, "--mapping", "stored")
    (of_masks,) = evaluate("--predictions", tmp_path / "masks", "--truth", misled_data, "--split", split)
    for key in SCORE_KEYS:
        assert of_run[key] == of_masks[key], key


@pytest.mark.parametrize("head", ["main", "aux"])
def test_oracle_rows_are_fitted_on_what_they_score(bioseg, evaluate, misled, misled_data, tmp_path, head):
    options = ("--head", head, "--split", "test")
    bioseg("predict", misled, misled_data, "--out", tmp_path / "clusters", *options, "--raw-clusters", "--quiet")
    count = {"main": 2, "aux": 5}[head]
    table = np.zeros((count, 2), dtype=np.int64)
    with Dataset(misled_data) as dataset:
        for index in dataset.indices("test").tolist():
            clusters = read_mask(tmp_path / "clusters" / f"{dataset.name(index)}.tif")
            table += contingency(clusters, dataset.labels(index), count, 2)
    mapping = (hungarian if head == "main" else many_to_one)(table)
    (found,) = evaluate(misled, *options, "--mapping", "oracle")
    assert found["confusion"] == mapped_counts(table, mapping).tolist()
    assert found["mapping"]["classes"] == mapping.tolist()


def test_raw_clusters_are_not_scored_as_classes(bioseg, misled, misled_data, tmp_path):
    bioseg("predict", misled, misled_data, "--out", tmp_path / "clusters", "--raw-clusters", "--quiet")
    result = bioseg("evaluate", "--predictions", tmp_path / "clusters", "--truth", misled_data)
    assert result.exit_code == 3
    assert "numbers of clusters, which are no classes" in result.stderr


def test_an_image_is_predicted_once_for_all_heads_and_mappings(evaluate, misled, monkeypatch):
    predicted = []
    original = Predictor.probabilities_by_head
    monkeypatch.setattr(
        Predictor,
        "probabilities_by_head",
        lambda self, heads, images, *rest: (
            predicted.append((heads, len(images))),
            original(self, heads, images, *rest),
        )[1],
    )
    evaluate(misled)
    assert predicted == [(("main", "aux"), 3)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--head", "aux"), ROWS[2:]),
        (("--mapping", "stored"), ROWS[::2]),
        (("--mapping", "oracle"), ROWS[1::2]),
        (("--head", "main", "--mapping", "oracle"), ROWS[1:2]),
        (("--state", "all"), ROWS * 2),
    ],
)
def test_rows_can_be_chosen(evaluate, misled, options, expected):
    assert kinds(evaluate(misled, *options)) == expected


def test_states(bioseg, evaluate, misled, misled_data, disc_run):
    both = evaluate(disc_run, misled, "--data", misled_data, "--mapping", "stored")
    assert [row["state"] for row in both] == ["best-supervised", "best-final", "best-final"]
    assert both[0].keys() == RUN_KEYS | {"seen"}  # the run has learnt from images that the other data set holds too
    assert {row["state"] for row in evaluate(misled, "--state", "all")} == {"best-final", "last"}
    result = bioseg("evaluate", misled, "--state", "best-supervised")
    assert result.exit_code == 3
    assert "It has best-final, last: give --state." in result.stderr


def test_without_a_stored_mapping_the_oracle_is_all_there_is(bioseg, evaluate, unmapped, misled_data):
    rows = evaluate(unmapped, "--data", misled_data)
    assert kinds(rows) == ROWS[1::2]
    assert any("no stored mapping" in note for note in rows[0]["notes"])
    result = bioseg("evaluate", unmapped, "--data", misled_data, "--mapping", "stored")
    assert result.exit_code == 2
    assert "has no stored mapping for its state best-final" in result.stderr
    assert "--mapping oracle" in result.stderr


def test_a_mapping_decided_on_the_scored_images_is_said_to_be(evaluate, train, misled, tmp_path):
    data = conftest.write_discs(tmp_path / "val.h5", unlabelled=TRAINING)
    run = train(data, tmp_path / "run")
    said = "the images that decided the stored mapping are among those scored here"
    for options, expected in (
        (("--split", "val"), True),
        (("--split", "val", "--data", data), True),
        (("--split", "test"), False),
    ):
        (row, *_) = evaluate(run, *options)
        assert (row["mapping"]["split"], row["mapping"]["images"]) == ("val", 3)
        assert any("3 labelled validation images decided" in note for note in row["notes"])
        assert any(said in note for note in row["notes"]) is expected
    assert not any(said in note for note in evaluate(misled)[0]["notes"])


def test_a_collapsed_head_is_said_to_be(evaluate, misled, tmp_path):
    run = shutil.copytree(misled, tmp_path / "collapsed")
    change_manifest(run, status="collapsed", collapse={"best-final": {"aux": "half and half"}, "last": {}})
    said = f"{run}, best-final: the aux head has collapsed (half and half)."
    assert said in evaluate(run)[0]["notes"]
    assert said not in evaluate(run, "--state", "last")[0]["notes"]


def test_clusters_have_no_control_and_are_none(bioseg, misled, misled_data, disc_run, disc_control):
    result = bioseg("evaluate", misled, "--control", disc_control, "--data", misled_data)
    assert result.exit_code == 2
    assert f"--control is for runs of train-uda, and {misled} is one of train-iic" in result.stderr
    assert "Give both as RUNS" in result.stderr
    result = bioseg("evaluate", disc_run, "--control", misled, "--data", misled_data)
    assert result.exit_code == 2
    assert "has clusters and no classes" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"), [(("--head", "aux"), "has no head 'aux', only main"), (("--mapping", "oracle"), "train-iic")]
)
def test_runs_with_labels_have_neither(bioseg, evaluate, disc_run, options, said):
    result = bioseg("evaluate", disc_run, *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert evaluate(disc_run, "--head", "main")[0].keys() == RUN_KEYS


def test_baselines_are_chosen(bioseg, disc_run):
    def found(*options):
        result = bioseg("evaluate", disc_run, "--json", "--draws", 100, *options)
        return json.loads(result.stdout)["runs"][0]

    assert list(found()["baselines"]) == ["otsu", "all-background"]
    every = found("--baselines", "all-background,local,kmeans,otsu")
    assert list(every["baselines"]) == ["otsu", "kmeans", "local", "all-background"]
    # The discs are bright on an even ground.
    scores = {name: baseline["mean_iou"] for name, baseline in every["baselines"].items()}
    assert scores["kmeans"] == pytest.approx(scores["otsu"], abs=0.01)
    assert scores["otsu"] > scores["local"]
    assert [note.split(":")[0] for note in every["notes"]][-3:] == ["otsu", "kmeans", "local"]
    assert found("--baselines", "none")["baselines"] == {}


def test_files_of_a_report(bioseg, misled, tmp_path):
    arguments = ("evaluate", misled, "--csv", tmp_path / "t.csv", "--out", tmp_path / "out", "--draws", 100)
    result = bioseg(*arguments)
    assert result.exit_code == 0, result.output
    with (tmp_path / "t.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["head"], row["mapping"]) for row in rows] == [*ROWS, ("", ""), ("", "")]
    with (tmp_path / "out" / "per_image.csv").open() as stream:
        assert {(row["head"], row["mapping"]) for row in csv.DictReader(stream)} == {*ROWS, ("", "")}
    figures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert figures == {"clusters.png", *(f"{head}-{kind}-worst_best.png" for head, kind in ROWS)}
    # Image, truth, and two columns a head.
    with Image.open(tmp_path / "out" / "clusters.png") as figure:
        width = figure.width
    assert bioseg(*arguments, "--head", "aux", "--mapping", "stored", "--overwrite").exit_code == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"clusters.png", "aux-stored-worst_best.png"}
    with Image.open(tmp_path / "out" / "clusters.png") as figure:
        assert figure.width == pytest.approx(width * 4 / 6, abs=2)


def test_figures_of_several_states_are_told_apart(bioseg, misled, tmp_path):
    options = ("--state", "all", "--head", "main", "--mapping", "stored", "--draws", 100)
    assert bioseg("evaluate", misled, "--out", tmp_path / "out", *options).exit_code == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        f"misled-{state}-{name}"
        for state in ("best-final", "last")
        for name in ("clusters.png", "main-stored-worst_best.png")
    }


def test_the_documentation_names_the_keys_of_clusters(evaluate, misled):
    text = (Path(__file__).parents[2] / "docs/evaluate.md").read_text()
    (row, *_) = evaluate(misled)
    keys = {"head", "mapping", *row["mapping"]}
    assert [key for key in keys if f"`{key}`" not in text] == []
