"""The preview of the augmentation: what is drawn is what training draws, and the picture says what it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import CLASSES, SIZE, discs, write_discs
from matplotlib.figure import Figure
from PIL import Image

from bioseg_cli.augment import photometric
from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.microscopy import draw_capture, gaussian_blur
from bioseg_cli.augment.policy import DEEP_EQUALIZE_BINS, draw_strong, draw_strong_capture, draw_weak, draw_wide
from bioseg_cli.config import ClassInfo
from bioseg_cli.dataset.batches import IGNORE, ImageSource, grey_level_spread, random_stream
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.dataset.schema import DatasetInfo, Item, ItemSource
from bioseg_cli.dataset.writer import DatasetWriter
from bioseg_cli.figures.pictures import as_rgb
from bioseg_cli.io.normalisation import Normalisation
from bioseg_cli.preview.figure import DPI, draw_sheet
from bioseg_cli.preview.session import STRONG_DRAWS, WEAK_DRAWS, chosen_images, draw_views
from bioseg_cli.preview.settings import PreviewConfig

pytestmark = pytest.mark.slow

Cli = Callable[..., Result]
NINE = {
    "autocontrast", "invert", "equalize", "solarize", "contrast", "color", "brightness", "sharpness", "rotation",
}  # fmt: skip


def write_coloured(
    path: Path, *, size: int = SIZE, name: str = "slide", classes: tuple[ClassInfo, ...] = CLASSES
) -> Path:
    """Four training images of 8-bit RGB discs, the last two without a mask."""
    with DatasetWriter(path, count=4, image_shape=(3, size, size), image_dtype=np.uint8) as writer:
        for index in range(4):
            image, mask = discs(index, size)
            rgb = np.concatenate([image // 16, image // 24, image // 48]).clip(0, 255).astype(np.uint8)
            source = ItemSource(f"{name}{index}.tif", "", 0, (0, 0), (size, size))
            writer.add(Item(rgb, mask if index < 2 else None, "train", f"g{index}", source))
        writer.finish(DatasetInfo("rgb", {}, classes, Normalisation("minmax", (0.0,) * 3, (200.0,) * 3)))
    return path


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    return write_coloured(tmp_path / "rgb.h5")


class Drawn:
    """The figure of a preview, and the images it was made of."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.config = PreviewConfig(data=path, **settings)
        with Dataset(path) as dataset:
            indices = chosen_images(dataset, self.config)
            self.sheet, rows = draw_views(dataset, indices, self.config)
            self.figure: Figure = draw_sheet(self.sheet, rows)
            self.labelled = dataset.labelled[indices]
            source = ImageSource(dataset, 0)
            self.batches = [source.batch(np.array([index])) for index in indices.tolist()]
        self.columns = len(self.sheet.headings)

    def picture(self, row: int, column: int) -> np.ndarray:
        """The pixels (h, w, 3) of a panel."""
        return np.asarray(self.figure.axes[row * self.columns + column].images[0].get_array())

    def outlines(self, row: int, column: int) -> list[Any]:
        """The contours of a panel, one a class."""
        return list(self.figure.axes[row * self.columns + column].collections)

    def column(self, heading: str) -> int:
        """The only column of this heading."""
        (found,) = (place for place, written in enumerate(self.sheet.headings) if written == heading)
        return found

    @property
    def words(self) -> list[str]:
        """All that is written."""
        return [text.get_text() for text in self.figure.texts]


def chosen(path: Path, **settings: Any) -> tuple[int, ...]:
    with Dataset(path) as dataset:
        return tuple(chosen_images(dataset, PreviewConfig(data=path, **settings)).tolist())


def shown(image: torch.Tensor) -> np.ndarray:
    return as_rgb(image.numpy())


def test_the_headings_name_all_nine_operations_and_what_the_magnitude_means(disc_dataset: Path) -> None:
    headings = Drawn(disc_dataset, magnitude=10).sheet.headings
    assert headings[0] == "original"
    assert {heading.split("\n")[0] for heading in headings[1:-STRONG_DRAWS]} == NINE
    for name in ("contrast", "brightness", "sharpness"):
        assert headings.count(f"{name}\nfactor 0.7") == headings.count(f"{name}\nfactor 1.3") == 1
    assert "solarize\nthreshold 0.67" in headings
    assert "color\nidentity: not RGB" in headings
    assert {"autocontrast\n", "invert\n", "equalize\n"} < set(headings)
    assert headings[-STRONG_DRAWS:] == ("strong view\n2 operations",) * STRONG_DRAWS


