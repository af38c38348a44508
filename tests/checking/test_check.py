"""What `bioseg check` finds in data sets, runs and folders, and what it leaves alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from click.testing import Result
from conftest import SIZE, discs, write_discs
from helpers.datasets import EDITS, brighter_pixel, edited, other_label
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import bioseg_cli
from bioseg_cli.checking.images import Levels
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]


def checked(bioseg: Cli, *arguments: object, code: int) -> dict[str, Any]:
    result = bioseg("check", "--json", *arguments)
    assert result.exit_code == code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["harm"] == (code == 3) == any(finding["harm"] for finding in document["findings"])
    return document


def findings(document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [finding for finding in document["findings"] if finding["kind"] == kind]


def write_images(path: Path, images: list[tuple[str, int, np.ndarray, np.ndarray | None]]) -> Path:
    """A data set of split, number of the source, image and mask of each."""
    shape = images[0][2].shape
    with (
        Dataset(write_discs(path.with_name("any.h5"), ("train", "val"))) as other,
        DatasetWriter(path, count=len(images), image_shape=shape, image_dtype=images[0][2].dtype) as writer,
    ):
        for place, (split, number, image, mask) in enumerate(images):
            source = ItemSource(f"image{place}.tif", f"{number:064x}", 0, (0, 0), shape[1:])
            writer.add(Item(image, mask, split, f"g{place}", source))
        writer.finish(other.info)
    path.with_name("any.h5").unlink()
    return path


# Data sets ------------------------------------------------------------------------------------------------------------


def test_a_sound_data_set_has_facts_and_no_finding(bioseg: Cli, disc_dataset: Path) -> None:
    document = checked(bioseg, disc_dataset, code=0)
    (facts,) = document["datasets"]
    assert document["findings"] == [] == document["runs"] == document["folders"]
    with Dataset(disc_dataset) as dataset:
        assert facts["content_hash"] == dataset.content_hash
    assert facts["unchanged"] and facts["images"]["train"] == {"labelled": 8, "unlabelled": 0}
    assert facts["image_shape"] == [1, 48, 48] and facts["source_sizes"] == [[48, 48], [48, 48]]
    shares = facts["class_shares"]["val"]
    masks = np.stack([discs(index)[1] for index in (8, 9, 10)])
    assert shares == {"background": pytest.approx((masks == 0).mean()), "cell": pytest.approx((masks == 1).mean())}
    shown = bioseg("check", disc_dataset)
    assert shown.exit_code == 0 and "Nothing is wrong or unusual" in shown.output and "as it was made" in shown.output


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("change", EDITS.values(), ids=list(EDITS))
def test_every_edit_is_found(
    change: Callable[..., None], earlier: bool, bioseg: Cli, disc_dataset: Path, tmp_path: Path
) -> None:
    path = edited(disc_dataset, tmp_path / "edited.h5", change, earlier=earlier)
    (finding,) = findings(checked(bioseg, path, code=3), "changed")
    assert finding["harm"] and finding["where"] == str(path) and "bioseg prepare" in finding["fix"]


def test_all_that_was_edited_is_named_at_once(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    path = edited(disc_dataset, tmp_path / "edited.h5", lambda file: (brighter_pixel(file), other_label(file)))
    document = checked(bioseg, path, code=3)
    told = [finding["what"] for finding in findings(document, "changed")]
    assert len(told) == 2 and "labels[3]" in told[0] and "images[9]" in told[1]
    assert not document["datasets"][0]["unchanged"]
    shown = bioseg("check", path)
    assert shown.exit_code == 3 and "CHANGED" in shown.output
    assert "2 findings would make results wrong" in shown.output


def test_what_cannot_be_read_does_not_end_the_check(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.h5").write_bytes(disc_dataset.read_bytes()[:5000])
    document = checked(bioseg, tmp_path / "torn.h5", disc_dataset, code=3)
    (finding,) = findings(document, "unreadable")
    assert "truncated" in finding["what"]
    assert [facts["path"] for facts in document["datasets"]] == [str(disc_dataset)]


def test_copies_and_look_alikes_across_splits_do_harm(bioseg: Cli, tmp_path: Path) -> None:
    (one, first), (two, second), (three, third), (four, fourth) = (discs(index) for index in range(4))
    turned = np.ascontiguousarray(np.rot90(two, axes=(1, 2)) + np.uint16(40))
    path = write_images(
        tmp_path / "d.h5",
        [
            ("train", 1, one, first),
            ("train", 2, two, second),
            ("train", 3, three, third),
            ("train", 4, three, third),
            ("val", 5, one, first),
            ("test", 6, turned, np.rot90(second)),
            ("test", 7, four, fourth),
        ],
    )
    document = checked(bioseg, path, code=3)
    across, within = findings(document, "copies")
    assert across["harm"] and across["images"] == ["image0", "image4"]
    assert "between the train split and the val split" in across["what"]
    assert (
        not within["harm"] and within["images"] == ["image2", "image3"] and "within the train split" in within["what"]
    )
    (alike,) = findings(document, "look-alikes")
    assert alike["harm"] and alike["images"] == ["image1", "image5"]


def test_tiles_of_one_image_that_overlap_are_no_copies(bioseg: Cli, tmp_path: Path) -> None:
    image, mask = discs(3, size=70)
    with (
        Dataset(write_discs(tmp_path / "any.h5")) as other,
        DatasetWriter(tmp_path / "d.h5", count=3, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer,
    ):
        for corner, split in ((0, "train"), (20, "train"), (10, "val")):
            window = slice(corner, corner + SIZE), slice(0, SIZE)
            source = ItemSource("a.tif", "a" * 64, 0, (corner, 0), (70, 70))
            writer.add(Item(image[:, *window], mask[window], split, "a", source))
        writer.finish(other.info)
    across = findings(checked(bioseg, tmp_path / "d.h5", code=3), "copies")
    assert [finding["what"].split(":")[0] for finding in across] == [
        "2 pairs of copies, between the train split and the val split"
    ]


def test_copies_in_another_data_set_are_found(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    other = write_discs(tmp_path / "other.h5", ("test", "train"))
    document = checked(bioseg, disc_dataset, other, code=3)
    harmful = [finding for finding in findings(document, "copies") if finding["harm"]]
    assert [finding["images"] for finding in harmful] == [["disc0", "disc0"]]
    assert f"between the train split and the test split of {other}" in harmful[0]["what"]
    assert any(
        finding["images"] == ["disc1", "disc1"] and not finding["harm"] for finding in findings(document, "copies")
    )


def test_masks_and_classes_that_are_unusual_are_named(bioseg: Cli, tmp_path: Path) -> None:
    images = [(split, index, *discs(index)) for index, split in enumerate(("train", "train", "val", "val"))]
    nothing, ignored = np.zeros((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), 255, np.uint8)
    images[0] = (*images[0][:3], nothing)
    images[1] = (*images[1][:3], ignored)
    document = checked(bioseg, write_images(tmp_path / "d.h5", images), code=0)
    without, empty = findings(document, "masks")
    assert without["images"] == ["image1"] and "Every pixel is ignored in 1 mask" in without["what"]
    assert empty["images"] == ["image0"] and "Every pixel is 'background' in 1 mask" in empty["what"]
    (missing,) = findings(document, "classes")
    assert missing["what"] == "No training mask shows the class 'cell'"


def test_groups_in_several_splits_are_named(bioseg: Cli, tmp_path: Path) -> None:
    with (
        Dataset(write_discs(tmp_path / "any.h5")) as other,
        DatasetWriter(tmp_path / "d.h5", count=3, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer,
    ):
        for index, split in enumerate(("train", "train", "val")):
            writer.add(Item(*discs(index), split, "well" if index else "other", other.source(index)))
        writer.finish(other.info)
    (finding,) = findings(checked(bioseg, tmp_path / "d.h5", code=0), "groups")
    assert "Images of 1 group are in several splits: well" in finding["what"]


UNUSUAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "an offset of 32768": lambda image: image + np.uint16(32768),
    "a tenth of the contrast": lambda image: (1000 + (image - 1000.0) / 10).astype(np.uint16),
    "ten times the contrast": lambda image: (image.astype(float) * 10).clip(0, 65000).astype(np.uint16),
    "inverted": lambda image: 4000 - image,
}


@pytest.mark.parametrize("how", UNUSUAL)
def test_an_image_unlike_the_others_is_named(how: str, bioseg: Cli, tmp_path: Path) -> None:
    images = [("train" if index < 10 else "val", index, *discs(index)) for index in range(12)]
    images[5] = (*images[5][:2], UNUSUAL[how](images[5][2]), images[5][3])
    document = checked(bioseg, write_images(tmp_path / "d.h5", images), code=0)
    (finding,) = findings(document, "intensities")
    assert finding["images"] == ["image5"] and "of other brightness or contrast than most" in finding["what"]


def test_blank_and_saturated_images_are_named(bioseg: Cli, tmp_path: Path) -> None:
    images = [("train" if index < 10 else "val", index, *discs(index)) for index in range(12)]
    bright = np.where(images[4][3] == 1, 65535, images[4][2]).astype(np.uint16)
    images[4] = (*images[4][:2], bright, images[4][3])
    for index in (2, 11):
        images[index] = (*images[index][:2], np.full_like(images[index][2], 900), images[index][3])
    found = findings(checked(bioseg, write_images(tmp_path / "d.h5", images), code=0), "intensities")
    assert [finding["images"] for finding in found[:2]] == [["image2", "image11"], ["image4"]]
    assert "of a single value" in found[0]["what"] and "saturated" in found[1]["what"]


def test_data_sets_that_differ_say_in_what(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    with (
        Dataset(disc_dataset) as dataset,
        DatasetWriter(other, count=2, image_shape=(1, SIZE, SIZE), image_dtype=np.uint16) as writer,
    ):
        for number, split in ((50, "train"), (51, "val")):
            writer.add(
                Item(*discs(number), split, f"g{number}", ItemSource(f"{number}", f"{number}", 0, (0, 0), (SIZE, SIZE)))
            )
        classes = (dataset.classes[0], dataset.classes[1].model_copy(update={"name": "nucleus"}))
        writer.finish(dataclasses.replace(dataset.info, classes=classes, pixel_size=None))
    document = checked(bioseg, disc_dataset, other, code=0)
    (sizes,), (names,) = findings(document, "pixel sizes"), findings(document, "classes")
    assert sizes["what"] == f"The pixel size is 0.5 x 0.5 µm, that of {other} unknown"
    assert names["what"] == f"The classes are background, cell; those of {other} background, nucleus"


# Runs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied_run(disc_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(disc_run, tmp_path / "copied")


def test_a_sound_run_has_facts_and_no_finding(bioseg: Cli, disc_run: Path, disc_dataset: Path) -> None:
    document = checked(bioseg, disc_run, disc_dataset, code=0)
    (facts,) = document["runs"]
    assert document["findings"] == []
    assert facts["command"] == "train-uda" and facts["status"] == "finished" and facts["seen"] == 11
    assert set(facts["states"]) == {"best-supervised", "best-final", "best-miou", "last"}
    assert facts["data_hash"] == document["datasets"][0]["content_hash"]
    shown = bioseg("check", disc_run)
    assert "11 images" in shown.output and shown.exit_code == 0


def test_damaged_states_do_harm(bioseg: Cli, copied_run: Path) -> None:
    last, best = (copied_run / "checkpoints" / f"{name}.safetensors" for name in ("last", "best-final"))
    for path, change in ((last, lambda weights: -weights), (best, lambda weights: weights * float("nan"))):
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        if path == best:
            del metadata["bioseg_checksum"]
        save_file({**tensors, "heads.main.bias": change(tensors["heads.main.bias"])}, path, metadata=metadata)
    state = torch.load(copied_run / "resume.pt", weights_only=True)
    torch.save({**state, "data_hash": "other"}, copied_run / "resume.pt")
    (copied_run / "images.json").write_text("[{}]")
    document = checked(bioseg, copied_run, code=3)
    told = {Path(finding["where"]).name: finding["what"] for finding in document["findings"] if finding["harm"]}
    assert "not those that were saved" in told["last.safetensors"]
    assert "not finite" in told["best-final.safetensors"]
    assert "not what was saved" in told["resume.pt"]
    assert "damaged" in told["images.json"]
    assert document["runs"][0]["seen"] is None


def test_a_run_without_a_readable_manifest_is_named(bioseg: Cli, copied_run: Path) -> None:
    (copied_run / "manifest.yaml").write_text("status: [")
    document = checked(bioseg, copied_run, code=3)
    assert document["runs"] == [] and findings(document, "unreadable")


def test_what_is_around_a_run_is_told(bioseg: Cli, copied_run: Path, disc_dataset: Path, tmp_path: Path) -> None:
    manifest = copied_run / "manifest.yaml"
    text = manifest.read_text().replace("status: finished", "status: interrupted")
    manifest.write_text(text.replace(str(disc_dataset), str(tmp_path / "gone.h5")))
    told = [finding["what"] for finding in findings(checked(bioseg, copied_run, code=0), "run")]
    assert told[0] == "The training has not come to its end: its status is interrupted"
    assert "cannot be read: There is no such data set" in told[1]
    write_discs(tmp_path / "gone.h5", ("train", "val"))
    told = [finding["what"] for finding in findings(checked(bioseg, copied_run, code=0), "run")]
    assert told[1].endswith("is not the data set that the run was trained on")


def test_test_images_that_a_run_was_trained_on_do_harm(bioseg: Cli, disc_run: Path, tmp_path: Path) -> None:
    other = write_discs(tmp_path / "other.h5", ("test", "train", "val", "train"))
    (finding,) = findings(checked(bioseg, disc_run, other, code=3), "seen")
    assert finding["harm"] and finding["images"] == ["disc0", "disc2"]
    assert f"{disc_run} learnt from 2 images for validation or test" in finding["what"]


# Folders --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    place.mkdir()
    for index in range(5):
        metadata = {"axes": "YX", "unit": "um"}
        tifffile.imwrite(
            place / f"cell{index}.tif", discs(index)[0][0], imagej=True, resolution=(2, 2), metadata=metadata
        )
    return place


def test_a_folder_of_images_is_read(bioseg: Cli, folder: Path) -> None:
    (facts,) = checked(bioseg, folder, code=0)["folders"]
    assert (facts["files"], facts["images"]) == (5, 5)
    assert facts["kinds"] == {"1 channel of uint16": 5} and facts["pixel_sizes"] == {"0.5 x 0.5 µm": 5}
    assert facts["sizes"] == [[48, 48], [48, 48]]


def test_what_is_wrong_with_files_is_named(bioseg: Cli, folder: Path) -> None:
    shutil.copy(folder / "cell1.tif", folder / "copy.tif")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(folder / "small.png")
    (folder / "torn.tif").write_bytes((folder / "cell2.tif").read_bytes()[:3000])
    document = checked(bioseg, folder, code=3)
    (unreadable,) = findings(document, "unreadable")
    assert unreadable["where"] == str(folder / "torn.tif") and unreadable["harm"]
    (copies,) = findings(document, "copies")
    assert (
        copies["images"] == ["cell1.tif", "copy.tif"] and not copies["harm"] and "within the folder" in copies["what"]
    )
    assert "2 kinds" in findings(document, "sizes")[0]["what"]
    assert "unknown (1)" in findings(document, "pixel sizes")[0]["what"]
    assert findings(document, "intensities")[0]["images"] == ["small.png"]
    assert document["folders"][0]["images"] == 7


def test_the_frames_of_a_stack_are_images(bioseg: Cli, folder: Path) -> None:
    stack = np.concatenate([discs(index)[0] for index in (1, 60)])
    tifffile.imwrite(folder / "stack.tif", stack, metadata={"axes": "QYX"})
    refused = findings(checked(bioseg, folder, code=3), "unreadable")
    assert "--axes" in refused[0]["fix"]
    document = checked(bioseg, folder, "--axes", "TYX", code=0)
    (copies,) = findings(document, "copies")
    assert copies["images"] == ["cell1.tif", "stack.tif frame 0"]


def test_images_of_a_folder_in_a_data_set_are_found(bioseg: Cli, folder: Path, disc_dataset: Path) -> None:
    document = checked(bioseg, disc_dataset, folder, code=0)
    (copies,) = findings(document, "copies")
    assert len(copies["images"]) == 10 and "between the train split and the folder" in copies["what"]


def test_a_folder_of_data_sets_and_runs_is_read_whole(
    bioseg: Cli, disc_dataset: Path, disc_run: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    shutil.copy(disc_dataset, place / "discs.h5")
    for name in ("run10", "run9"):
        shutil.copytree(disc_run, place / name)
    document = checked(bioseg, place, code=0)
    assert [Path(facts["path"]).name for facts in document["datasets"]] == ["discs.h5"]
    assert [Path(facts["path"]).name for facts in document["runs"]] == ["run9", "run10"]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("nowhere", 3, "No such file or folder"),
        ("empty", 3, "The folder holds no image, no data set and no run"),
        ("notes.txt", 2, "The file is no data set"),
    ],
)
def test_what_cannot_be_checked_is_refused(name: str, code: int, message: str, bioseg: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    result = bioseg("check", tmp_path / name)
    assert result.exit_code == code and message in " ".join(result.output.split())


def test_nothing_to_check_is_wrong_usage(bioseg: Cli) -> None:
    assert bioseg("check").exit_code == 2


# From Python ----------------------------------------------------------------------------------------------------------


def test_the_function_returns_what_the_command_shows(bioseg: Cli, disc_dataset: Path, tmp_path: Path) -> None:
    path = edited(disc_dataset, tmp_path / "edited.h5", brighter_pixel)
    result = bioseg_cli.check([path, disc_dataset])
    assert isinstance(result, bioseg_cli.CheckResult)
    assert len(result.harmful) >= 1 and result.harmful[0].kind == "changed"
    assert json.loads(json.dumps(result.to_json())) == checked(bioseg, path, disc_dataset, code=3)
    assert bioseg_cli.check(disc_dataset).findings == ()
    with pytest.raises(bioseg_cli.DataError):
        bioseg_cli.check(tmp_path / "nowhere")


def test_grey_levels_are_taken_from_all_columns() -> None:
    pixels = np.zeros((1, 1024, 1024), np.uint16)
    pixels[:, :, 1::2] = 1000
    levels = Levels.of(pixels)
    assert (levels.low, levels.high) == (0, 1000)
