"""Grey levels of images: those unlike the training images are told, and others are not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from bioseg_cli.io.intensities import Intensities, SeenIntensities
from bioseg_cli.io.normalisation import Normalisation

LIMITS = Normalisation("minmax", (100.0,), (2000.0,))


def field(seed: int, *, gain: float = 1.0, offset: float = 0.0, cells: bool = True) -> NDArray[np.uint16]:
    """Bright squares (1, H, W) on a dark noisy background."""
    random = np.random.default_rng(seed)
    pixels = random.normal(200, 20, (64, 80))
    if cells:
        for row, column in random.integers(0, 60, (6, 2)):
            pixels[row : row + 10, column : column + 10] += random.uniform(600, 1200)
    return np.clip(pixels * gain + offset, 0, 65535).astype(np.uint16)[None]


def seen(count: int = 20) -> SeenIntensities:
    return SeenIntensities.of([[Intensities.of(channel) for channel in field(seed)] for seed in range(count)])


def said(pixels: NDArray[np.uint16], count: int = 20) -> list[tuple[str, bool]]:
    found = seen(count).deviations(pixels, LIMITS)
    return [(deviation.sentence, deviation.meaningless) for deviation in found]


@pytest.mark.parametrize("count", [1, 3, 20])
def test_images_of_the_same_kind_are_not_told(count: int) -> None:
    assert [said(field(seed), count) for seed in range(100, 130)] == [[]] * 30


@pytest.mark.parametrize(
    ("pixels", "sentence", "meaningless"),
    [
        (field(50, offset=32768), "lie outside of the range that the network sees (100 to 2000)", True),
        (field(50, gain=50), "lie outside of the range that the network sees", True),
        (np.full((1, 64, 80), 700, np.uint16), "All pixels have the value 700", True),
        (np.full((1, 64, 80), 65535, np.uint16), "All pixels have the value 65535", True),
        (field(50, offset=1000), "1 % of its pixels are darker than", False),
        (1800 - field(50), "darker than", False),
        (field(50, cells=False), "is low; training images have", False),
        (np.minimum(field(50), 230), "of its pixels have the highest value, at most 0% in training images", False),
        (np.maximum(field(50), 190), "of its pixels have the lowest value", False),
        (
            field(50) + np.random.default_rng(0).integers(0, 800, (1, 64, 80)).astype(np.uint16),
            "noise or finer structures",
            False,
        ),
    ],
)
def test_what_is_unlike_the_training_images_is_told(
    pixels: NDArray[np.uint16], sentence: str, meaningless: bool
) -> None:
    found = said(pixels)
    assert any(sentence in words and is_meaningless is meaningless for words, is_meaningless in found), found
    assert any(is_meaningless for _, is_meaningless in found) is meaningless


def test_inverted_contrast_within_the_range_is_told() -> None:
    training = [field(seed, gain=0.3, offset=900) for seed in range(20)]
    known = SeenIntensities.of([[Intensities.of(image[0])] for image in training])
    inverted = (training[0].max().astype(int) + training[0].min() - training[0]).astype(np.uint16)
    assert any("It may be inverted" in each.sentence for each in known.deviations(inverted, LIMITS))
    assert not known.deviations(training[0], LIMITS)


def test_a_coarse_image_is_told() -> None:
    coarse = np.repeat(np.linspace(190, 1200, 64)[:, None], 80, axis=1).astype(np.uint16)[None]
    assert not any("differ by" in words for words, _ in said(field(50)))
    assert any("blur or a higher magnification" in words for words, _ in said(coarse))


def test_channels_are_told_apart_and_one_without_range_says_nothing() -> None:
    random = np.random.default_rng(0)
    training = [np.concatenate([field(seed), np.full((1, 64, 80), 5), field(seed + 40)]) for seed in range(10)]
    known = SeenIntensities.of([[Intensities.of(channel) for channel in image] for image in training])
    limits = Normalisation("minmax", (100.0, 5.0, 100.0), (2000.0, 5.0, 2000.0))
    image = np.concatenate([field(90), random.integers(0, 9, (1, 64, 80)), field(91, offset=32768)])
    found = known.deviations(image, limits)
    assert [deviation.sentence.split(":")[0] for deviation in found] == ["Channel 3"]


def test_few_training_images_allow_more() -> None:
    brighter = field(50, offset=700)
    assert said(brighter, 20) and not said(brighter, 1)


def test_only_rows_are_sampled_and_the_numbers_stay() -> None:
    whole = np.random.default_rng(0).integers(0, 1000, (900, 700)).astype(np.uint16)
    found = Intensities.of(whole)
    assert found.low == pytest.approx(10, abs=3) and found.middle == pytest.approx(500, abs=10)
    assert found.texture == pytest.approx(np.abs(np.diff(whole.astype(int), axis=1)).mean() / 980, rel=0.02)
    assert Intensities.of(np.full((3, 1), 7, np.uint8)).texture == 0


def test_what_was_seen_comes_back_from_json() -> None:
    known = seen(3)
    assert SeenIntensities.from_json(json.loads(json.dumps(known.to_json()))) == known
    with pytest.raises(KeyError):
        SeenIntensities.from_json({"images": 1, "channels": [{"low": [0, 1]}]})