def test_each_column_shows_its_operation_on_16_bit_images_of_one_channel(disc_dataset: Path) -> None:
    drawn = Drawn(disc_dataset)
    assert len(drawn.batches) == 3
    for row, batch in enumerate(drawn.batches):
        image = batch.images[0]
        expected = {
            "original": image,
            "autocontrast\n": photometric.autocontrast(image),
            "invert\n": 1 - image,
            "equalize\n": photometric.equalize(image, DEEP_EQUALIZE_BINS),
            "solarize\nthreshold 0": photometric.solarize(image, 0.0),
            "contrast\nfactor 0.1": photometric.contrast(image, 0.1),
            "contrast\nfactor 1.9": photometric.contrast(image, 1.9),
            "color\nidentity: not RGB": image,
            "brightness\nfactor 0.1": photometric.brightness(image, 0.1),
            "brightness\nfactor 1.9": photometric.brightness(image, 1.9),
            "sharpness\nfactor 0.1": photometric.sharpness(image, 0.1),
            "sharpness\nfactor 1.9": photometric.sharpness(image, 1.9),
        }
        for heading, picture in expected.items():
            np.testing.assert_array_equal(drawn.picture(row, drawn.column(heading)), shown(picture), heading)
        assert drawn.columns == len(expected) + 1 + STRONG_DRAWS
        # Equalized, a tenth of the pixels has a tenth of the range.
        deciles = np.quantile(drawn.picture(row, drawn.column("equalize\n")), np.arange(11) / 10)
        np.testing.assert_allclose(deciles, 255 * np.arange(11) / 10, atol=3)
        total = drawn.picture(row, drawn.column("invert\n")).astype(int) + drawn.picture(row, 0)
        assert set(np.unique(total)) <= {254, 255, 256}


def test_color_and_equalize_on_8_bit_rgb_images(coloured: Path) -> None:
    drawn = Drawn(coloured, images=1)
    image = drawn.batches[0].images[0]
    for factor in (0.1, 1.9):
        picture = drawn.picture(0, drawn.column(f"color\nfactor {factor}"))
        np.testing.assert_array_equal(picture, shown(photometric.color(image, factor)))
        assert (picture != shown(image)).any()
    np.testing.assert_array_equal(drawn.picture(0, drawn.column("equalize\n")), shown(photometric.equalize(image)))


def test_rotation_and_strong_views_are_what_training_draws(disc_dataset: Path) -> None:
    drawn = Drawn(disc_dataset, seed=5, strong_ops=3, images=4)
    random = random_stream(5, "augment")
    degrees = random.uniform(0, 360)
    turn, turned = Affine.similarity(torch.tensor([degrees])), drawn.column(f"rotation\n{degrees:.0f}° of 0° to 360°")
    said = iter([word for word in drawn.words if word])
    for row, batch in enumerate(drawn.batches):
        np.testing.assert_array_equal(drawn.picture(row, turned), shown(turn.warp(batch.images)[0]))
        for draw in range(STRONG_DRAWS):
            view = draw_strong(1, 3, random)
            expected = view.rotation.warp(view.colour(batch.images, deep=True))[0]
            np.testing.assert_array_equal(drawn.picture(row, drawn.columns - STRONG_DRAWS + draw), shown(expected))
            for operation in view.operations[0]:
                assert any(word.split(" ")[0] == operation.name for word in said), "not in the order they are applied"
            if not view.rotation.is_identity():
                assert any(word.startswith("rotation ") and word.endswith("°") for word in said)


def test_weak_views_move_image_and_mask_alike(coloured: Path) -> None:
    drawn = Drawn(coloured, strong=False, images=2)
    random = random_stream(0, "augment")
    assert drawn.labelled.all()
    for row, batch in enumerate(drawn.batches):
        for draw in range(1, WEAK_DRAWS + 1):
            weak = draw_weak(1, random)
            np.testing.assert_array_equal(drawn.picture(row, draw), shown(weak.warp(batch.images)[0]))
            inside = weak.warp(batch.labels, "nearest", fill=IGNORE)[0].numpy() == 1
            (outline,) = drawn.outlines(row, draw)
            corners = np.concatenate([path.vertices for path in outline.get_paths()])
            # Every corner of the outline lies half way between a pixel of the class and one that is not.
            low, high = np.floor(corners).astype(int), np.ceil(corners).astype(int)
            assert (inside[low[:, 1], low[:, 0]] != inside[high[:, 1], high[:, 0]]).all()
            degrees, scale, flip = (value.item() for value in weak.as_similarity())
            written = [f"scale {scale:.3f}", f"rotation {degrees:.1f}°".replace("-", "−"), *["flipped"] * flip]
            assert [word for word in written if word not in drawn.words] == []
    assert "cell" in drawn.words


