"""Label budgets show every class where they can; what they do not show is said before training, and after it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from conftest import new_manifest, write_discs
from hypothesis import given
from hypothesis import strategies as st

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.budgets import LabelBudgets
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.errors import DataError, UsageError
from bioseg_cli.evaluation.baselines import FITTING_IMAGES, fit_baseline
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.study import job, worker
from bioseg_cli.training.fit import object_diameter
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.labels import labels_to_learn, labels_to_name_clusters
from bioseg_cli.training.uda import UDA
from bioseg_cli.training.uda_settings import TrainUDAConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SIZE = 32
NAMES = ("background", "cell", "rim")
TINY = ("--width", 2, "--steps", 3, "--crop", 32)
BOTH, EMPTY, FULL = {0, 1}, {0}, {1}


def write_showing(
    path: Path, training: Sequence[Collection[int]], held_out: Collection[int] = (0, 1), classes: int = 2
) -> Path:
    """A data set whose training images, in label order, show these classes, as stripes beside an ignored one.

    Two validation images and a test image show those of `held_out`.
    """

    def item(number: int, codes: Collection[int], split: str) -> Item:
        stripes = np.resize([*codes, 255], SIZE).astype(np.uint8)
        mask = np.tile(stripes, (SIZE, 1))
        image = np.random.default_rng(number).integers(0, 50, mask.shape) + 60 * (mask % 255)
        source = ItemSource(f"image{number}.tif", f"{number:064x}", 0, (0, 0), mask.shape)
        return Item(image.astype(np.uint8)[None], mask, split, f"g{number}", source)

    count = len(training) + 3
    # Where the writer's own order will put each of them.
    order = np.random.default_rng([0, count]).permutation(np.arange(len(training)))
    shown = dict(zip(order.tolist(), training, strict=True))
    with DatasetWriter(path, count=count, image_shape=(1, SIZE, SIZE), image_dtype=np.uint8) as writer:
        for number in range(count):
            split = "train" if number < len(training) else "val" if number < count - 1 else "test"
            writer.add(item(number, shown.get(number, held_out), split))
        infos = tuple(ClassInfo(name=name, colour=(9, 9, 9)) for name in NAMES[:classes])
        writer.finish(DatasetInfo("stripes", {}, infos, Normalisation("minmax", (0.0,), (255.0,))))
    return path


def shown_by(dataset: Dataset, indices: np.ndarray) -> list[set[int]]:
    return [set(np.unique(dataset.labels(index)).tolist()) - {255} for index in indices.tolist()]


def said(result: Result) -> str:
    return " ".join(result.output.split())


# The images of a budget -----------------------------------------------------------------------------------------------


@given(st.lists(st.frozensets(st.integers(0, 4)), min_size=1, max_size=10), st.randoms())
def test_budgets_are_nested_complete_as_early_as_they_can_be_and_else_the_old_ones(shown, dice):
    order = np.array(dice.sample(range(len(shown)), len(shown)))
    budgets = LabelBudgets(order, 5, shown.__getitem__)
    every = frozenset().union(*shown)

    def classes(indices):
        return frozenset().union(*(shown[index] for index in indices))

    subsets = [budgets.first(count).tolist() for count in range(1, len(shown) + 1)]
    for count, subset in enumerate(subsets, 1):
        assert len(set(subset)) == count
        assert budgets.classes_in(np.array(subset)) == classes(subset)
        if classes(order[:count]) == every:
            assert subset == order[:count].tolist()
        if count > 1:
            assert set(subsets[count - 2]) < set(subset)
    complete = [count for count, subset in enumerate(subsets, 1) if classes(subset) == every]
    assert complete == list(range(max(1, budgets.enough), len(shown) + 1))
    # Each image until then adds as much as any image of the shortest complete beginning of the order would.
    shortest = next(count for count in range(len(order) + 1) if classes(order[:count]) == every)
    if budgets.enough < shortest:
        taken = subsets[budgets.enough - 1]
        for place in range(budgets.enough):
            before = classes(taken[:place])
            assert len(shown[taken[place]] - before) == max(len(shown[index] - before) for index in order[:shortest])


def test_masks_are_read_until_every_class_was_seen_and_once():
    read = []

    def shown(index: int) -> frozenset[int]:
        read.append(index)
        return frozenset({0, index})

    budgets = LabelBudgets(np.arange(1000), 3, shown)
    assert budgets.first(5).tolist() == [0, 1, 2, 3, 4]
    assert set(read) == {0, 1, 2}
    assert LabelBudgets(np.arange(1000), 1001, shown).first(1000).tolist() == list(range(1000))
    assert len(read) == 3


@pytest.mark.parametrize(
    ("training", "subsets"),
    [
        # The second image is the first that shows both.
        ([EMPTY, BOTH, EMPTY], [[1], [0, 1], [0, 1, 2]]),
        ([FULL, FULL, BOTH, EMPTY], [[2], [2, 0], [0, 1, 2], [0, 1, 2, 3]]),
        # Nothing but two images will do.
        ([EMPTY, EMPTY, FULL, EMPTY], [[0], [0, 2], [0, 1, 2], [0, 1, 2, 3]]),
        # Complete from the start, or never: as they are.
        ([BOTH, EMPTY, FULL], [[0], [0, 1], [0, 1, 2]]),
        ([EMPTY, EMPTY], [[0], [0, 1]]),
    ],
)
def test_a_class_that_the_first_images_lack_is_drawn_early(tmp_path: Path, training, subsets):
    with Dataset(write_showing(tmp_path / "d.h5", training)) as dataset:
        place = {index: number for number, index in enumerate(dataset.label_order.tolist())}
        assert shown_by(dataset, dataset.label_order) == [set(codes) for codes in training]
        found = [[place[index] for index in dataset.label_subset(count=n + 1).tolist()] for n in range(len(training))]
        assert found == subsets


def test_every_draw_shows_both_classes_and_is_the_old_one_where_that_did(tmp_path: Path):
    with Dataset(write_showing(tmp_path / "d.h5", [EMPTY, EMPTY, BOTH, EMPTY, FULL, EMPTY])) as dataset:
        changed = 0
        for draw in range(12):
            order = dataset.label_order if draw == 0 else np.random.default_rng([draw, 6]).permutation(
                dataset.label_order
            )  # fmt: skip
            for count in range(1, 7):
                found = dataset.label_subset(count=count, draw=draw)
                old_is_complete = set().union(*shown_by(dataset, order[:count])) == BOTH
                if old_is_complete:
                    assert found.tolist() == order[:count].tolist()
                if count > 1 or BOTH in shown_by(dataset, order[: dataset.label_budgets(draw)._complete]):
                    assert set().union(*shown_by(dataset, found)) == BOTH
                changed += not old_is_complete
        assert changed == 20


# Said before training -------------------------------------------------------------------------------------------------


def manifest(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "manifest.yaml").read_text())


def test_labels_of_a_single_class_are_refused_with_what_to_do(bioseg: Cli, tmp_path: Path):
    data = write_showing(tmp_path / "d.h5", [EMPTY, EMPTY, FULL, EMPTY])
    run = tmp_path / "run"
    result = bioseg("train-uda", data, "--labels", 1, "--run", run, *TINY)
    assert result.exit_code == 2
    assert "The labelled image shows nothing but 'background': a network learns nothing from a single class" in said(
        result
    )
    assert "Give --labels 2 or more." in said(result)
    assert not run.exists()
    done = bioseg("train-uda", data, "--labels", 2, "--run", run, *TINY)
    assert done.exit_code == 0, done.output
    assert "Warning" not in done.output
    assert manifest(run)["labels"]["unseen"] == []
    result = bioseg("train-iic", data, "--map-labels", 1, "--run", tmp_path / "iic", "--width", 2, "--epochs", 1)
    assert result.exit_code == 2
    assert "nothing but 'background': a single class names no cluster" in said(result)
    assert "Give --map-labels 2 or more, or all." in said(result)
    assert not (tmp_path / "iic").exists()


@pytest.mark.parametrize(
    ("shown", "words"), [(EMPTY, "nothing but 'background'"), ((), "no class at all, every pixel is ignored")]
)
def test_masks_that_all_show_a_single_class_are_refused(bioseg: Cli, tmp_path: Path, shown, words: str):
    data = write_showing(tmp_path / "d.h5", [shown] * 3)
    result = bioseg("train-uda", data, "--labels", 2, "--run", tmp_path / "run", *TINY)
    assert result.exit_code == 3
    assert f"All 3 labelled training images together show {words}: a network learns nothing" in said(result)
    assert "of masks that show another class too" in said(result)
    assert not (tmp_path / "run").exists()
    # Without labels there is something to learn all the same, and nothing to name it by.
    done = bioseg("train-iic", data, "--run", tmp_path / "iic", "--width", 2, "--epochs", 1, "--quiet")
    assert done.exit_code == 0, done.output
    assert f"All masks of the train split show {words}: no cluster can be named by them" in said(done)
    assert "mappings" not in manifest(tmp_path / "iic")


def test_a_class_without_a_label_is_named_before_training_even_when_quiet(bioseg: Cli, tmp_path: Path):
    data = write_showing(tmp_path / "d.h5", [BOTH, BOTH, {0, 2}, BOTH], classes=3)
    for labels, words in (
        (1, "The labelled training image of this run has no pixel of 'rim'."),
        (None, "No labelled training image has a pixel of 'rim'."),
    ):
        if labels is None:
            data = write_showing(tmp_path / "without.h5", [BOTH] * 4, classes=3)
        result = bioseg("train-uda", data, "--labels", labels or 2, "--run", tmp_path / f"{labels}", *TINY, "--quiet")
        assert result.exit_code == 0, result.output
        assert f"Warning: {words} The network cannot learn what it has no label of, and will get it wrong." in said(
            result
        )
        assert ("A run with --labels 2 or more has it." in result.output) == (labels is not None)
        assert manifest(tmp_path / f"{labels}")["labels"]["unseen"] == ["rim"]
    result = bioseg(
        "train-iic", data, "--map-labels", 2, "--run", tmp_path / "iic", "--width", 2, "--epochs", 1, "--quiet"
    )
    assert result.exit_code == 0, result.output
    assert "No labelled training image has a pixel of 'rim'. No cluster can rightly be named so." in said(result)
    assert manifest(tmp_path / "iic")["mapped_by"]["unseen"] == ["rim"]


def test_a_resumed_run_keeps_the_images_that_its_manifest_names(bioseg: Cli, tmp_path: Path):
    data = write_showing(tmp_path / "d.h5", [EMPTY, BOTH, EMPTY, BOTH])
    run = tmp_path / "run"
    assert bioseg("train-uda", data, "--labels", 1, "--run", run, *TINY, "--quiet").exit_code == 0
    with Dataset(data) as dataset:
        first, second = (dataset.name(index) for index in dataset.label_order[:2].tolist())
    assert manifest(run)["labels"]["images"] == [second]
    # As a version that took the first image of the order left it.
    old = manifest(run)
    old["labels"] = {"count": 1, "of": 4, "draw": 0, "images": [first]}
    (run / "manifest.yaml").write_text(yaml.safe_dump(old))
    resumed = bioseg("train-uda", "--resume", run, "--steps", 5, "--quiet")
    assert resumed.exit_code == 0, resumed.output
    area = {"pixels": SIZE * SIZE // 2, "share": 0.5}
    assert manifest(run)["labels"] == {**old["labels"], "unseen": ["cell"], **area}
    assert "of this run has no pixel of 'cell'." in said(resumed)
    with Dataset(data) as dataset:
        config = TrainUDAConfig(labels=1, resume=run, width=2)
        assert [dataset.name(index) for index in UDA(dataset, config, torch.device("cpu")).labelled] == [first]
        old["labels"]["images"] = ["gone"]
        (run / "manifest.yaml").write_text(yaml.safe_dump(old))
        with pytest.raises(DataError, match="not the one this run was trained on"):
            labels_to_learn(dataset, config)


def test_the_images_that_name_clusters_show_every_class_and_are_kept(tmp_path: Path):
    with Dataset(write_showing(tmp_path / "d.h5", [EMPTY, BOTH, EMPTY, FULL])) as dataset:
        order = dataset.label_order.tolist()
        assert labels_to_name_clusters(dataset, TrainIICConfig(map_labels="1")).indices.tolist() == order[1:2]
        assert labels_to_name_clusters(dataset, TrainIICConfig(map_labels="3")).indices.tolist() == order[:3]
        run = tmp_path / "run"
        run.mkdir()
        names = [dataset.name(order[3]), dataset.name(order[0])]
        (run / "manifest.yaml").write_text(
            yaml.safe_dump(
                {
                    **new_manifest().content(),
                    "command": "train-iic",
                    "clusters": {"main": 2, "aux": 10},
                    "mapped_by": {"split": "train", "images": names},
                }
            )
        )
        found = labels_to_name_clusters(dataset, TrainIICConfig(map_labels="2", resume=run))
        assert found.indices.tolist() == [order[3], order[0]]
        with pytest.raises(UsageError, match="the train split has 4"):
            labels_to_name_clusters(dataset, TrainIICConfig(map_labels="5"))


def test_a_study_is_refused_before_it_trains_where_labels_show_a_single_class(bioseg: Cli, tmp_path: Path):
    data = write_showing(tmp_path / "d.h5", [EMPTY, EMPTY, FULL, EMPTY])
    plan = tmp_path / "plan.yaml"
    values = {"data": {"Stripes": str(data)}, "losses": ["kl"], "draws": 2, "seeds": 1, "steps": 2}
    plan.write_text(yaml.safe_dump({**values, "labels": [1, 2]}))
    result = bioseg("study", plan, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 2
    assert "The labelled image shows nothing but 'background': a network learns nothing from a single class" in said(
        result
    )
    assert f"in {plan}" in said(result)
    assert f"Of label draw 0, ask for 2 labels or more of {data}." in said(result)
    assert not (tmp_path / "out").exists()
    plan.write_text(yaml.safe_dump({**values, "labels": [2]}))
    assert bioseg("study", plan, "--out", tmp_path / "out", "--dry-run").exit_code == 0


def test_the_bands_of_a_baseline_are_named_by_images_that_show_every_class(tmp_path: Path, monkeypatch):
    # The only image with the third class comes after more images than are looked at.
    training = [{0, 1}] * (FITTING_IMAGES + 3) + [{0, 1, 2}]
    read = set()
    original = Dataset.image
    monkeypatch.setattr(Dataset, "image", lambda self, index: (read.add(index), original(self, index))[1])
    with Dataset(write_showing(tmp_path / "d.h5", training, classes=3)) as dataset:
        fit_baseline("otsu", dataset)
        assert len(read) == FITTING_IMAGES
        assert dataset.label_order[-1] in read


# Said after training --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unseeing(bioseg: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no label showed the class 'rim', which held-out images have."""
    folder = tmp_path_factory.mktemp("unseeing")
    data = write_showing(folder / "d.h5", [BOTH] * 4, held_out=(0, 1, 2), classes=3)
    done = bioseg("train-uda", data, "--labels", 2, "--run", folder / "run", *TINY, "--unsup-loss", "none", "--quiet")
    assert done.exit_code == 0, done.output
    return folder / "run"


