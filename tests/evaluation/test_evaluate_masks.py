"""`bioseg evaluate --predictions`: mask files of any tool against a folder of truth or a data set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from sklearn.metrics import confusion_matrix

from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.normalisation import Normalisation

pytestmark = pytest.mark.slow

H, W = 30, 40


def truth_mask(index: int) -> np.ndarray:
    """A (30, 40) mask of a few blobs of class 1."""
    random = np.random.default_rng(index)
    mask = np.zeros((H, W), dtype=np.uint8)
    for _ in range(5):
        y, x = random.integers(0, (H - 8, W - 8))
        mask[y : y + 6, x : x + 7] = 1
    return mask


def predicted_mask(index: int) -> np.ndarray:
    return np.roll(truth_mask(index), 2, axis=1)


def save(folder: Path, name: str, mask: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    if path.suffix == ".png":
        Image.fromarray(mask).save(path)
    else:
        tifffile.imwrite(path, mask, photometric="rgb" if mask.shape[-1] == 3 else "minisblack", metadata=None)


@pytest.fixture
def folders(tmp_path):
    """Five true masks (0 and 255) and the masks of a tool that shifts them (0 and 1)."""
    for index in range(5):
        save(tmp_path / "truth", f"cell{index}.png", truth_mask(index) * 255)
        save(tmp_path / "pred", f"cell{index}.tif", predicted_mask(index))
    return tmp_path


@pytest.fixture
def score(bioseg):
    """The one result of an evaluation, read from its JSON."""

    def run(*arguments):
        result = bioseg("evaluate", "--json", *arguments)
        assert result.exit_code == 0, result.output
        (scores,) = json.loads(result.stdout)["runs"]
        return scores

    return run


def expected_confusion(indices=range(5)) -> np.ndarray:
    labels = np.concatenate([truth_mask(i).ravel() for i in indices])
    return confusion_matrix(labels, np.concatenate([predicted_mask(i).ravel() for i in indices]))


def test_numbers_are_those_of_the_pooled_confusion(folders, score):
    found = score("--predictions", folders / "pred", "--truth", folders / "truth")
    counts = expected_confusion()
    assert found["confusion"] == counts.tolist()
    iou = np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))
    assert list(found["iou"].values()) == pytest.approx(iou, abs=1e-12)
    assert found["mean_iou"] == pytest.approx(iou.mean(), abs=1e-12)
    assert found["mean_iou_foreground"] == pytest.approx(iou[1], abs=1e-12)
    assert found["dice"]["foreground"] == pytest.approx(2 * iou[1] / (1 + iou[1]), abs=1e-12)
    assert found["pixel_accuracy"] == pytest.approx(np.trace(counts) / counts.sum(), abs=1e-12)
    low, high = found["intervals"]["mean_iou"]
    assert low < found["mean_iou"] < high
    background = found["baselines"]["all-background"]
    assert background["mean_iou"] == pytest.approx(counts[0].sum() / counts.sum() / 2)
    assert found["images"] == 5


@pytest.mark.parametrize("coding", ["0/255", "instances", "colour", "suffix", "16 bit"])
def test_masks_of_any_tool_are_understood(folders, score, coding):
    for path in (folders / "pred").iterdir():
        path.unlink()
    for index in range(5):
        mask = predicted_mask(index)
        if coding == "0/255":
            save(folders / "pred", f"cell{index}.png", mask * 255)
        elif coding == "instances":
            columns = np.arange(W, dtype=np.uint16)[None] // 3 + 1
            save(folders / "pred", f"cell{index}.tif", mask * columns)
        elif coding == "colour":
            save(folders / "pred", f"cell{index}.png", mask[..., None] * np.array([200, 30, 0], dtype=np.uint8))
        elif coding == "suffix":
            save(folders / "pred", f"cell{index}_cp_masks.png", mask)
        else:
            save(folders / "pred", f"cell{index}.tif", mask.astype(np.uint16) * 65535)
    found = score("--predictions", folders / "pred", "--truth", folders / "truth")
    assert found["confusion"] == expected_confusion().tolist()


def test_pages_of_one_file_are_masks_of_their_own(tmp_path, score):
    save(tmp_path / "truth", "movie.tif", np.stack([truth_mask(i) for i in range(4)]))
    save(tmp_path / "pred", "movie.tif", np.stack([predicted_mask(i) for i in range(4)]))
    found = score("--predictions", tmp_path / "pred", "--truth", tmp_path / "truth", "--out", tmp_path / "report")
    assert found["confusion"] == expected_confusion(range(4)).tolist()
    assert found["images"] == 4
    assert "movie_f002" in (tmp_path / "report/per_image.csv").read_text()
    # All pages are of one file: resampling files has nothing to resample.
    grouped = score("--predictions", tmp_path / "pred", "--truth", tmp_path / "truth", "--by-group")
    assert grouped["intervals"]["mean_iou"] == [None, None]


@pytest.mark.parametrize("predicted", ["exp2_000_mask.png", "mask_000.png"])
def test_a_number_alone_makes_no_prediction(tmp_path, bioseg, predicted):
    save(tmp_path / "truth", "exp1_000_mask.png", truth_mask(0))
    save(tmp_path / "pred", predicted, predicted_mask(0))
    result = bioseg("evaluate", "--predictions", tmp_path / "pred", "--truth", tmp_path / "truth")
    assert result.exit_code == 3 and "no prediction: exp1_000_mask" in result.stderr


def test_two_predictions_of_one_image_are_refused_whatever_their_endings(folders, bioseg):
    save(folders / "pred", "cell4_cp_masks.png", predicted_mask(4))
    result = bioseg("evaluate", "--predictions", folders / "pred", "--truth", folders / "truth")
    assert result.exit_code == 3 and "cell4.tif and cell4_cp_masks.png are both named like cell4" in result.stderr


def test_names_that_are_not_alike_are_scored_and_said(tmp_path, score):
    save(tmp_path / "truth", "Cell-007.png", truth_mask(0))
    save(tmp_path / "pred", "cell_7_seg.png", predicted_mask(0))
    found = score("--predictions", tmp_path / "pred", "--truth", tmp_path / "truth")
    assert found["confusion"] == expected_confusion([0]).tolist()
    assert any(note.endswith("such as Cell-007.png with cell_7_seg.png.") for note in found["notes"])


def test_names_of_the_cell_tracking_challenge(tmp_path, score):
    for index in range(3):
        save(tmp_path / "SEG", f"man_seg{index:03d}.tif", truth_mask(index).astype(np.uint16))
        save(tmp_path / "01_RES", f"mask{index:03d}.tif", predicted_mask(index).astype(np.uint16))
        save(tmp_path / "01", f"t{index:03d}.tif", truth_mask(index) * 9)
    found = score("--predictions", tmp_path / "01_RES", "--truth", tmp_path / "SEG", "--images", tmp_path / "01")
    assert found["confusion"] == expected_confusion(range(3)).tolist()
    assert found["baselines"]["otsu"]["mean_iou"] == 1


def multi_class(folder: Path, name: str, values: list[int], index: int) -> np.ndarray:
    random = np.random.default_rng(index)
    codes = random.integers(0, len(values), (H, W))
    save(folder, name, np.array(values, dtype=np.uint8)[codes])
    return codes


def test_several_classes_and_an_ignore_label(tmp_path, score):
    truth = multi_class(tmp_path / "truth", "a.png", [0, 1, 2, 255], 1)
    predicted = multi_class(tmp_path / "pred", "a.png", [0, 1, 2], 2)
    found = score("--predictions", tmp_path / "pred", "--truth", tmp_path / "truth", "--classes", "none,left,right")
    counted = truth != 3
    expected = confusion_matrix(truth[counted], predicted[counted])
    assert found["confusion"] == expected.tolist()
    assert list(found["iou"]) == ["none", "left", "right"]


@pytest.mark.parametrize("of_bioseg", [True, False])
def test_gaps_between_class_values(tmp_path, score, of_bioseg):
    # Values 0, 2 and 5 become codes 0, 1 and 2; another tool keeps the values, bioseg writes the codes.
    truth = multi_class(tmp_path / "truth", "a.png", [0, 2, 5], 1)
    predicted = multi_class(tmp_path / "pred", "a.png", [0, 1, 2] if of_bioseg else [0, 2, 5], 2)
    if of_bioseg:
        (tmp_path / "pred/predictions.yaml").write_text("command: predict\n")
    found = score("--predictions", tmp_path / "pred", "--truth", tmp_path / "truth")
    assert found["confusion"] == confusion_matrix(truth.ravel(), predicted.ravel()).tolist()


def test_a_guess_about_the_truth_that_the_predictions_contradict_is_not_scored(tmp_path, bioseg, score):
    # As in BBBC039: the red channel numbers objects 1 to 3 so that neighbours differ.
    random = np.random.default_rng(0)
    drawn = random.integers(0, 4, (H, W)).astype(np.uint8)
    save(tmp_path / "truth", "a.png", drawn[..., None] * np.array([1, 0, 0], dtype=np.uint8))
    predicted = random.integers(0, 2, (H, W)).astype(np.uint8)
    save(tmp_path / "pred", "a.png", predicted * 255)
    arguments = "--predictions", tmp_path / "pred", "--truth", tmp_path / "truth"
    result = bioseg("evaluate", *arguments)
    assert result.exit_code == 3
    assert "look like 4 classes" in result.stderr
    assert "--masks-are binary" in result.stderr
    found = score(*arguments, "--masks-are", "binary")
    assert found["confusion"] == confusion_matrix(drawn.ravel() > 0, predicted.ravel()).tolist()


def probability_map(index: int) -> np.ndarray:
    """What a network gives before any threshold, as an 8-bit picture."""
    noise = np.random.default_rng(index).normal(0, 15, (H, W))
    return np.clip(30 + 200 * predicted_mask(index) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda pred: (pred / "cell3.tif").unlink(), "1 of 5 images have no prediction: cell3"),
        (lambda pred: save(pred, "cell2.tif", np.zeros((H, W + 1), np.uint8)), "30 x 41 pixels, its truth 30 x 40"),
        (lambda pred: (pred / "cell1.tif").write_bytes(b"II*\0broken"), "cell1.tif"),
        (lambda pred: save(pred, "cell4.png", predicted_mask(4)), "cell4.png and cell4.tif are both named like cell4"),
        (lambda pred: save(pred, "cell0.tif", np.zeros((3, H, W), np.uint8)), "holds 3 masks"),
        (lambda pred: [save(pred, f"cell{i}.tif", predicted_mask(i) + 1) for i in range(5)], "hold 1, 2"),
        (lambda pred: save(pred, "cell0.tif", probability_map(0)), "threshold probabilities first"),
    ],
    ids=["missing", "wrong shape", "damaged", "twice", "pages", "no background", "probabilities"],
)
def test_what_cannot_be_compared_is_refused(folders, bioseg, spoil, words):
    spoil(folders / "pred")
    result = bioseg("evaluate", "--predictions", folders / "pred", "--truth", folders / "truth")
    assert result.exit_code == 3, result.output
    assert words in result.stderr
    assert not result.stdout.strip()


def test_a_class_that_there_is_not_is_refused(tmp_path, bioseg):
    multi_class(tmp_path / "truth", "a.png", [0, 1, 2], 1)
    multi_class(tmp_path / "pred", "a.png", [0, 1, 2, 3], 2)
    arguments = "evaluate", "--predictions", tmp_path / "pred", "--truth", tmp_path / "truth"
    result = bioseg(*arguments)
    assert result.exit_code == 3
    assert "hold 0, 1, 2, 3; the classes are 0 'background', 1 'class 1', 2 'class 2'" in result.stderr
    assert bioseg(*arguments, "--classes", "background,a,b,c").exit_code == 0


def test_predictions_without_truth_are_said_and_left_out(folders, score):
    save(folders / "pred", "other.tif", predicted_mask(9))
    found = score("--predictions", folders / "pred", "--truth", folders / "truth")
    assert found["images"] == 5
    assert any(note.startswith("1 predicted masks have no truth") for note in found["notes"])


def test_images_add_otsu_and_the_figure(folders, score):
    for index in range(5):
        save(folders / "images", f"cell{index}.tif", truth_mask(index).astype(np.uint16) * 900 + 100)
    arguments = "--predictions", folders / "pred", "--truth", folders / "truth", "--images", folders / "images"
    found = score(*arguments, "--out", folders / "report")
    assert found["baselines"]["otsu"]["mean_iou"] == 1
    with Image.open(folders / "report/worst_best.png") as figure:
        assert figure.width > 800
    # Nothing is replaced unasked; without the images there is one column less.
    width = figure.width
    again = "--predictions", folders / "pred", "--truth", folders / "truth", "--out", folders / "report", "--overwrite"
    score(*again)
    with Image.open(folders / "report/worst_best.png") as figure:
        assert figure.width < width


def test_reports_are_not_replaced_unasked(folders, bioseg):
    arguments = "evaluate", "--predictions", folders / "pred", "--truth", folders / "truth", "--csv", folders / "t.csv"
    assert bioseg(*arguments).exit_code == 0
    before = (folders / "t.csv").read_text()
    result = bioseg(*arguments, "--draws", 100)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert (folders / "t.csv").read_text() == before
    assert bioseg(*arguments, "--draws", 100, "--overwrite").exit_code == 0
    assert (folders / "t.csv").read_text() != before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give run directories, or --predictions"),
        (["run", "--predictions", "p"], "give run directories, or --predictions"),
        (["--predictions", "p"], "needs --truth"),
        (["run", "--truth", "t"], "--data"),
        (["--predictions", "p", "--truth", "t.h5", "--masks-are", "binary"], "not with a data set"),
        (["--predictions", "p", "--truth", "t", "--control", "c"], "--control"),
        (["--predictions", "p", "--truth", "t", "--head", "aux"], "--head"),
        (["--predictions", "p", "--truth", "t", "--mapping", "oracle"], "--mapping"),
        (["--predictions", "p", "--truth", "t", "--state", "last"], "--state"),
        (
            ["run", "--baselines", "otsu,sauvola"],
            "'sauvola' (known: otsu, kmeans, local, forest, all-background, or none)",
        ),
        (["run", "--baselines", "none,otsu"], "'none'"),
    ],
)
def test_options_that_do_not_go_together(bioseg, arguments, words):
    result = bioseg("evaluate", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_scoring_masks_imports_nothing_it_does_not_need(folders):
    code = (
        "import sys; from bioseg_cli.cli.app import app\n"
        "try: app()\n"
        "finally: print(sorted({'torch', 'matplotlib', 'h5py', 'yaml'} & set(sys.modules)), file=sys.stderr)"
    )
    arguments = ["evaluate", "--predictions", folders / "pred", "--truth", folders / "truth", "--json", "--quiet"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"
    assert json.loads(done.stdout)["runs"][0]["images"] == 5


# Against a data set ---------------------------------------------------------------------------------------------------

STORED = (24, 24)
ORIGINS = {"cut": (3, 9), "padded": (-2, -1)}
SHAPES = {"cut": (H, W), "padded": (20, 22)}


@pytest.fixture(params=["cut", "padded"])
def cropped(request, tmp_path):
    """A data set of 24 x 24 crops: inside larger frames, or around smaller ones; its frames' masks predicted whole."""
    origin, shape = ORIGINS[request.param], SHAPES[request.param]
    path = tmp_path / "cropped.h5"
    items, expected = [], []
    rows = slice(max(0, origin[0]), origin[0] + STORED[0]), slice(max(0, origin[1]), origin[1] + STORED[1])
    inside = (
        slice(max(0, -origin[0]), min(STORED[0], shape[0] - origin[0])),
        slice(max(0, -origin[1]), min(STORED[1], shape[1] - origin[1])),
    )
    for index, split in enumerate(("train", "val", "val", "test")):
        whole = truth_mask(index)[: shape[0], : shape[1]]
        labels = np.full(STORED, 255, dtype=np.uint8)
        labels[inside] = whole[rows]
        image = (labels == 1).astype(np.uint8)[None] * 200
        source = ItemSource(f"sub/frame{index}.tif", f"{index:064x}", 0, origin, shape)
        items.append(Item(image, labels, split, "one movie", source))
        prediction = predicted_mask(index)[: shape[0], : shape[1]]
        save(tmp_path / "whole", f"frame{index}.tif", prediction)
        stored = np.zeros(STORED, dtype=np.uint8)
        stored[inside] = prediction[rows]
        save(tmp_path / "stored", f"frame{index}.tif", stored)
        if split == "val":
            expected.append(confusion_matrix(labels[inside].ravel(), stored[inside].ravel(), labels=[0, 1]))
    with DatasetWriter(path, count=4, image_shape=(1, *STORED), image_dtype=np.uint8) as writer:
        for item in items:
            writer.add(item)
        classes = (ClassInfo(name="ground", colour=(0, 0, 0)), ClassInfo(name="cell", colour=(255, 0, 0)))
        writer.finish(DatasetInfo("test", {}, classes, Normalisation("minmax", (0.0,), (200.0,))))
    return path, sum(expected)


