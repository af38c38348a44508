"""What a microscope changes: each change against its definition, what is drawn, and that nothing else happens."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

from bioseg_cli.augment.microscopy import (
    BLUR_PIXELS,
    GAIN,
    GAMMA,
    NOISE,
    OFFSET,
    PHOTONS,
    SHADING,
    Capture,
    draw_capture,
    gaussian_blur,
)

SPREAD = 0.2


def capture(**changes: float | list[float]) -> Capture:
    """A capture of one image that changes nothing but what is named."""
    values = {
        "gain": 1,
        "offset": 0,
        "gamma": 1,
        "blur": 0,
        "sharpen": 0,
        "resolution": 1,
        "photons": np.inf,
        "noise": 0,
    }
    tensors = {name: torch.tensor([value], dtype=torch.float64) for name, value in {**values, **changes}.items()}
    tensors.setdefault("shading", torch.zeros(1, 5, dtype=torch.float64))
    return Capture(**tensors, noise_seed=3)


@pytest.fixture
def images() -> torch.Tensor:
    """One image of two channels, away from 0 and 1."""
    return 0.2 + 0.5 * torch.rand(1, 2, 24, 30, generator=torch.Generator().manual_seed(0))


def test_a_capture_without_changes_changes_nothing(images) -> None:
    torch.testing.assert_close(capture().apply(images), images, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gain": 1.2}, lambda x: 1.2 * x),
        ({"offset": -0.1}, lambda x: x - 0.1),
        ({"gamma": 1.5}, lambda x: x**1.5),
        ({"gain": 0.8, "offset": 0.1, "gamma": 0.5}, lambda x: (0.8 * x + 0.1) ** 0.5),
        ({"gain": 9}, lambda x: np.minimum(9 * x, 1)),
    ],
)
def test_exposure(images, changes, expected) -> None:
    found = capture(**changes).apply(images)
    np.testing.assert_allclose(found, expected(images.numpy()), atol=1e-6)


def test_blur_is_scipys_gaussian(images) -> None:
    expected = ndi.gaussian_filter(images.numpy(), (0, 0, 1.7, 1.7), mode="nearest", truncate=5 / 1.7)
    np.testing.assert_allclose(gaussian_blur(images, 1.7), expected, atol=1e-6)
    np.testing.assert_allclose(capture(blur=1.7).apply(images), expected, atol=1e-6)


def test_sharpening_adds_what_a_blur_takes_away(images) -> None:
    expected = images + 0.5 * (images - gaussian_blur(images, 1.5))
    torch.testing.assert_close(capture(sharpen=0.5).apply(images), expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_a_lower_resolution_loses_detail_and_no_light(images) -> None:
    found = capture(resolution=0.5).apply(images)
    assert found.shape == images.shape
    assert float(found.std()) < 0.7 * float(images.std())
    np.testing.assert_allclose(found.mean(), images.mean(), atol=0.005)


def test_shading_is_a_surface_that_is_1_in_the_middle() -> None:
    field = torch.full((1, 1, 5, 5), 0.5)
    terms = torch.tensor([[0.1, 0.0, 0.0, 0.0, 0.2]], dtype=torch.float64)
    found = dataclasses.replace(capture(), shading=terms).apply(field)[0, 0]
    y, x = np.mgrid[-1:1:5j, -1:1:5j]
    np.testing.assert_allclose(found, 0.5 * (1 + 0.1 * y + 0.2 * x**2), atol=1e-6)


def test_camera_noise_has_its_standard_deviation_and_no_bias() -> None:
    noisy = capture(noise=0.05).apply(torch.full((1, 1, 200, 200), 0.5))
    assert float(noisy.mean()) == pytest.approx(0.5, abs=0.001)
    assert float(noisy.std()) == pytest.approx(0.05, rel=0.02)


def test_shot_noise_grows_with_the_square_root_of_the_signal() -> None:
    dim, bright = (capture(photons=100).apply(torch.full((1, 1, 200, 200), level)) for level in (0.16, 0.64))
    assert float(dim.std()) == pytest.approx(np.sqrt(0.16 / 100), rel=0.02)
    assert float(bright.std()) == pytest.approx(np.sqrt(0.64 / 100), rel=0.02)


def test_a_capture_repeats() -> None:
    drawn = draw_capture(3, SPREAD, np.random.default_rng(1))
    images = torch.rand(3, 1, 16, 16)
    assert torch.equal(drawn.apply(images), drawn.apply(images))


@pytest.mark.parametrize("exposure", [0.0, 0.25])
def test_a_share_of_the_exposure_is_applied_and_all_of_the_optics(exposure) -> None:
    whole = draw_capture(200, SPREAD, np.random.default_rng(2), severity=0.5)
    share = draw_capture(200, SPREAD, np.random.default_rng(2), severity=0.5, exposure=exposure)
    for field in ("blur", "sharpen", "resolution", "photons", "noise"):
        assert torch.equal(getattr(share, field), getattr(whole, field))
    for field in ("gain", "gamma"):
        torch.testing.assert_close(getattr(share, field).log(), exposure * getattr(whole, field).log())
    for field in ("offset", "shading"):
        torch.testing.assert_close(getattr(share, field), exposure * getattr(whole, field))
        assert float(getattr(whole, field).abs().max()) > 0


def test_exposing_changes_each_pixel_by_itself_and_nothing_of_the_optics(images) -> None:
    changed = capture(gain=0.8, offset=0.1, gamma=0.5, blur=2, noise=0.1)
    expected = (0.8 * images.numpy() + 0.1) ** 0.5
    np.testing.assert_allclose(changed.expose(images), expected, atol=1e-6)


def test_each_image_of_a_batch_has_its_own_changes() -> None:
    drawn = draw_capture(4, SPREAD, np.random.default_rng(5))
    images = torch.full((4, 1, 16, 16), 0.4)
    assert len({round(float(image.mean()), 6) for image in drawn.apply(images)}) == 4


@pytest.mark.parametrize("severity", [1.0, 0.5])
def test_what_is_drawn_fills_its_range_and_leaves_half_of_the_images_alone(severity) -> None:
    drawn = draw_capture(4000, SPREAD, np.random.default_rng(0), severity=severity)
    low, high = 0.97, 1.0
    ranges = {
        "gain": (drawn.gain.log() / np.log(GAIN), -1),
        "offset": (drawn.offset / (OFFSET * SPREAD), -1),
        "gamma": (drawn.gamma.log() / np.log(GAMMA), -1),
        "focus": ((drawn.blur / BLUR_PIXELS) - drawn.sharpen, -1),
        "resolution": ((1 - drawn.resolution) / 0.5, 0),
        "noise": (drawn.noise / (NOISE * SPREAD), 0),
    }
    for name, (values, least) in ranges.items():
        share_still = float((values.abs() < 1e-12).double().mean())
        assert share_still == pytest.approx(0.5, abs=0.05), name
        assert low * severity <= float(values.max()) <= high * severity + 1e-9, name
        assert (float(values.min()) <= -low * severity) if least else (float(values.min()) == 0), name
    finite = drawn.photons[drawn.photons.isfinite()]
    assert len(finite) / 4000 == pytest.approx(0.5, abs=0.05)
    strongest = np.exp(np.log(PHOTONS[0]) + severity * (np.log(PHOTONS[1]) - np.log(PHOTONS[0])))
    assert strongest <= float(finite.min()) <= 1.1 * strongest
    assert 0.5 * SHADING * severity < float(drawn.shading.abs().sum(dim=1).max()) <= SHADING * severity + 1e-9


def test_nothing_is_blurred_and_sharpened_at_once() -> None:
    drawn = draw_capture(500, SPREAD, np.random.default_rng(2))
    assert not ((drawn.blur > 0) & (drawn.sharpen > 0)).any()


def test_images_stay_in_range_and_brighter_objects_stay_brighter() -> None:
    image = torch.full((200, 1, 32, 32), 0.3)
    image[:, :, 8:24, 8:24] = 0.7
    found = draw_capture(200, SPREAD, np.random.default_rng(7)).apply(image)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    inside, outside = found[:, :, 10:22, 10:22].mean(dim=(1, 2, 3)), found[:, :, :6].mean(dim=(1, 2, 3))
    assert (inside > outside).all()