def test_images_with_a_mask_come_first_where_masks_are_shown(coloured: Path) -> None:
    drawn = Drawn(coloured, strong=False, images=4)
    assert drawn.labelled.tolist() == [True, True, False, False]
    assert all(len(drawn.outlines(row, column)) == (row < 2) for row in range(4) for column in range(drawn.columns))


def test_without_any_mask_no_class_is_named(tmp_path: Path) -> None:
    path = write_discs(tmp_path / "d.h5", ("train",) * 3, unlabelled=(0, 1, 2))
    drawn = Drawn(path, strong=False)
    assert not any(drawn.outlines(row, column) for row in range(3) for column in range(drawn.columns))
    assert "cell" not in drawn.words


def test_training_images_alone_are_drawn_and_no_more_than_there_are(disc_dataset: Path) -> None:
    assert sorted(chosen(disc_dataset, images=20)) == list(range(8))


def test_the_seed_decides_which_images_are_drawn(disc_dataset: Path) -> None:
    assert len({chosen(disc_dataset, seed=seed, images=1) for seed in range(6)}) > 2
    assert chosen(disc_dataset, seed=3) == chosen(disc_dataset, seed=3)


def test_crops_are_drawn_whole(disc_dataset: Path) -> None:
    assert Drawn(disc_dataset, crop=32, images=1).picture(0, 0).shape == (32, 32, 3)
    assert Drawn(disc_dataset, crop=1000, images=1).picture(0, 0).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("strong", [True, False])
def test_large_images_are_reduced_with_their_outlines(tmp_path: Path, strong: bool) -> None:
    drawn = Drawn(write_coloured(tmp_path / "d.h5", size=700), strong=strong, images=1)
    place = drawn.figure.axes[0].get_window_extent()
    height, width, _ = drawn.picture(0, 0).shape
    assert (width, height) == (round(place.width), round(place.height))
    for outline in drawn.outlines(0, 0):
        corners = np.concatenate([path.vertices for path in outline.get_paths()])
        mask = Image.fromarray((drawn.batches[0].labels[0] == 1).numpy()).resize((width, height))
        edge = np.argwhere(np.asarray(mask) != np.roll(np.asarray(mask), 1, axis=1))
        assert np.abs(corners[:, 0].max() - edge[:, 1].max()) < 3
        assert drawn.figure.axes[0].get_xlim() == (-0.5, width - 0.5)


def boxes(figure: Figure) -> Iterator[tuple[str, Any]]:
    for text in figure.texts:
        if text.get_text():
            yield text.get_text(), text.get_window_extent()


@pytest.mark.parametrize("strong", [True, False])
@pytest.mark.parametrize("name", ["a", "$x_{1$" + "long" * 100])
def test_nothing_written_is_cut_or_covered(tmp_path: Path, strong: bool, name: str) -> None:
    classes = (*CLASSES, *(ClassInfo(name=f"{name}{number}", colour=(255, number, 0)) for number in range(7)))
    path = write_coloured(tmp_path / "d.h5", name=name[:120], classes=classes)
    figure = Drawn(path, strong=strong, images=3, **({"strong_ops": 9} if strong else {})).figure
    width, height = figure.get_size_inches() * DPI
    written = list(boxes(figure))
    assert [text for text, box in written if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height] == []
    assert [(a, b) for (a, first), (b, second) in combinations(written, 2) if first.overlaps(second)] == []
    places = [axis.get_window_extent() for axis in figure.axes]
    assert [text for text, box in written if any(box.overlaps(place) for place in places)] == []


def test_the_command_writes_a_png_and_never_replaces_one_unasked(coloured: Path, tmp_path: Path, bioseg: Cli) -> None:
    out = tmp_path / "p.png"
    result = bioseg("preview", coloured, "--images", 1, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["picture"], summary["view"], summary["magnitude"]) == (str(out), "strong", 30)
    assert [name[:-1] for name in summary["images"]] == ["slide"]
    first = out.read_bytes()
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert picture.width > 3000
    again = bioseg("preview", coloured, "--out", out)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert out.read_bytes() == first
    replaced = bioseg("preview", coloured, "--images", 1, "--out", out, "--weak", "--overwrite")
    assert replaced.exit_code == 0, replaced.output
    assert str(out) in replaced.stdout
    assert out.read_bytes() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.png", "rgb.h5"]


