"""Photometric operations against Pillow on 8-bit images, and what holds for any number of channels and bits."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageEnhance, ImageOps

from bioseg_cli.augment import photometric as ops

LEVEL = 1 / 255
FACTORS = [0.1, 0.6, 1.0, 1.4, 1.9]
ENHANCERS = {
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
    "color": ImageEnhance.Color,
}
grey_images = arrays(np.uint8, st.tuples(st.integers(3, 12), st.integers(3, 12)))


def eight_bit(channels: int = 1, seed: int = 0) -> np.ndarray:
    """(H, W) or (H, W, 3) pixels that leave some of the range free at both ends."""
    shape = (23, 31) if channels == 1 else (23, 31, channels)
    return np.random.default_rng(seed).integers(20, 230, shape, dtype=np.uint8)


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """(C, H, W) float64 in [0, 1]."""
    return torch.from_numpy(np.moveaxis(np.atleast_3d(pixels), -1, 0) / 255)


def to_pixels(image: torch.Tensor, like: np.ndarray) -> np.ndarray:
    """Grey levels, not rounded, in Pillow's layout."""
    return np.moveaxis(image.numpy(), 0, -1).reshape(like.shape) * 255


def assert_within(image: torch.Tensor, pillow: Image.Image, levels: float) -> None:
    expected = np.asarray(pillow).astype(float)
    np.testing.assert_allclose(to_pixels(image, expected), expected, rtol=0, atol=levels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", ["contrast", "brightness", "sharpness", "color"])
def test_enhancements_are_pillows_up_to_its_rounding(name, factor, channels):
    pixels = eight_bit(channels)
    mine = getattr(ops, name)(to_tensor(pixels), factor)
    # Pillow truncates, and rounds the mean, the smoothed and the grey image to whole levels first.
    assert_within(mine, ENHANCERS[name](Image.fromarray(pixels)).enhance(factor), 2.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_autocontrast_is_pillows_up_to_a_level(channels):
    pixels = eight_bit(channels)
    assert_within(ops.autocontrast(to_tensor(pixels)), ImageOps.autocontrast(Image.fromarray(pixels)), 1.0)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 256), st.floats(0.2, 5))
def test_equalize_is_pillows_lookup_table(seed, levels, skew):
    # More pixels than grey levels: with fewer, Pillow's step is 0 and nothing changes.
    pixels = (np.random.default_rng(seed).random((40, 50)) ** skew * levels).astype(np.uint8)
    assert_within(ops.equalize(to_tensor(pixels)), ImageOps.equalize(Image.fromarray(pixels)), 1e-9)


@pytest.mark.parametrize("below", [254, 255, 509, 510, 764, 765])
def test_equalize_is_pillows_where_the_step_is_about_to_grow(below: int):
    pixels = np.repeat([0, 90, 91, 200], [50, 100, below - 150, 7]).astype(np.uint8)[None]
    mine = ops.equalize(to_tensor(pixels))
    assert_within(mine, ImageOps.equalize(Image.fromarray(pixels)), 1e-9)
    assert torch.equal(mine, to_tensor(pixels)) == (below == 254)


def test_equalize_ranks_the_bins_that_grey_levels_are_nearest_to():
    image = torch.tensor([[[0.2, 0.3, 0.7, 0.8]]])
    torch.testing.assert_close(ops.equalize(image, bins=3), torch.tensor([[[0, 1 / 3, 1 / 3, 1]]]))


