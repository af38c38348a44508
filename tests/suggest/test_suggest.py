"""Suggestions of what to label first: one of each kind, nothing empty, what a network doubts, and the way back."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from click.testing import Result
from conftest import CLASSES, discs, write_discs
from helpers.models import save_random_model
from PIL import Image

from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.io.image_writer import write_image
from bioseg_cli.io.images import read_frame
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.io.pixel_size import PixelSize
from bioseg_cli.model.saved import load_model
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.runs.console import ConsoleOutput
from bioseg_cli.suggest.choice import disputed_images, typical_images
from bioseg_cli.suggest.disagreement import Views
from bioseg_cli.suggest.features import measure, shows_nothing, vectors
from bioseg_cli.suggest.settings import SuggestConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
SIDE = 64
KINDS = ("discs",) * 12 + ("stripes",) * 6 + ("crowd",) * 3 + ("nothing",) * 2
"""Of the images 0, 1, 2, ...: three kinds of unequal sizes, and two that show nothing."""


def picture(kind: str, number: int) -> np.ndarray:
    """One uint16 image (H, W): structures on the noise of a camera."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    shown = np.zeros((SIDE, SIDE))
    if kind == "stripes":
        shown = 800 * (np.sin(columns / 3 + random.uniform(0, 6)) > 0)
    for _ in range({"discs": 3, "crowd": 40}.get(kind, 0)):
        row, column = random.uniform(8, SIDE - 8, 2)
        shown[(rows - row) ** 2 + (columns - column) ** 2 < random.uniform(3, 5) ** 2] = 2000
    return (1000 + shown + random.normal(0, 20, shown.shape)).astype(np.uint16)