def test_the_data_set_may_be_left_out_where_there_is_one(
    tmp_path: Path, bioseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    none = bioseg("preview", "--weak", "--images", 1)
    assert (none.exit_code, "data/ holds none" in none.stderr) == (2, True)
    (tmp_path / "data").mkdir()
    write_discs(tmp_path / "data" / "cells.h5")
    assert bioseg("preview", "--weak", "--images", 1).exit_code == 0
    assert (tmp_path / "preview-cells-weak.png").is_file()
    write_discs(tmp_path / "data" / "more.h5")
    several = bioseg("preview", "--weak", "--images", 1)
    assert (several.exit_code, "data/cells.h5, data/more.h5" in several.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--magnitude", 31), "--magnitude"),
        (("--magnitude", 0), "--magnitude"),
        (("--weak", "--magnitude", 3), "--magnitude"),
        (("--weak", "--strong-ops", 1), "--strong-ops"),
        (("--strong-ops", 0), "--strong-ops"),
        (("--images", 0), "--images"),
        (("--images", 21), "--images"),
        (("--crop", 8), "--crop"),
        (("--out", "p.pdf"), "p.pdf"),
    ],
)
def test_wrong_usage_names_the_option(
    disc_dataset: Path,
    bioseg: Cli,
    arguments: tuple[object, ...],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bioseg("preview", disc_dataset, *arguments)
    assert result.exit_code == 2
    assert named in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_without_training_images_is_refused(tmp_path: Path, bioseg: Cli) -> None:
    path = write_discs(tmp_path / "d.h5", ("val",) * 2)
    result = bioseg("preview", path, "--out", tmp_path / "p.png")
    assert result.exit_code == 3
    assert "The training split has no image" in result.stderr
    assert not (tmp_path / "p.png").exists()


# What a microscope changes, and wide geometry ------------------------------------------------------------------------

CHANGES = (
    "gain", "gain", "offset", "offset", "gamma", "gamma", "blur", "sharpen", "resolution", "photons", "noise",
    "shading",
)  # fmt: skip


def test_each_change_of_a_microscope_is_shown_at_its_strongest(disc_dataset: Path) -> None:
    config = PreviewConfig(augment="microscopy", images=1)
    with Dataset(disc_dataset) as dataset:
        spread = grey_level_spread(dataset)
        indices = chosen_images(dataset, config)
        sheet, rows = draw_views(dataset, indices, config)
        (panels,) = [list(row) for row in rows]
        image = ImageSource(dataset, 0, labels=False).batch(indices).images
        own = np.mean([dataset.normalised(i).std() for i in dataset.indices("train")])
    assert spread == pytest.approx(own)
    alone = [heading.split("\n") for heading in sheet.headings[1:13]]
    assert tuple(name for name, _ in alone) == CHANGES
    numbers = [float(value.replace("−", "-").rstrip("%")) for _, value in alone]
    assert numbers == pytest.approx(
        [1 / 1.6, 1.6, -0.25 * spread, 0.25 * spread, 1 / 1.6, 1.6, 2, 1, 0.5, 50, 0.3 * spread, 30], rel=0.05
    )
    assert sheet.headings[13:] == ("labelled image\nhalf range",) * 2 + ("strong view\nfull range",) * 2
    assert len(panels) == len(sheet.headings) and sheet.without_caption == 13
    same = torch.testing.assert_close
    same(panels[0].image, image[0])
    same(panels[1].image, (image[0] / 1.6).clamp(0, 1))
    same(panels[4].image, (image[0] + 0.25 * spread).clamp(0, 1))
    same(panels[6].image, image[0] ** 1.6)
    same(panels[7].image, gaussian_blur(image, 2.0)[0])
    light = 1 + 0.3 * torch.linspace(-1, 1, image.shape[3])
    same(panels[12].image, (image[0] * light).clamp(0, 1))
    assert all(not torch.equal(first.image, other.image) for first, other in combinations(panels, 2))


def test_labelled_images_are_drawn_from_half_of_the_range_and_strong_views_from_all(disc_dataset: Path) -> None:
    config = PreviewConfig(augment="microscopy", images=1, seed=3)
    with Dataset(disc_dataset) as dataset:
        spread = grey_level_spread(dataset)
        indices = chosen_images(dataset, config)
        image = ImageSource(dataset, 0, labels=False).batch(indices).images
        panels = list(next(iter(draw_views(dataset, indices, config)[1])))
    random = random_stream(3, "augment")
    labelled = [draw_capture(1, spread, random, severity=0.5) for _ in range(2)]
    strong = [draw_strong_capture(1, spread, random) for _ in range(2)]
    for panel, capture in zip(panels[13:15], labelled, strict=True):
        torch.testing.assert_close(panel.image, capture.apply(image)[0])
        assert "rotation" not in panel.caption
    for panel, view in zip(panels[15:], strong, strict=True):
        torch.testing.assert_close(panel.image, view.rotation.warp(view.capture.apply(image))[0])
        assert panel.caption.splitlines()[-1] == f"rotation {float(view.rotation.as_similarity()[0]) % 360:.0f}°"
    gain = float(labelled[0].gain[0])
    assert (f"gain {gain:.2g}" in panels[13].caption) == (gain != 1)


def test_wide_views_are_those_of_the_training_mirrored_at_the_frame(coloured: Path) -> None:
    config = PreviewConfig(strong=False, geometry="wide", images=1)
    with Dataset(coloured) as dataset:
        indices = chosen_images(dataset, config)
        batch = ImageSource(dataset, 0).batch(indices)
        sheet, rows = draw_views(dataset, indices, config)
        panels = list(next(iter(rows)))
    random = random_stream(0, "augment")
    for panel in panels[1:]:
        wide = draw_wide(1, random)
        torch.testing.assert_close(panel.image, wide.warp(batch.images, mirrored=True)[0])
        assert torch.equal(panel.labels, wide.warp(batch.labels, "nearest", fill=0, mirrored=True)[0])
        assert int(panel.labels.min()) >= 0
    assert sheet.headings[1:] == ("wide view",) * WEAK_DRAWS


def test_a_share_of_the_exposure_is_shown_and_none_of_it_has_no_column(disc_dataset: Path) -> None:
    with Dataset(disc_dataset) as dataset:
        half = PreviewConfig(augment="microscopy", exposure=0.5, images=1)
        indices = chosen_images(dataset, half)
        image = ImageSource(dataset, 0, labels=False).batch(indices).images
        sheet, rows = draw_views(dataset, indices, half)
        panels = list(next(iter(rows)))
        none, _ = draw_views(dataset, indices, PreviewConfig(augment="microscopy", exposure=0, images=1))
        spread = grey_level_spread(dataset)
    assert sheet.headings[1:3] == ("gain\n0.79", "gain\n1.3") and sheet.headings[12] == "shading\n15%"
    torch.testing.assert_close(panels[1].image, (image[0] / 1.6**0.5).clamp(0, 1))
    random = random_stream(0, "augment")
    labelled = [draw_capture(1, spread, random, severity=0.5, exposure=0.5) for _ in range(2)]
    strong = [draw_strong_capture(1, spread, random, exposure=0.5) for _ in range(2)]
    torch.testing.assert_close(panels[14].image, labelled[1].apply(image)[0])
    torch.testing.assert_close(panels[16].image, strong[1].rotation.warp(strong[1].capture.apply(image))[0])
    assert [heading.split("\n")[0] for heading in none.headings[1:-4]] == list(CHANGES[6:11])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--exposure", 0.5), "--exposure: for --augment microscopy, which changes the exposure"),
        (("--augment", "microscopy", "--weak"), "--augment: for the strong operations, which --weak leaves out"),
        (("--augment", "microscopy", "--magnitude", 3), "--magnitude: not for --augment microscopy"),
        (("--augment", "microscopy", "--strong-ops", 3), "--strong-ops: not for --augment microscopy"),
        (("--geometry", "wide"), "--geometry: for the weak transform, which --weak draws"),
    ],
)
def test_views_that_exclude_each_other(
    arguments: tuple[object, ...], said: str, coloured: Path, tmp_path: Path, bioseg: Cli
) -> None:
    result = bioseg("preview", coloured, *arguments, "--out", tmp_path / "p.png")
    assert result.exit_code == 2 and said in " ".join(result.output.split())
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("arguments", "view"), [(("--augment", "microscopy"), "microscopy"), (("--weak", "--geometry", "wide"), "wide")]
)
def test_each_view_has_a_picture_of_its_own_name(
    arguments: tuple[object, ...], view: str, coloured: Path, tmp_path: Path, bioseg: Cli, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bioseg("preview", coloured, *arguments, "--images", 1, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["view"] == view and "magnitude" not in document
    assert (tmp_path / f"preview-rgb-{view}.png").is_file()