@pytest.mark.parametrize("predicted", ["whole", "stored"])
def test_predictions_of_whole_frames_are_cut_as_the_images_were(cropped, score, predicted):
    path, expected = cropped
    found = score("--predictions", path.parent / predicted, "--truth", path)
    assert found["confusion"] == expected.tolist()
    assert found["split"] == "val"
    assert found["images"] == 2
    assert list(found["iou"]) == ["ground", "cell"]
    # The threshold of each image, its sides named on the training image: these images are their masks.
    assert found["baselines"]["otsu"]["mean_iou"] == 1


def test_the_split_decides_what_is_needed(cropped, score, bioseg):
    path, _ = cropped
    (path.parent / "whole/frame3.tif").unlink()
    score("--predictions", path.parent / "whole", "--truth", path)
    result = bioseg("evaluate", "--predictions", path.parent / "whole", "--truth", path, "--split", "test")
    assert result.exit_code == 3
    assert "frame3" in result.stderr


def test_a_name_that_two_sequences_share_says_nothing(tmp_path, bioseg, score):
    path = tmp_path / "two.h5"
    files = ("01/t000.tif", "01/t001.tif", "02/t000.tif", "02/t001.tif")
    with DatasetWriter(path, count=4, image_shape=(1, H, W), image_dtype=np.uint8) as writer:
        for number, file in enumerate(files):
            source = ItemSource(file, f"{number:064x}", 0, (0, 0), (H, W))
            split = "val" if number == 1 else "train"
            writer.add(Item(truth_mask(number)[None], truth_mask(number), split, file[:2], source))
        classes = (ClassInfo(name="ground", colour=(0, 0, 0)), ClassInfo(name="cell", colour=(255, 0, 0)))
        writer.finish(DatasetInfo("test", {}, classes, Normalisation("minmax", (0.0,), (1.0,))))
    save(tmp_path / "pred", "t001.tif", predicted_mask(1))
    result = bioseg("evaluate", "--predictions", tmp_path / "pred", "--truth", path)
    assert result.exit_code == 3
    assert "no prediction: 01_t001" in result.stderr
    save(tmp_path / "pred", "01_t001.tif", predicted_mask(1))
    found = score("--predictions", tmp_path / "pred", "--truth", path)
    assert found["confusion"] == expected_confusion([1]).tolist()


@pytest.mark.parametrize("name", ["frame1_cp_masks.tif", "mask_frame1.tif"])
def test_predictions_for_a_data_set_may_be_named_like_masks(cropped, score, bioseg, name):
    path, expected = cropped
    (path.parent / "whole/frame1.tif").rename(path.parent / "whole" / name)
    assert score("--predictions", path.parent / "whole", "--truth", path)["confusion"] == expected.tolist()
    save(path.parent / "whole", "frame1_seg.tif", predicted_mask(1))
    result = bioseg("evaluate", "--predictions", path.parent / "whole", "--truth", path)
    assert result.exit_code == 3 and "are all named like frame1" in result.stderr


def test_intervals_over_groups(cropped, score):
    path, _ = cropped
    found = score("--predictions", path.parent / "whole", "--truth", path)
    assert any("from 1 group " in note and "--by-group" in note for note in found["notes"])
    assert None not in found["intervals"]["mean_iou"]
    grouped = score("--predictions", path.parent / "whole", "--truth", path, "--by-group")
    assert grouped["intervals"]["mean_iou"] == [None, None]
    assert "One group: no intervals." in grouped["notes"]