def write_kinds(path: Path, kinds: tuple[str, ...] = KINDS, *, labelled: Collection[int] = ()) -> Path:
    """Training images of kinds, two of which stand once more in each of the other splits."""
    held_out = ("val", "test")
    count = len(kinds) + 2 * len(held_out)
    with DatasetWriter(path, count=count, image_shape=(1, SIDE, SIDE), image_dtype=np.uint16) as writer:
        for number in range(count):
            kind = kinds[number] if number < len(kinds) else kinds[number - len(kinds)]
            split = "train" if number < len(kinds) else held_out[(number - len(kinds)) // 2]
            mask = np.zeros((SIDE, SIDE), np.uint8) if split != "train" or number in labelled else None
            source = ItemSource(f"{kind}{number}.tif", "", 0, (0, 0), (SIDE, SIDE))
            writer.add(Item(picture(kind, number)[None], mask, split, f"g{number}", source))
        writer.finish(DatasetInfo("kinds", {}, CLASSES, Normalisation("minmax", (900.0,), (3100.0,))))
    return path


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kinds(tmp_path_factory.mktemp("kinds") / "kinds.h5")


def suggested(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["suggested"]
    return found


def kind_of(suggestion: dict[str, Any]) -> str:
    return str(suggestion["image"]).rstrip("0123456789")


def said(result: Result) -> str:
    return " ".join(result.output.split())


# Without a model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_one_of_each_kind_the_largest_first(kinds: Path, bioseg: Cli, seed: int) -> None:
    found = suggested(bioseg("suggest", kinds, "--count", 3, "--seed", seed, "--json"))
    assert [(kind_of(suggestion), suggestion["reason"], suggestion["alike"]) for suggestion in found] == [
        ("discs", "typical of 12 images", 12),
        ("stripes", "typical of 6 images", 6),
        ("crowd", "typical of 3 images", 3),
    ]
    assert [suggestion["rank"] for suggestion in found] == [1, 2, 3]
    assert all(0 < suggestion["typicality"] <= 1 for suggestion in found)


def test_what_shows_nothing_comes_last(kinds: Path, bioseg: Cli) -> None:
    result = bioseg("suggest", kinds, "--count", 99, "--json")
    found = suggested(result)
    assert "Warning: 99 images were asked for, and there are 23: all are listed" in said(result)
    assert sorted(suggestion["image"] for suggestion in found) == sorted(
        f"{kind}{number}" for number, kind in enumerate(KINDS)
    )
    assert [kind_of(suggestion) for suggestion in found[-2:]] == ["nothing"] * 2
    assert {suggestion["reason"] for suggestion in found[-2:]} == {"shows little but background"}
    assert [suggestion["typicality"] for suggestion in found[-2:]] == [None] * 2
    assert "nothing" not in {kind_of(suggestion) for suggestion in found[:-2]}


@pytest.mark.parametrize(
    ("shown", "empty"),
    [
        (np.zeros((SIDE, SIDE)), True),
        (np.random.default_rng(0).normal(0.1, 0.01, (SIDE, SIDE)), True),
        (np.random.default_rng(1).normal(0.1, 0.01, (SIDE, SIDE)) + np.linspace(0, 0.3, SIDE), True),
        (picture("discs", 5) / 3000 / 20, False),  # faint, but single objects
        (picture("stripes", 5) / 3000, False),  # even, but strong
    ],
    ids=["constant", "noise", "noise in uneven light", "faint objects", "texture"],
)
def test_what_counts_as_nothing(shown: np.ndarray, empty: bool) -> None:
    others = [measure(picture("crowd", number)[None] / 3000, 4) for number in range(4)]
    assert shows_nothing([*others, measure(shown[None], 4)]).tolist() == [False] * 4 + [empty]


def test_rare_flicker_by_one_step_is_nothing() -> None:
    # Of 8-bit images that have 20 values altogether.
    flicker = (np.random.default_rng(0).random((1, 128, 128)) < 0.004) / 20
    others = [measure(picture("crowd", number)[None] / 3000, 4) for number in range(4)]
    assert shows_nothing([*others, measure(flicker, 4, 1 / 20)])[-1]
    assert not shows_nothing([*others, measure(flicker, 4)])[-1]  # of finer values it would be structure


def test_images_that_all_show_nothing_are_suggested_all_the_same(tmp_path: Path, bioseg: Cli) -> None:
    path = write_kinds(tmp_path / "d.h5", ("nothing",) * 5)
    assert len(suggested(bioseg("suggest", path, "--count", 2, "--json"))) == 2


def test_kinds_with_a_mask_are_covered(tmp_path: Path, bioseg: Cli) -> None:
    path = write_kinds(tmp_path / "d.h5", labelled=(3, 20))  # discs and crowd
    result = bioseg("suggest", path, "--count", 2, "--json")
    assert kind_of(suggested(result)[0]) == "stripes"
    document = json.loads(result.stdout)
    assert (document["training_images"], document["labelled"], document["asked"]) == (23, 2, 2)
    every = suggested(bioseg("suggest", path, "--count", 23, "--json"))
    assert not {"discs3", "crowd20"} & {suggestion["image"] for suggestion in every}
    assert len(every) == 21
    assert "23 training images, of which 2 have a mask" in said(bioseg("suggest", path))


def test_a_kind_says_how_many_of_it_are_labelled() -> None:
    points = np.repeat([[0.0, 0.0], [9.0, 9.0]], [6, 4], axis=0) + np.random.default_rng(0).normal(0, 0.1, (10, 2))
    covered, nothing = np.zeros(10, bool), np.zeros(10, bool)
    covered[[7, 8]] = True
    chosen = typical_images(points, covered, nothing, 8, seed=0)
    assert len({choice.place for choice in chosen}) == 8 and not {7, 8} & {choice.place for choice in chosen}
    first = typical_images(points, covered, nothing, 1, seed=0)[0]
    assert first.place < 6 and first.covered == 0
    covered[:6] = True
    assert [(choice.alike, choice.covered) for choice in typical_images(points, covered, nothing, 1, seed=0)] == [
        (4, 2)
    ]


def test_the_most_typical_is_the_nearest_to_the_others() -> None:
    line = np.array([[-1.0], [0.0], [1.1], [50.0], [50.0]])
    chosen = typical_images(line, np.zeros(5, bool), np.zeros(5, bool), 2, seed=0)
    assert [(choice.place, choice.alike) for choice in chosen] == [(1, 3), (3, 2)]
    assert chosen[0].typical == pytest.approx(1 / (1 + (1 + 1.1) / 2)) and chosen[1].typical == 1
    with_a_mask = np.array([False, True, False, True, True])
    assert [choice.place for choice in typical_images(line, with_a_mask, np.zeros(5, bool), 9, seed=0)] == [0, 2]


def test_equal_images_are_no_hindrance() -> None:
    same, none = np.zeros((6, 2)), np.zeros(6, bool)
    assert [choice.place for choice in typical_images(same, none, none, 3, seed=0)] == [0, 1, 2]
    assert [choice.place for choice in disputed_images(same, np.arange(6.0), 3, seed=0)] == [5, 4, 3]


def test_brightness_and_texture_weigh_the_same_and_one_odd_image_is_no_ruler() -> None:
    measured = [measure(picture(kind, number)[None] / 3000, 4) for number, kind in enumerate(KINDS)]
    points = vectors(measured)
    assert points.shape == (len(KINDS), 8 + 8)
    halves = [(part**2).sum(axis=1).mean() for part in (points[:, :8], points[:, 8:])]
    assert halves == pytest.approx([1, 1], abs=0.2)
    odd = vectors([*measured * 3, measure(np.full((1, SIDE, SIDE), 1e6), 4)])
    assert np.abs(odd).max() <= 3 / np.sqrt(8)


def test_only_training_images_are_suggested_and_the_same_each_time(kinds: Path, bioseg: Cli) -> None:
    first = bioseg("suggest", kinds, "--count", 23, "--json")
    assert {int(suggestion["image"].lstrip("abcdefghijklmnopqrstuvwxyz")) for suggestion in suggested(first)} == set(
        range(23)
    )
    assert bioseg("suggest", kinds, "--count", 23, "--json").stdout == first.stdout


# With a run -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("free") / "free.h5", unlabelled=tuple(range(2, 8)))


def views_of(run: Path, data: Path, dataset: Dataset) -> Views:
    return Views(run, SuggestConfig(data=data, run=run, precision="fp32"), dataset, ConsoleOutput(quiet=True))


def test_views_are_those_of_test_time_augmentation(disc_run: Path, unlabelled: Path) -> None:
    precision = resolve_precision("fp32", torch.device("cpu"))
    model = load_model(disc_run / "checkpoints" / "best-supervised.safetensors", torch.device("cpu"))
    sides = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]
    with Dataset(unlabelled) as dataset:
        views, image = views_of(disc_run, unlabelled, dataset), dataset.image(3)
        mean = Predictor(model, precision, tta=True).probabilities(image)
        np.testing.assert_array_equal(views.labels(3), mean.argmax(axis=0))
        predictor = Predictor(model, precision)
        turned = [np.rot90(image[..., ::-1] if mirrored else image, turns, (1, 2)) for turns, mirrored in sides]
        back = [
            np.rot90(predictor.probabilities(view.copy()), -turns, (1, 2))
            for view, (turns, _) in zip(turned, sides, strict=True)
        ]
        seen = np.array(
            [view[..., ::-1] if mirrored else view for view, (_, mirrored) in zip(back, sides, strict=True)]
        )
        np.testing.assert_allclose(seen.mean(axis=0), mean, atol=1e-5)
        # The chance that two of the eight, drawn at random, say another class, by calibrated probabilities.
        seen = np.array([predictor.decoder.probabilities(np.ascontiguousarray(view)) for view in seen])
        pairs = (
            1 - np.einsum("vkij,wkij->vwij", seen, seen).mean(axis=(0, 1)) - (1 - (seen**2).sum(axis=1)).mean(axis=0)
        )
        assert views.disagreement(3) == pytest.approx(pairs.mean(), rel=1e-3, abs=1e-6)
        assert 0 < views.disagreement(3) < 1


def test_what_the_network_doubts_comes_first(disc_run: Path, unlabelled: Path, bioseg: Cli) -> None:
    with Dataset(unlabelled) as dataset:
        views = views_of(disc_run, unlabelled, dataset)
        doubts = {dataset.name(index): views.disagreement(index) for index in range(2, 8)}
    found = suggested(bioseg("suggest", unlabelled, "--run", disc_run, "--count", 6, "--json", "--precision", "fp32"))
    assert [suggestion["image"] for suggestion in found] == sorted(doubts, key=lambda name: -doubts[name])
    assert [suggestion["disagreement"] for suggestion in found] == pytest.approx(sorted(doubts.values(), reverse=True))
    first = suggested(bioseg("suggest", unlabelled, "--run", disc_run, "--count", 1, "--json", "--precision", "fp32"))
    assert [suggestion["image"] for suggestion in first] == [found[0]["image"]]
    assert first[0]["reason"] == "most disputed of 3 alike"


def test_disputed_images_of_one_kind_are_not_chosen_twice() -> None:
    points = np.array([[0.0]] * 4 + [[5.0]] * 2 + [[9.0]] * 6)
    disagreement = np.array([0.9, 0.8, 0.7, 0.6, 0.1, 0.2, 0.05, 0.04, 0.03, 0.02, 0.01, 0.0])
    chosen = disputed_images(points, disagreement, 2, seed=0)
    # The third kind is not among the six most disputed.
    assert [(choice.place, choice.alike) for choice in chosen] == [(0, 4), (5, 2)]


def test_another_pixel_size_is_said(disc_run: Path, unlabelled: Path, bioseg: Cli, tmp_path: Path) -> None:
    said_of = {}
    for width in (0.5, 0.7):
        path = tmp_path / f"{width}.h5"
        with DatasetWriter(path, count=2, image_shape=(1, 48, 48), image_dtype=np.uint16) as writer:
            for number in range(2):
                source = ItemSource(f"d{number}.tif", "", 0, (0, 0), (48, 48))
                writer.add(Item(discs(number)[0], None, "train", f"g{number}", source))
            normalisation = Normalisation("minmax", (500.0,), (3200.0,))
            writer.finish(DatasetInfo("sized", {}, CLASSES, normalisation, PixelSize(width, width, "µm")))
        said_of[width] = said(bioseg("suggest", path, "--run", disc_run, "--count", 1))
    assert "another pixel size than the training images (0.5 x 0.5 µm)" in said_of[0.7]
    assert "pixel size" not in said_of[0.5]


def test_images_that_the_run_learnt_from_count_as_labelled(disc_run: Path, disc_dataset: Path, bioseg: Cli) -> None:
    learnt = set(yaml.safe_load((disc_run / "manifest.yaml").read_text())["labels"]["images"])
    result = bioseg("suggest", disc_dataset, "--run", disc_run, "--among", "all", "--count", 8, "--json")
    assert {suggestion["image"] for suggestion in suggested(result)} == {
        f"disc{number}" for number in range(8)
    } - learnt
    assert json.loads(result.stdout)["labelled"] == len(learnt) == 4
    without = suggested(bioseg("suggest", disc_dataset, "--among", "all", "--count", 8, "--json"))
    assert {suggestion["image"] for suggestion in without} == {f"disc{number}" for number in range(8)}


# Pictures and files ---------------------------------------------------------------------------------------------------


def test_the_contact_sheet_shows_the_images_and_the_outlines(
    disc_run: Path, unlabelled: Path, bioseg: Cli, tmp_path: Path
) -> None:
    plain, outlined = tmp_path / "plain.png", tmp_path / "outlined.png"
    suggested(bioseg("suggest", unlabelled, "--count", 6, "--out", plain, "--json"))
    assert Image.open(plain).width == 12 + 5 * 312
    suggested(bioseg("suggest", unlabelled, "--run", disc_run, "--count", 2, "--out", outlined, "--json"))
    colours = {colour for _, colour in Image.open(outlined).convert("RGB").getcolors(1 << 20)}
    assert CLASSES[1].colour in colours
    panels = Image.open(outlined).crop((0, 0, 700, 340)).convert("RGB")
    assert CLASSES[1].colour in {colour for _, colour in panels.getcolors(1 << 20)}  # above the legend
    assert CLASSES[1].colour not in {colour for _, colour in Image.open(plain).convert("RGB").getcolors(1 << 20)}
    again = bioseg("suggest", unlabelled, "--out", plain)
    assert again.exit_code == 2 and "The output exists already" in said(again)
    assert bioseg("suggest", unlabelled, "--out", plain, "--overwrite").exit_code == 0


def test_the_way_back_with_masks_that_were_corrected(
    disc_run: Path, unlabelled: Path, bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bioseg("suggest", unlabelled, "--run", disc_run, "--count", 3, "--export", "todo", "--json")
    names = [suggestion["image"] for suggestion in suggested(result)]
    assert "correct every mask in todo/masks" in said(
        bioseg("suggest", unlabelled, "--run", disc_run, "--count", 3, "--export", "todo", "--overwrite")
    )
    with Dataset(unlabelled) as dataset:
        views = views_of(disc_run, unlabelled, dataset)
        for name in names:
            (index,) = dataset.named([name])
            np.testing.assert_array_equal(read_frame(Path("todo/images", f"{name}.tif")), dataset.image(index))
            mask = tifffile.imread(Path("todo/masks", f"{name}.tif"))
            assert set(np.unique(mask)) == {0, 255}
            assert (mask == 255 * views.labels(index)).mean() > 0.99
    corrected = tifffile.imread(Path("todo/masks", f"{names[0]}.tif"))
    corrected[5:15, 5:25] = 255
    corrected[30:40, :] = 0
    # An editor saves it in its own way.
    Path("todo/masks", f"{names[0]}.tif").unlink()
    Image.fromarray(corrected).save(Path("todo/masks", f"{names[0]}.png"))
    then = json.loads(result.stdout)["then"]
    assert then == (
        "bioseg prepare folder --images todo/images --masks todo/masks --masks-are binary --classes background,cell "
        "--out data/todo.h5"
    )
    made = bioseg(*shlex.split(then)[1:])
    assert made.exit_code == 0, made.output
    with Dataset(Path("data/todo.h5")) as dataset:
        assert dataset.labelled.all() and [class_info.name for class_info in dataset.classes] == ["background", "cell"]
        (index,) = dataset.named([names[0]])
        np.testing.assert_array_equal(dataset.labels(index), corrected // 255)
        assert dataset.info.pixel_size == PixelSize(0.5, 0.5, "µm")


def test_the_way_back_with_masks_drawn_from_nothing(
    unlabelled: Path, bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bioseg("suggest", unlabelled, "--count", 2, "--export", "to do")
    assert "draw a mask for each in to do/masks, of the same name, then" in said(result)
    names = sorted(path.stem for path in Path("to do/images").iterdir())
    assert len(names) == 2 and list(Path("to do/masks").iterdir()) == []
    for name in names:
        Image.fromarray(255 * discs(int(name.removeprefix("disc")))[1]).save(Path("to do/masks", f"{name}_mask.png"))
    record = json.loads(Path("to do/suggested.json").read_text())
    assert sorted(suggestion["image"] for suggestion in record["suggested"]) == names
    made = bioseg(*shlex.split(record["then"])[1:])
    assert made.exit_code == 0, made.output
    with Dataset(Path("data/to do.h5")) as dataset:
        assert dataset.labelled.all()


def test_work_on_an_export_is_never_lost(
    disc_run: Path, unlabelled: Path, bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("suggest", unlabelled, "--run", disc_run, "--export", "todo", "--out", "todo/sheet.png", "--count")
    assert bioseg(*command, 3).exit_code == 0
    before = sorted(path for path in Path("todo").rglob("*") if path.is_file())
    assert Path("todo/sheet.png") in before and len(before) == 3 + 3 + 2
    plain = bioseg("suggest", unlabelled, "--export", "todo")
    assert plain.exit_code == 2 and "Choose another --export, or give --overwrite." in said(plain)
    assert bioseg(*command, 2, "--overwrite").exit_code == 0
    assert len(list(Path("todo/images").iterdir())) == len(list(Path("todo/masks").iterdir())) == 2
    mask = next(Path("todo/masks").iterdir())
    stored = mask.read_bytes()
    for path, why in ((mask, "was changed after it was exported"), (Path("todo/masks/drawn.png"), "was not exported")):
        path.write_bytes(b"work")
        refused = bioseg(*command, 3, "--overwrite")
        assert refused.exit_code == 2
        assert f"{path.relative_to('todo')} {why}, and would be lost" in said(refused)
        assert path.read_bytes() == b"work" and len(list(Path("todo/images").iterdir())) == 2
        mask.write_bytes(stored)
    for strange in ("mine", "todo/images"):
        Path(strange).mkdir(exist_ok=True)
        Path(strange, "notes.txt").write_text("mine")
        refused = bioseg("suggest", unlabelled, "--export", strange, "--overwrite")
        assert refused.exit_code == 2 and "`bioseg suggest` did not write it" in said(refused)
        assert Path(strange, "notes.txt").read_text() == "mine"


def test_an_export_that_fails_leaves_nothing(
    unlabelled: Path, bioseg: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    failed = bioseg("suggest", unlabelled, "--export", tmp_path / "file" / "todo")
    assert failed.exit_code == 2, failed.output
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_an_export_that_fails_half_way_leaves_nothing(tmp_path: Path, bioseg: Cli) -> None:
    path, out = tmp_path / "long.h5", tmp_path / "out"
    with DatasetWriter(path, count=2, image_shape=(1, 48, 48), image_dtype=np.uint16) as writer:
        for number, name in enumerate(("short.tif", "n" * 252 + ".x")):
            source = ItemSource(name, "", 0, (0, 0), (48, 48))
            writer.add(Item(discs(number)[0], None, "train", f"g{number}", source))
        writer.finish(DatasetInfo("long", {}, CLASSES, Normalisation("minmax", (500.0,), (3200.0,))))
    out.mkdir()
    failed = bioseg("suggest", path, "--export", out / "todo")
    assert failed.exit_code == 3 and "The file could not be written" in said(failed), failed.output
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float16", "float32", "float64"])
def test_images_are_written_in_their_own_values(tmp_path: Path, dtype: str, channels: int) -> None:
    pixels = (np.random.default_rng(0).random((channels, 20, 30)) * 100).astype(dtype)
    path = tmp_path / "image.tif"
    write_image(path, pixels, None)
    found = read_frame(path)
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == (np.float32 if dtype == "float16" else dtype)
    with tifffile.TiffFile(path) as tif:
        assert (tif.pages[0].photometric == tifffile.PHOTOMETRIC.RGB) == (channels == 3 and dtype == "uint8")


def test_padding_is_not_measured(tmp_path: Path, bioseg: Cli) -> None:
    path = tmp_path / "padded.h5"
    with DatasetWriter(path, count=3, image_shape=(1, SIDE, SIDE), image_dtype=np.uint16) as writer:
        for number, (kind, padding) in enumerate((("discs", 0), ("discs", 3000), ("stripes", 0))):
            image = picture(kind, 0)
            image[48:] = padding
            source = ItemSource(f"{kind}{number}.tif", "", 0, (0, 0), (48, SIDE))
            writer.add(Item(image[None], None, "train", f"g{number}", source))
        writer.finish(DatasetInfo("padded", {}, CLASSES, Normalisation("minmax", (900.0,), (3100.0,))))
    first, second = suggested(bioseg("suggest", path, "--count", 2, "--json"))
    assert (kind_of(first), first["alike"], first["typicality"]) == ("discs", 2, 1)
    assert (kind_of(second), second["reason"]) == ("stripes", "unlike the other images")


def test_padding_is_not_exported(tmp_path: Path, bioseg: Cli, disc_run: Path) -> None:
    path = tmp_path / "padded.h5"
    with DatasetWriter(path, count=3, image_shape=(1, 48, 48), image_dtype=np.uint16) as writer:
        for number in range(3):
            image = discs(number)[0]
            image[:, 40:] = 0
            writer.add(Item(image, None, "train", f"g{number}", ItemSource(f"d{number}.tif", "", 0, (0, 0), (40, 48))))
        writer.finish(DatasetInfo("padded", {}, CLASSES, Normalisation("minmax", (500.0,), (3200.0,))))
    out = tmp_path / "todo"
    suggested(bioseg("suggest", path, "--run", disc_run, "--count", 1, "--export", out, "--json"))
    (image,), (mask,) = (list((out / part).iterdir()) for part in ("images", "masks"))
    number = int(image.stem.removeprefix("d"))
    np.testing.assert_array_equal(tifffile.imread(image), discs(number)[0][0, :40])
    assert tifffile.imread(mask).shape == (40, 48)


# Bad input ------------------------------------------------------------------------------------------------------------


def test_a_data_set_with_every_mask_is_refused_with_advice(disc_dataset: Path, bioseg: Cli) -> None:
    result = bioseg("suggest", disc_dataset)
    assert result.exit_code == 3
    assert "Every training image has a mask: there is none to suggest" in said(result)
    assert "give --among all to choose as if none had a mask" in said(result)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--count", 0), 2, "--count: input should be greater than or equal to 1, got 0"),
        (("--state", "last"), 2, "--state: for the network of a run, give --run too"),
        (("--device", "cpu"), 2, "--device: for the network of a run, give --run too"),
        (("--out", "sheet.jpg"), 2, "--out is a PNG, and 'sheet.jpg' does not end in .png"),
        (("--run", "nowhere"), 3, "The folder is not a run"),
        (("--run", "nowhere.safetensors", "--among", "all"), 3, "There is no such model"),
    ],
)
def test_bad_options(
    arguments: tuple[object, ...], code: int, message: str, unlabelled: Path, bioseg: Cli, tmp_path: Path
) -> None:
    result = bioseg("suggest", unlabelled, *arguments, "--export", tmp_path / "todo")
    assert (result.exit_code, message in said(result)) == (code, True), result.output
    assert list(tmp_path.iterdir()) == []


def test_no_data_set(tmp_path: Path, bioseg: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "No data set was given and data/ holds none" in said(bioseg("suggest"))
    assert "There is no such data set" in said(bioseg("suggest", "x.h5"))
    empty = write_discs(tmp_path / "v.h5", ("val", "val"))
    assert "The training split has no image" in said(bioseg("suggest", empty))


def test_a_run_that_does_not_fit_is_refused(
    disc_run: Path, disc_dataset: Path, unlabelled: Path, kinds: Path, bioseg: Cli, tmp_path: Path
) -> None:
    colours = save_random_model(tmp_path / "colours.safetensors", channels=3)
    other = bioseg("suggest", unlabelled, "--run", colours)
    assert other.exit_code == 3
    assert "The image has 1 channel (grey), the model was trained on 3 channels (colour)" in said(other)
    damaged = tmp_path / "run"
    shutil.copytree(disc_run, damaged)
    for checkpoint in (damaged / "checkpoints").iterdir():
        checkpoint.write_bytes(b"torn")
    assert "not a readable safetensors file" in said(bioseg("suggest", unlabelled, "--run", damaged))
    for path, why in (
        (disc_run / "checkpoints" / "last.safetensors", "A model by itself does not say which images it learnt from"),
        (disc_run, "The run was trained on another data set"),
    ):
        refused = bioseg("suggest", unlabelled, "--run", path, "--among", "all")
        assert refused.exit_code == 2 and why in said(refused), refused.output
    shutil.copytree(disc_run / "checkpoints", damaged / "checkpoints", dirs_exist_ok=True)
    record = yaml.safe_load((damaged / "manifest.yaml").read_text())
    for labels in ({"count": 4, "of": 8}, None, {"count": 1, "of": 8, "images": ["elsewhere"]}):
        (damaged / "manifest.yaml").write_text(yaml.safe_dump({**record, "labels": labels}))
        refused = bioseg("suggest", disc_dataset, "--run", damaged, "--among", "all")
        assert refused.exit_code == 3 and "does not name the labelled images" in said(refused), refused.output