def test_evaluate_marks_the_class_that_the_training_had_no_label_of(bioseg: Cli, unseeing: Path):
    found = json.loads(bioseg("evaluate", unseeing, "--json", "--draws", 100).stdout)["runs"][0]
    assert found["unseen"] == ["rim"]
    assert found["iou"]["rim"] < 0.5
    note = f"{unseeing}: no labelled image of the training shows 'rim' (*): it could not be learnt."
    assert note in found["notes"]
    table = bioseg("evaluate", unseeing, "--draws", 100).stdout
    (marked,) = (line for line in table.splitlines() if line.rstrip().endswith("*"))
    assert f"{found['iou']['rim']:.4f} ({found['dice']['rim']:.4f}) *" in marked
    assert table.count(") *") == 1
    assert note in " ".join(table.split())


def test_a_run_of_an_earlier_version_is_looked_at_where_its_data_are(bioseg: Cli, unseeing: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(unseeing, run)
    old = manifest(run)
    del old["labels"]["unseen"]
    (run / "manifest.yaml").write_text(yaml.safe_dump(old))

    def unseen(*options: object) -> object:
        result = bioseg("evaluate", run, "--json", "--draws", 100, *options)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["runs"][0]["unseen"]

    assert unseen() == ["rim"]
    # Of other data nothing is known.
    other = write_showing(tmp_path / "other.h5", [{0, 1, 2}] * 3, (0, 1, 2), classes=3)
    assert unseen("--data", other, "--allow-seen") is None


def test_clusters_without_a_label_of_a_class_are_marked_where_labels_named_them(bioseg: Cli, tmp_path: Path):
    data = write_showing(tmp_path / "d.h5", [BOTH] * 3, held_out=(0, 1, 2), classes=3)
    run = tmp_path / "run"
    done = bioseg("train-iic", data, "--run", run, "--width", 2, "--epochs", 1, "--map-labels", 2, "--quiet")
    assert done.exit_code == 0, done.output
    rows = json.loads(bioseg("evaluate", run, "--json", "--draws", 100).stdout)["runs"]
    assert {(row["mapping"]["kind"], str(row["unseen"])) for row in rows} == {("stored", "['rim']"), ("oracle", "None")}
    note = f"{run}: no image that named the clusters shows 'rim' (*): none can rightly be named so."
    assert rows[0]["notes"].count(note) == 1


def test_a_report_names_it_too(bioseg: Cli, unseeing: Path, tmp_path: Path):
    result = bioseg("report", unseeing, "--out", tmp_path / "page.html", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [run["unseen"] for run in found["runs"]] == [["rim"]]
    sentence = "1 run on d had no label of ‘rim’, which could not be learnt, and is counted all the same: run."
    assert sentence in found["summary"]
    page = (tmp_path / "page.html").read_text()
    assert sentence in page
    assert "1 of 1 run without a label of ‘rim’" in page


def test_a_study_names_it_too(bioseg: Cli, unseeing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def do_here(module: str, line: str, log: Path, *, threads: int | None) -> dict[str, Any]:
        log.parent.mkdir(parents=True, exist_ok=True)
        return worker.reply(line.encode())

    monkeypatch.setattr(job, "ask", do_here)
    data = manifest(unseeing)["data"]["path"]
    plan = tmp_path / "plan.yaml"
    values = {"data": {"Stripes": data}, "labels": [2], "losses": ["kl"], "draws": 1, "seeds": 1, "steps": 2}
    plan.write_text(yaml.safe_dump({**values, "uda": {"width": 2, "crop": 32}, "split": "val", "threads": 1}))
    shown = bioseg("study", plan, "--out", tmp_path / "out", "--quiet")
    assert shown.exit_code == 0, shown.output
    assert said(shown).count("has no label of 'rim'; that is counted all the same.") == 3


# Images by name -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".json", ".list.json", ".txt", ".TXT"])
def test_named_images_are_those_that_are_learnt_from(suffix: str, bioseg: Cli, tmp_path: Path) -> None:
    data = write_showing(tmp_path / "d.h5", [BOTH] * 8)
    wanted = ["image6", "image1", "image4"]
    file = tmp_path / f"chosen{suffix}"
    if suffix == ".json":
        file.write_text(json.dumps({"suggested": [{"rank": 1, "image": name} for name in wanted]}))
    elif suffix == ".list.json":
        file.write_text(json.dumps(wanted))
    else:
        file.write_bytes("\ufeff{}\r\n\r\n{}\r\n{}".format(*wanted).encode())
    run = tmp_path / "run"
    done = bioseg("train-uda", data, "--label-images", file, "--run", run, "--unsup-loss", "none", *TINY)
    assert done.exit_code == 0, done.output
    record = yaml.safe_load((run / "manifest.yaml").read_text())
    assert record["labels"]["images"] == record["config"]["label_images"] == wanted
    assert (record["labels"]["count"], record["labels"]["of"]) == (3, 8)
    # The record stands on its own.
    file.unlink()
    again = bioseg("train-uda", "--config", run / "manifest.yaml", "--run", tmp_path / "again")
    assert again.exit_code == 0, again.output
    repeated = yaml.safe_load((tmp_path / "again" / "manifest.yaml").read_text())
    assert repeated["labels"] == record["labels"] and repeated["hash"] == record["hash"]


def test_what_suggest_prints_is_what_training_takes(bioseg: Cli, tmp_path: Path) -> None:
    data = write_showing(tmp_path / "d.h5", [BOTH] * 8)
    chosen = tmp_path / "chosen.json"
    chosen.write_text(bioseg("suggest", data, "--among", "all", "--count", 3, "--json").stdout)
    run = tmp_path / "run"
    done = bioseg("train-uda", data, "--preset", "best", "--label-images", chosen, "--run", run, *TINY)
    assert done.exit_code == 0, done.output
    names = [image["image"] for image in json.loads(chosen.read_text())["suggested"]]
    record = yaml.safe_load((run / "manifest.yaml").read_text())
    assert record["labels"]["images"] == names and len(names) == 3
    assert record["config"]["ratio"] is None


def test_the_objects_of_named_images_decide_the_crop(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "d.h5", wrong=(1,))
    with Dataset(data) as dataset:
        sizes = [object_diameter(dataset, TrainUDAConfig(label_images=(name,))) for name in ("disc0", "disc1")]
    assert sizes[0] < 16 < sizes[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--label-images: chosen.txt could not be read (No such file or directory)"),
        ("\n \n", "--label-images: chosen.txt names no image"),
        ("image1\nimage2\nimage1", "--label-images names 'image1' twice"),
        ("image1\nimage99", "The data set has no image 'image99': --label-images names what cannot be learnt from"),
        ("image1\nimage9", "'image9' is in the val split: --label-images names what cannot be learnt from"),
        ("image1\nimage7", "'image7' has no mask: --label-images names what cannot be learnt from"),
        ("image0\nimage3", "The images of --label-images show nothing but 'background': a network learns nothing"),
    ],
)
def test_names_that_cannot_be_learnt_from_are_refused(
    content: str | None, message: str, bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_showing(tmp_path / "d.h5", [BOTH] * 8)
    with (
        Dataset(source) as dataset,
        DatasetWriter(
            tmp_path / "e.h5", count=dataset.size, image_shape=dataset.image_shape, image_dtype=np.uint8
        ) as writer,
    ):
        for index in range(dataset.size):
            labels = dataset.labels(index) * (index not in (0, 3))
            group = str(dataset.group[index])
            item = Item(
                dataset.image(index), None if index == 7 else labels, dataset.split[index], group, dataset.source(index)
            )
            writer.add(item)
        writer.finish(dataset.info)
    if content is not None:
        Path("chosen.txt").write_text(content)
    refused = bioseg("train-uda", "e.h5", "--label-images", "chosen.txt", "--run", "run", *TINY)
    assert refused.exit_code == 2 and message in said(refused), refused.output
    assert not Path("run").exists()


@pytest.mark.parametrize(
    "content",
    ["torn", "{}", "[1]", '{"suggested": [{"rank": 1}]}', '{"suggested": 3}', "3", "[" * 100_000],
    ids=["torn", "mapping", "number in a list", "no name", "no list", "number", "deep"],
)
def test_json_that_suggest_did_not_print_is_refused(content: str, bioseg: Cli, tmp_path: Path) -> None:
    (tmp_path / "chosen.json").write_text(content)
    refused = bioseg("train-uda", tmp_path / "d.h5", "--label-images", tmp_path / "chosen.json")
    assert refused.exit_code == 2 and "could not be read (it is not the JSON of `bioseg suggest`)" in said(refused)


@pytest.mark.parametrize("other", [("--labels", 2), ("--ratio", 0.5), ("--label-draw", 1)])
def test_names_and_a_budget_exclude_each_other(other: tuple[object, ...], bioseg: Cli, tmp_path: Path) -> None:
    refused = bioseg("train-uda", tmp_path / "d.h5", "--label-images", "image1", *other)
    assert refused.exit_code == 2 and "leave out --ratio, --labels and --label-draw" in said(refused)