@pytest.mark.parametrize("bins", [256, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equalize_keeps_the_precision(dtype: torch.dtype, bins: int):
    changed = ops.equalize(to_tensor(eight_bit()).to(dtype), bins)
    assert changed.dtype == dtype
    assert not torch.equal(changed, to_tensor(eight_bit()).to(dtype))


@settings(deadline=None)
@given(grey_images)
def test_invert_is_pillows(pixels):
    assert_within(ops.invert(to_tensor(pixels)), ImageOps.invert(Image.fromarray(pixels)), 1e-9)


@settings(deadline=None)
@given(grey_images, st.integers(0, 256))
def test_solarize_is_pillows(pixels, threshold):
    mine = ops.solarize(to_tensor(pixels), (threshold - 0.5) / 255)
    assert_within(mine, ImageOps.solarize(Image.fromarray(pixels), threshold), 1e-9)


@pytest.mark.parametrize("name", ENHANCERS)
def test_factor_one_is_the_identity(name):
    image = to_tensor(eight_bit(3))
    torch.testing.assert_close(getattr(ops, name)(image, 1.0), image, atol=1e-12, rtol=0)


def test_factor_zero_is_flat_black_or_blurred():
    image = to_tensor(eight_bit())
    assert (ops.brightness(image, 0.0) == 0).all()
    assert torch.allclose(ops.contrast(image, 0.0), image.mean())
    assert ops.sharpness(image, 0.0)[:, 1:-1, 1:-1].std() < 0.7 * image[:, 1:-1, 1:-1].std()


def test_sharpness_leaves_the_border_as_it_is():
    image = to_tensor(eight_bit())
    sharper = ops.sharpness(image, 1.9)
    assert torch.equal(sharper[:, 0], image[:, 0])
    assert torch.equal(sharper[:, :, -1], image[:, :, -1])
    assert not torch.allclose(sharper[:, 1:-1, 1:-1], image[:, 1:-1, 1:-1])


@pytest.mark.parametrize("size", [(2, 9), (9, 2)])
def test_an_image_too_small_to_smooth_is_left_alone(size):
    image = torch.rand(1, *size)
    assert torch.equal(ops.sharpness(image, 1.9), image)


def test_the_smallest_image_to_smooth_has_one_pixel_that_changes():
    image = torch.zeros(1, 3, 3)
    image[0, 1, 1] = 0.26
    changed = ops.sharpness(image, 0.0)
    assert float(changed[0, 1, 1]) == pytest.approx(0.26 * 5 / 13)
    changed[0, 1, 1] = 0
    assert (changed == 0).all()


@pytest.mark.parametrize("operation", [ops.autocontrast, ops.equalize, partial(ops.equalize, bins=4096)])
def test_a_constant_channel_stays_as_it_is_beside_one_that_changes(operation):
    image = torch.stack([torch.full((9, 40), 0.4), torch.linspace(0.3, 0.6, 360).reshape(9, 40)])
    changed = operation(image)
    assert torch.equal(changed[0], image[0])
    assert changed[1].min() == 0
    assert changed[1].max() > 0.99


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ["autocontrast", "invert", "equalize", *ENHANCERS, "solarize"])
def test_every_operation_keeps_shape_type_and_range_for_any_number_of_channels(name, channels):
    image = torch.rand(channels, 12, 17)
    parameters = (1.9,) if name in ENHANCERS else (0.5,) if name == "solarize" else ()
    changed = getattr(ops, name)(image, *parameters)
    assert changed.shape == image.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_color_is_the_identity_on_anything_but_three_channels(channels):
    image = torch.rand(channels, 6, 6)
    assert torch.equal(ops.color(image, 1.9), image)


def test_color_at_zero_makes_the_three_channels_equal():
    changed = ops.color(torch.rand(3, 6, 6), 0.0)
    assert torch.equal(changed[0], changed[1])
    assert torch.equal(changed[0], changed[2])


def test_sixteen_bit_steps_survive_every_operation_that_is_not_a_lookup_table():
    fine = (32768 + torch.arange(400, dtype=torch.float64).reshape(1, 20, 20)) / 65535  # less than two 8-bit levels
    for name, parameters in {"autocontrast": (), "invert": (), "contrast": (1.5,), "brightness": (1.5,)}.items():
        assert getattr(ops, name)(fine, *parameters).unique().numel() == 400, name


@pytest.mark.parametrize("side", [20, 32, 63, 90, 96, 100, 128, 200])
def test_equalize_with_more_bins_spreads_noise_evenly_whatever_the_size(side):
    image = torch.rand(1, side, side, generator=torch.Generator().manual_seed(side))
    changed = ops.equalize(image, 4096)
    assert (changed == 1).double().mean() <= 0.012
    # Noise that is uniform already has a flat histogram: each value is nearly its rank.
    ranks = image.flatten().argsort().argsort().double() / (side**2 - 1)
    torch.testing.assert_close(changed.flatten().double(), ranks, atol=0.012, rtol=0)


def test_equalize_with_more_bins_gives_the_share_of_pixels_that_are_darker():
    # Bins 0, 1, 7 and 4095 hold 2, 1, 4 and 1 pixels: 7 are darker than the last bin.
    levels = torch.tensor([[0, 0, 1, 7], [7, 7, 7, 4095]]) / 4095
    expected = torch.tensor([[0, 0, 2 / 7, 3 / 7], [3 / 7, 3 / 7, 3 / 7, 1]])
    torch.testing.assert_close(ops.equalize(levels[None], 4096)[0], expected)
    assert torch.equal(ops.equalize(levels[None])[0], levels)  # 7 pixels are too few for Pillow's 256 levels


def test_a_single_darker_pixel_is_enough_to_equalize():
    image = torch.full((1, 4, 5), 0.6)
    image[0, 2, 2] = 0.5
    expected = torch.ones(1, 4, 5)
    expected[0, 2, 2] = 0
    assert torch.equal(ops.equalize(image, 4096), expected)


def test_equalize_takes_values_outside_the_range_for_its_ends():
    image = torch.tensor([[[-0.5, 0.0, 0.5, 1.0, 1.5]]])
    torch.testing.assert_close(ops.equalize(image, 4096), torch.tensor([[[0, 0, 2 / 3, 1, 1]]]))


def test_equalize_with_more_bins_tells_apart_what_256_would_merge():
    image = torch.rand(1, 128, 128, generator=torch.Generator().manual_seed(0)) * 0.05
    coarse, deep = ops.equalize(image), ops.equalize(image, 4096)
    assert coarse.unique().numel() < 20
    assert deep.unique().numel() > 150


def test_grey_is_the_luma_of_three_channels_and_the_mean_of_others_pixel_by_pixel():
    two = torch.tensor([[[0.1, 0.2]], [[0.3, 0.8]]])
    torch.testing.assert_close(ops.grey(two), torch.tensor([[[0.2, 0.5]]]))
    three = torch.eye(3)[:, None]
    torch.testing.assert_close(ops.grey(three), torch.tensor([[[0.2989, 0.587, 0.114]]]))


def test_contrast_pivots_on_the_mean_of_all_channels():
    image = torch.stack([torch.full((4, 4), 0.2), torch.full((4, 4), 0.6)])
    changed = ops.contrast(image, 0.5)
    torch.testing.assert_close(changed[:, 0, 0], torch.tensor([0.3, 0.5]))
