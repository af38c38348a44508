"""Affine geometry against SciPy and NumPy: where pixels go, what comes in from outside, how transforms compose."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bioseg_cli.augment.affine import Affine

SIZES = [(33, 33), (32, 48), (20, 57)]
similarities = st.builds(
    lambda degrees, scale, flip: similarity(degrees, scale, flip),
    st.floats(-360, 360),
    st.floats(0.5, 2),
    st.booleans(),
)


def similarity(degrees: float, scale: float = 1.0, flip: bool = False) -> Affine:
    return Affine.similarity(torch.tensor([degrees]), torch.tensor([scale]), torch.tensor([flip]))


def shifted(affine: Affine, rows: float, columns: float) -> Affine:
    return Affine(affine.matrix + torch.tensor([[0, 0, rows], [0, 0, columns]], dtype=torch.float64))


def by_scipy(image: np.ndarray, affine: Affine, order: int, fill: float = 0.0) -> np.ndarray:
    linear, shift = affine.matrix[0, :, :2].numpy(), affine.matrix[0, :, 2].numpy()
    centre = (np.array(image.shape) - 1) / 2
    back = np.linalg.inv(linear)
    return ndi.affine_transform(
        image, back, centre - back @ (centre + shift), order=order, mode="grid-constant", cval=fill
    )


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width))


@given(st.floats(-179, 179), st.floats(0.5, 2), st.booleans())
def test_a_similarity_says_what_it_was_made_of(degrees, scale, flip):
    found = similarity(degrees, scale, flip).as_similarity()
    assert [value.item() for value in found] == [pytest.approx(degrees), pytest.approx(scale, rel=1e-6), flip]


def blobs(height: int, width: int) -> np.ndarray:
    """Smooth, not symmetric in any way, and 0 at the border."""
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    spots = [(-0.4, 0.1, 1.0), (0.2, 0.4, 0.6), (0.3, -0.3, 0.8)]
    return sum(level * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 0.03) for y, x, level in spots)


def warp(affine: Affine, image: np.ndarray, mode: str = "bilinear", fill: float = 0.0) -> np.ndarray:
    return affine.warp(torch.from_numpy(image)[None, None], mode, fill=fill)[0, 0].numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("degrees", "scale", "flip"), [(0, 1, True), (30, 1, False), (-77, 0.8, True), (143, 1.3, True)]
)
def test_bilinear_warp_is_scipys_also_on_images_that_are_not_square(size, degrees, scale, flip):
    image, affine = noise(*size), shifted(similarity(degrees, scale, flip), 2.5, -1.25)
    np.testing.assert_allclose(warp(affine, image), by_scipy(image, affine, order=1), atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_labels_move_to_the_nearest_pixel_and_the_outside_is_ignored(size):
    labels = np.random.default_rng(1).integers(0, 4, size)
    affine = shifted(similarity(23.0, 0.9, True), 0.3, -0.2)
    moved = affine.warp(torch.from_numpy(labels)[None], "nearest", fill=-1)[0]
    # SciPy has no "ignore" of its own: shifting by one makes its 0 ours.
    expected = by_scipy((labels + 1).astype(float), affine, order=0).astype(int) - 1
    assert moved.dtype == torch.int64
    assert moved.shape == size
    assert (moved.numpy() == expected).mean() > 0.995
    assert (moved == -1).any()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_rot90(turns):
    image = noise(31, 31)
    np.testing.assert_allclose(warp(similarity(90.0 * turns), image), np.rot90(image, turns), atol=1e-9)


def test_a_flip_reverses_the_columns():
    image = noise(7, 12)
    np.testing.assert_allclose(warp(similarity(0, flip=True), image), image[:, ::-1], atol=1e-12)


def test_a_small_turn_is_counter_clockwise_as_displayed():
    image = np.zeros((21, 21))
    image[10, 18] = 1  # right of the centre
    row, column = np.unravel_index(warp(similarity(90), image).argmax(), image.shape)
    assert (row, column) == (2, 10)  # above it


def test_a_rotation_keeps_distances_in_pixels_on_an_oblong_image():
    image = np.zeros((41, 81))
    image[20, 50] = 1  # 10 pixels right
    assert np.unravel_index(warp(similarity(90), image).argmax(), image.shape) == (10, 40)


def test_float32_images_follow_within_a_thousandth():
    image = noise(64, 96).astype(np.float32)
    affine = similarity(31.0, 1.04, True)
    np.testing.assert_allclose(warp(affine, image), by_scipy(image.astype(float), affine, order=1), atol=1e-4)


@settings(deadline=None)
@given(similarities, similarities)
def test_after_applies_the_argument_first(outer, inner):
    point = torch.tensor([[[3.0], [-2.0], [1.0]]], dtype=torch.float64)
    inner, outer = shifted(inner, 1.5, -4), shifted(outer, -2, 0.5)
    between = torch.cat([inner.matrix @ point, torch.ones(1, 1, 1)], dim=1)
    torch.testing.assert_close(outer.after(inner).matrix @ point, outer.matrix @ between)


@settings(deadline=None)
@given(similarities, st.floats(-9, 9), st.floats(-9, 9))
def test_the_inverse_undoes_the_transform(affine, rows, columns):
    affine = shifted(affine, rows, columns)
    identity = Affine.identity(1).matrix
    torch.testing.assert_close(affine.inverse().after(affine).matrix, identity, atol=1e-9, rtol=0)
    torch.testing.assert_close(affine.after(affine.inverse()).matrix, identity, atol=1e-9, rtol=0)


@settings(deadline=None)
@given(similarities)
def test_warp_and_inverse_give_a_smooth_image_back_where_it_stayed_in_the_frame(affine):
    image = torch.from_numpy(blobs(60, 72))[None, None]
    shown = torch.ones_like(image)
    back = affine.inverse().warp(affine.warp(image))
    valid = affine.inverse().valid_mask(affine.valid_mask(shown))
    assert valid.sum() > 0
    assert ((back - image).abs() * valid).max() < 0.09  # two interpolations, the coarser at half the resolution


def test_the_valid_mask_is_exactly_what_saw_no_outside():
    size = (30, 44)
    affine = similarity(33.0, 1.1)
    valid = affine.valid_mask(torch.ones(1, 1, *size, dtype=torch.float64))[0, 0].numpy()
    bright, dark = (warp(affine, np.full(size, 0.5), fill=fill) for fill in (9.0, -9.0))
    # Pixels that depend on what lies outside are those that change with it.
    np.testing.assert_array_equal(valid, np.abs(bright - dark) < 18e-4)
    assert 0 < valid.mean() < 1


def test_padding_is_as_invalid_as_the_outside_of_the_frame():
    shown = torch.ones(1, 1, 20, 20)
    shown[..., 14:] = 0
    turned = similarity(180).valid_mask(shown)[0, 0]
    np.testing.assert_array_equal(turned, np.pad(np.ones((20, 14)), ((0, 0), (6, 0))))


def test_the_identity_returns_the_images_untouched():
    images = torch.rand(2, 3, 5, 7)
    assert Affine.identity(2).warp(images) is images


def test_torch_has_nothing_to_say_of_a_warp():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warp(similarity(20), noise(9, 12))


def test_images_move_where_they_are():
    moved = Affine.similarity(torch.tensor([20.0, 30.0])).warp(torch.rand(2, 3, 9, 12, device="meta"))
    assert (moved.device.type, moved.shape) == ("meta", (2, 3, 9, 12))


def test_where_not_chosen_nothing_moves():
    images = np.stack([noise(16, 16, 1), noise(16, 16, 2), noise(16, 16, 3)])
    chosen = Affine.similarity(torch.tensor([90.0, 90.0, 180.0])).where(torch.tensor([True, False, True]))
    moved = chosen.warp(torch.from_numpy(images)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(moved, [np.rot90(images[0]), images[1], np.rot90(images[2], 2)], atol=1e-9)
    assert torch.equal(chosen.matrix[1], Affine.identity(1).matrix[0])


def test_each_image_of_a_batch_has_its_own_transform():
    images = np.stack([noise(16, 16, 1), noise(16, 16, 2)])
    both = Affine.similarity(torch.tensor([90.0, 180.0]))
    moved = both.warp(torch.from_numpy(images)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(moved, [np.rot90(images[0]), np.rot90(images[1], 2)], atol=1e-9)


def test_composing_resamples_once_and_so_blurs_less_than_two_warps():
    image = noise(40, 40)
    first, second = similarity(40), similarity(-40)
    once, twice = warp(second.after(first), image), warp(second, warp(first, image))
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(once - image)[inner].max() < 1e-9
    assert np.abs(twice - image)[inner].max() > 0.1


def aligned_error(weak: Affine, strong: Affine, align: Affine) -> float:
    """How far W(X) and the aligned W(S(X)) are apart where both are valid."""
    image = torch.from_numpy(blobs(96, 96))[None, None]
    shown = torch.ones_like(image)
    to_strong = weak.after(strong)
    aligned = align.warp(to_strong.warp(image))
    valid = align.valid_mask(to_strong.valid_mask(shown)) * weak.valid_mask(shown)
    assert valid.mean() > 0.4
    return float(((aligned - weak.warp(image)).abs() * valid).max())


@pytest.mark.parametrize("flip", [True, False])
def test_w_sinverse_winverse_aligns_the_strong_view_to_the_weak_one(flip):
    weak, strong = similarity(12, 1.04, flip), similarity(70)
    assert aligned_error(weak, strong, weak.after(strong.inverse()).after(weak.inverse())) < 0.03


def test_the_inverse_of_the_strong_transform_alone_is_wrong_where_the_weak_one_flips():
    strong = similarity(70)
    assert aligned_error(similarity(12, 1.04, flip=True), strong, strong.inverse()) > 0.3
    assert aligned_error(similarity(12, 1.04, flip=False), strong, strong.inverse()) < 0.03


def test_a_mirrored_frame_goes_on_as_its_mirror_image() -> None:
    image = torch.arange(5.0).expand(1, 1, 5, 5)
    right = shifted(similarity(0.0), 0, 2)
    np.testing.assert_allclose(right.warp(image, mirrored=True)[0, 0, 2], [1, 0, 0, 1, 2], atol=1e-6)
    labels = torch.arange(5).expand(1, 5, 5)
    np.testing.assert_array_equal(right.warp(labels, "nearest", mirrored=True)[0, 2], [1, 0, 0, 1, 2])
