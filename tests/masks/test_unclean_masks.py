"""Masks that were scaled, smoothed or saved as JPEG: never taken for classes, and cut where they were drawn."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw
from scipy.ndimage import zoom

from bioseg_cli.config import build_config
from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.masks.mask_file import NO_TRAITS, MaskTraits
from bioseg_cli.masks.survey import MaskSurvey
from bioseg_cli.prepare import session
from bioseg_cli.prepare.recipes.settings import FolderConfig
from bioseg_cli.runs.console import ConsoleOutput

pytestmark = pytest.mark.slow

SIDE = 128
FILTERS = {name: Image.Resampling[name] for name in ("BILINEAR", "BICUBIC", "LANCZOS", "BOX", "HAMMING")}


def drawing(seed: int = 0, levels: tuple[int, ...] = (1,)) -> np.ndarray:
    """A (128, 128) mask of ten ellipses."""
    random = np.random.default_rng(seed)
    picture = Image.new("L", (SIDE, SIDE))
    for number in range(10):
        x, y, radius = random.integers(0, SIDE), random.integers(0, SIDE), random.integers(4, 15)
        box = (int(x - radius), int(y - radius), int(x + 0.8 * radius), int(y + radius))
        ImageDraw.Draw(picture).ellipse(box, fill=levels[number % len(levels)])
    return np.array(picture)


def as_jpeg(mask: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def scaled(mask: np.ndarray, factor: float, how: str) -> np.ndarray:
    picture = Image.fromarray(mask)
    side = round(SIDE * factor)
    return np.array(picture.resize((side, side), FILTERS[how]))


def painted(codes: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    picture = np.zeros((*codes.shape, 3), dtype=np.uint8)
    for code, colour in colours.items():
        picture[codes == code] = colour
    return picture


def read(*masks: np.ndarray, kind=None, traits=NO_TRAITS):
    survey = MaskSurvey()
    for mask in masks:
        survey.add(mask, traits=traits)
    return survey.reading(kind, ())


def asked(*masks: np.ndarray, kind=None, **options) -> str:
    with pytest.raises(DataError) as caught:
        read(*masks, kind=kind, **options)
    return str(caught.value)


@pytest.mark.parametrize("top", [255, 128])
@pytest.mark.parametrize("quality", [100, 95, 90, 75, 60, 50])
def test_jpeg_masks_are_asked_about_and_cut_halfway(top, quality) -> None:
    drawn = [drawing(seed) for seed in range(3)]
    masks = [as_jpeg(mask * top, quality) for mask in drawn]
    message = asked(*masks)
    assert f"values 0, {top} alone fill areas" in message
    assert f"--masks-are binary takes values from {top // 2 + top % 2} up as foreground" in message
    reading = read(*masks, kind="binary")
    assert reading.sentence == f"values from {top // 2 + top % 2} up are 'foreground', the others 'background'"
    for mask, truth in zip(masks, drawn, strict=True):
        assert (reading.labels(mask) != truth).sum() <= 3


@pytest.mark.parametrize("top", [255, 128])
@pytest.mark.parametrize("factor", [0.5, 0.7, 1.5, 2, 3])
@pytest.mark.parametrize("how", ["BILINEAR", "BICUBIC", "LANCZOS", "HAMMING"])
def test_scaled_masks_are_cut_halfway(top, factor, how) -> None:
    masks = [scaled(drawing(seed) * top, factor, how) for seed in range(3)]
    assert "alone fill areas" in asked(*masks)
    reading = read(*masks, kind="binary")
    for mask in masks:
        expected = mask.astype(float) >= top / 2
        assert expected.sum() > 0
        assert (reading.labels(mask) != expected).sum() <= 0.005 * expected.sum()


def test_enlarging_by_whole_pixels_stays_clean() -> None:
    masks = [scaled(drawing(seed) * 255, 2, "BOX") for seed in range(2)]
    assert read(*masks).kind == "binary"


def test_sixteen_bits_beside_eight() -> None:
    wide = np.clip(zoom(drawing(0) * 65535.0, 2, order=1), 0, 65535).astype(np.uint16)
    narrow = scaled(drawing(1) * 255, 2, "BILINEAR")
    reading = read(wide, narrow, kind="binary")
    assert "values from 128 up in masks of 8 bits, values from 32768 up in masks of 16 bits" in reading.sentence
    np.testing.assert_array_equal(reading.labels(narrow), narrow >= 128)
    np.testing.assert_array_equal(reading.labels(wide), wide >= 32768)


@pytest.mark.parametrize("width", [2, 3])
def test_anti_aliased_lines(width) -> None:
    """Of lines hardly a pixel reaches the value that was drawn."""
    random = np.random.default_rng(0)
    picture = Image.new("L", (4 * SIDE, 4 * SIDE))
    for _ in range(8):
        ends = [int(end) for end in random.integers(0, 4 * SIDE, 4)]
        ImageDraw.Draw(picture).line(ends, fill=255, width=4 * width)
    mask = np.array(picture.resize((SIDE, SIDE), FILTERS["BOX"]))
    assert "--masks-are binary takes values from" in asked(mask)
    labels, expected = read(mask, kind="binary").labels(mask), mask >= 128
    assert (labels != expected).sum() <= 0.05 * expected.sum()


def test_lines_between_two_rows_of_pixels_do_not_say_what_was_drawn() -> None:
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for row in range(4, 60, 8):
        mask[row : row + 2, 8:120] = 128
    for row in range(64, 120, 8):
        mask[row, 8:120], mask[row - 1, 8:120], mask[row + 1, 8:120] = 255, 20, 20
    assert read(mask, kind="binary").sentence.startswith("values from 128 up")


@pytest.mark.parametrize("quality", [100, 90, 75])
def test_colour_channels_of_a_grey_jpeg_may_differ_by_rounding(quality) -> None:
    random = np.random.default_rng(0)
    masks = []
    for seed in range(2):
        grey = as_jpeg(np.repeat(drawing(seed)[..., None] * 255, 3, axis=2), quality).astype(int)
        masks.append(np.clip(grey + random.integers(-1, 2, grey.shape), 0, 255).astype(np.uint8))
    reading = read(*masks, kind="binary")
    assert "values from 128 up" in reading.sentence
    for seed in range(2):
        assert (reading.labels(masks[seed]) != drawing(seed)).sum() <= 3


def test_a_coloured_object_mask_as_jpeg() -> None:
    masks = [as_jpeg(painted(drawing(seed), {1: (255, 0, 0)}), 90) for seed in range(2)]
    assert "--masks-are binary takes colours nearer to #fb0200 than to #000000" in asked(*masks)
    reading = read(*masks, kind="binary")
    for seed in range(2):
        # The colours of JPEG are stored at half the resolution.
        assert (reading.labels(masks[seed]) != drawing(seed)).sum() <= 20


@pytest.mark.parametrize("spoil", [lambda mask: as_jpeg(mask, 90), lambda mask: scaled(mask, 2, "BILINEAR")])
def test_several_colours_cannot_be_cut(spoil) -> None:
    colours = {1: (255, 0, 0), 2: (0, 255, 0)}
    clean = [painted(drawing(seed, (1, 2)), colours) for seed in range(2)]
    assert read(*clean).kind == "colours"
    masks = [spoil(mask) for mask in clean]
    for kind in (None, "binary"):
        message = asked(*masks, kind=kind)
        assert "areas" in message
        assert "--masks-are" not in message
        assert "without smoothing" in message


@pytest.mark.parametrize(
    "spoil",
    [lambda mask: as_jpeg(mask, 100), lambda mask: as_jpeg(mask, 75), lambda mask: scaled(mask, 2, "BICUBIC")],
)
def test_three_greys_are_never_guessed(spoil) -> None:
    drawn = [drawing(seed, (127, 255)) for seed in range(2)]
    assert [info.name for info in read(*drawn).classes] == ["background", "class 127", "class 255"]
    masks = [spoil(mask) for mask in drawn]
    assert "values 0, 127, 255 alone fill areas" in asked(*masks)
    reading = read(*masks, kind="binary")
    assert reading.sentence.startswith("values from 64 up are 'foreground'")
    np.testing.assert_array_equal(reading.labels(masks[0]), masks[0] >= 64)


def test_class_numbers_that_were_smoothed() -> None:
    """The values stay 0 to 3, but 1 and 2 run along every border of 3."""
    clean = [drawing(seed, (1, 2, 3)) for seed in range(3)]
    assert read(*clean).kind == "classes"
    smooth = [scaled(mask, 2, "BILINEAR") for mask in clean]
    assert "many borders run through the values between" in asked(*smooth)
    assert len(read(*smooth, kind="classes").classes) == 4


def test_numbered_objects_that_were_smoothed() -> None:
    clean = [drawing(seed, tuple(range(1, 11))) for seed in range(2)]
    assert read(*clean, kind=None).kind == "instances"
    smooth = [scaled(mask, 2, "BILINEAR") for mask in clean]
    asked(*smooth)
    assert read(*smooth, kind="instances").kind == "instances"


def test_what_a_jpeg_holds_is_no_class_number_even_if_the_user_says_so() -> None:
    masks = [as_jpeg(drawing(seed, (1, 2, 3)), 95) for seed in range(3)]
    lossy = MaskTraits(full=255, lossy=True)
    for kind in (None, "classes", "instances", "binary"):
        assert "JPEG" in asked(*masks, kind=kind, traits=lossy)
    ones = as_jpeg(drawing() * 255, 100) // 100
    assert read(ones, traits=lossy).kind == "binary"


@pytest.mark.parametrize("quality", [100, 75])
def test_a_clean_mask_beside_unclean_ones_keeps_its_objects(quality) -> None:
    clean, jpeg = drawing(0), as_jpeg(drawing(1) * 255, quality)
    reading = read(clean, jpeg, np.zeros_like(clean), kind="binary")
    np.testing.assert_array_equal(reading.labels(clean), clean)
    assert (reading.labels(jpeg) != drawing(1)).sum() <= 3


@pytest.mark.parametrize("values", [(128, 255), (1, 2)])
def test_classes_of_thin_lines_are_classes(values) -> None:
    random = np.random.default_rng(0)
    picture = Image.new("L", (SIDE, SIDE))
    for number in range(12):
        ends = [int(end) for end in random.integers(0, SIDE, 4)]
        ImageDraw.Draw(picture).line(ends, fill=values[number % 2])
    mask = np.array(picture)
    assert read(mask).kind == "classes"
    asked(mask, traits=MaskTraits(full=255, lossy=True))


@pytest.mark.parametrize(("inner", "edge"), [(1, 2), (2, 1), (128, 255)])
def test_outlines_of_one_pixel_are_a_class(inner, edge) -> None:
    from scipy.ndimage import binary_erosion

    drawn = drawing() > 0
    mask = np.where(binary_erosion(drawn), inner, np.where(drawn, edge, 0)).astype(np.uint8)
    assert len(read(mask).classes) == 3


@pytest.mark.parametrize("value", [3, 200])
def test_a_small_class_is_a_class(value) -> None:
    masks = [drawing(seed, (1, 2) if value == 3 else (127, 255)) for seed in range(3)]
    masks[0][60:62, 60:62] = value
    assert len(read(*masks).classes) == 4


def test_a_handful_of_scattered_pixels_is_no_class() -> None:
    masks = [drawing(seed, (1, 2)) for seed in range(3)]
    masks[0][3, 7] = masks[1][50, 9] = 7
    assert "values 0, 1, 2 alone fill areas" in asked(*masks)
    assert len(read(*masks, kind="classes").classes) == 4


# Through the commands -------------------------------------------------------------------------------------------------


def fill(root: Path, suffix: str, spoil) -> None:
    """Six images, and their masks spoilt and as they were drawn."""
    for name in ("images", "masks", "drawn"):
        (root / name).mkdir()
    for seed in range(6):
        noise = np.random.default_rng(seed).integers(0, 200, (SIDE, SIDE)).astype(np.uint8)
        Image.fromarray(noise).save(root / f"images/c{seed}.png")
        Image.fromarray(drawing(seed) * 255).save(root / f"drawn/c{seed}.png")
        spoil(root / f"masks/c{seed}{suffix}", drawing(seed) * 255)


SPOILT = {
    "jpeg": (".jpg", lambda path, mask: Image.fromarray(mask).save(path, quality=75)),
    "colour jpeg": (".jpg", lambda path, mask: Image.fromarray(mask).convert("RGB").save(path, quality=85)),
    "tiff of jpeg": (".tif", lambda path, mask: tifffile.imwrite(path, as_jpeg(mask, 90))),
}


@pytest.mark.parametrize("name", SPOILT)
def test_prepare_and_evaluate_agree(tmp_path, bioseg, name) -> None:
    fill(tmp_path, *SPOILT[name])
    values = {"images": tmp_path / "images", "masks": tmp_path / "masks", "out": tmp_path / "set.h5"}

    def prepare(**more):
        return session.run(
            build_config(FolderConfig, {**values, **more}), ConsoleOutput(quiet=True), overwrite=False
        ).to_json()

    with pytest.raises(DataError, match="--masks-are binary takes values from 128 up"):
        prepare()
    assert not (tmp_path / "set.h5").exists()
    assert "values from 128 up are 'foreground'" in prepare(masks_are="binary")["masks"]
    assert "values from 128 up are 'foreground'" in (tmp_path / "set.yaml").read_text()
    with Dataset(tmp_path / "set.h5") as dataset:
        for index in range(dataset.size):
            truth = drawing(int(Path(dataset.source(index).file).stem[1:]))
            assert (dataset.labels(index) != truth).sum() <= 3

    def scores(*arguments):
        result = bioseg("evaluate", "--json", *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["runs"][0]

    masks, drawn = tmp_path / "masks", tmp_path / "drawn"
    for arguments in (
        ("--predictions", masks, "--truth", drawn),
        ("--predictions", drawn, "--truth", masks, "--masks-are", "binary"),
        ("--predictions", masks, "--truth", tmp_path / "set.h5"),
    ):
        found = scores(*arguments)
        assert found["mean_iou"] > 0.998
        assert any("values from 128 up are 'foreground'" in note for note in found["notes"])
    refused = bioseg("evaluate", "--predictions", drawn, "--truth", masks)
    assert refused.exit_code == 3
    assert "--masks-are binary takes values from 128 up as foreground" in refused.stderr


def test_predictions_of_classes_as_jpeg_are_refused(tmp_path, bioseg) -> None:
    for name in ("truth", "pred"):
        (tmp_path / name).mkdir()
    for seed in range(3):
        codes = drawing(seed, (1, 2, 3))
        Image.fromarray(codes).save(tmp_path / f"truth/c{seed}.png")
        Image.fromarray(codes).save(tmp_path / f"pred/c{seed}.jpg", quality=95)
    result = bioseg("evaluate", "--predictions", tmp_path / "pred", "--truth", tmp_path / "truth")
    assert result.exit_code == 3
    assert "Save the predictions as PNG or TIFF" in result.stderr
