"""The second view that IIC pairs with an image: what is drawn, and what another exposure does to grey levels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.second_view import Exposure, SecondView, draw_second_view

KEPT = Exposure(torch.ones(1), torch.zeros(1), torch.ones(1), torch.zeros(1), noise_seed=0)


def changed(image: torch.Tensor, **values: float) -> torch.Tensor:
    """One image (C, H, W) under the exposure that keeps it but for `values`."""
    exposure = dataclasses.replace(KEPT, **{name: torch.tensor([value]) for name, value in values.items()})
    return exposure.apply(image[None])[0]


def two_levels(low: float = 0.4, high: float = 0.6) -> torch.Tensor:
    """(2, 10, 10) with a level in each channel, 0.1 from their mean: a standard deviation of sqrt(200 / 199) / 10."""
    return torch.stack([torch.full((10, 10), low), torch.full((10, 10), high)])


SPREAD = (200 / 199) ** 0.5 / 10


def test_the_exposure_of_ones_and_zeros_keeps_the_image() -> None:
    assert torch.equal(changed(two_levels()), two_levels())


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ({"gain": 1.5}, 0.6, 0.9),
        ({"gain": 2.0}, 0.8, 1.0),  # what is brighter than the range is as bright as it can be
        ({"offset": 1.0}, 0.4 + SPREAD, 0.6 + SPREAD),
        ({"offset": -5.0}, 0.0, 0.6 - 5 * SPREAD),
        ({"offset": 5.0}, 0.4 + 5 * SPREAD, 1.0),
        ({"gamma": 2.0}, 0.16, 0.36),
        ({"gain": 1.5, "offset": 1.0, "gamma": 2.0}, (0.6 + SPREAD) ** 2, 1.0),
        # What is darker than the range is black before the response, which would make it brighter or no number.
        ({"offset": -5.0, "gamma": 2.0}, 0.0, (0.6 - 5 * SPREAD) ** 2),
        ({"offset": -5.0, "gamma": 0.5}, 0.0, (0.6 - 5 * SPREAD) ** 0.5),
        ({"gain": 0.5, "offset": -1.0, "gamma": 0.5}, (0.2 - SPREAD) ** 0.5, (0.3 - SPREAD) ** 0.5),
    ],
)
def test_an_exposure_is_a_gain_then_an_offset_then_a_response(
    values: dict[str, float], low: float, high: float
) -> None:
    torch.testing.assert_close(changed(two_levels(), **values), two_levels(low, high))


def test_noise_is_measured_in_the_images_own_standard_deviation() -> None:
    image = 0.5 + 0.02 * torch.randn(2, 200, 200, generator=torch.Generator().manual_seed(1))
    grain = changed(image, noise=0.5) - image
    assert float(grain.std()) == pytest.approx(0.01, rel=0.02)
    assert float(grain.mean()) == pytest.approx(0, abs=1e-4)
    # It comes after the response: a gamma that moves the levels far leaves it as it is.
    torch.testing.assert_close(changed(image, noise=0.5, gamma=2.0) - image**2, grain, atol=1e-6, rtol=0)


def test_another_exposure_is_its_formula_and_clipped_to_the_range() -> None:
    images = torch.rand(3, 2, 6, 7, generator=torch.Generator().manual_seed(1))
    exposure = Exposure(
        gain=torch.tensor([1.5, 0.7, 1.0]),
        offset=torch.tensor([0.2, -0.2, 0.1]),
        gamma=torch.tensor([0.8, 1.5, 1.0]),
        noise=torch.tensor([0.5, 0.0, 0.3]),
        noise_seed=9,
    )
    grain = torch.randn(3, 2, 6, 7, generator=torch.Generator().manual_seed(9))
    changed = exposure.apply(images)
    for number in range(3):
        image, spread = images[number].numpy(), float(images[number].std())
        gain, offset, gamma, noise = (
            float(values[number]) for values in (exposure.gain, exposure.offset, exposure.gamma, exposure.noise)
        )
        exposed = np.clip(gain * image + offset * spread, 0, 1) ** gamma
        expected = np.clip(exposed + noise * spread * grain[number].numpy(), 0, 1)
        np.testing.assert_allclose(changed[number], expected, atol=1e-5)
    assert float(changed.min()) == 0
    assert float(changed.max()) == 1


def test_noise_does_not_leave_the_range() -> None:
    assert (changed(two_levels(0.0, 1.0), noise=3.0).min(), changed(two_levels(0.0, 1.0), noise=3.0).max()) == (0, 1)


def test_noise_is_that_of_its_seed_and_differs_between_images() -> None:
    images = 0.5 + 0.1 * torch.rand(1, 1, 16, 16).expand(2, 1, 16, 16)
    exposure = Exposure(torch.ones(2), torch.zeros(2), torch.ones(2), torch.ones(2), noise_seed=3)
    assert torch.equal(exposure.apply(images), exposure.apply(images))
    assert not torch.equal(exposure.apply(images)[0], exposure.apply(images)[1])
    assert not torch.equal(exposure.apply(images), dataclasses.replace(exposure, noise_seed=4).apply(images))


def test_each_image_has_its_own_exposure_and_its_own_spread() -> None:
    images = torch.stack([two_levels(), two_levels(0.48, 0.52)])
    exposure = Exposure(
        torch.tensor([1.0, 0.5]), torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0]), torch.zeros(2), noise_seed=0
    )
    expected = [two_levels(0.4 + SPREAD, 0.6 + SPREAD), two_levels(0.24 + SPREAD / 5, 0.26 + SPREAD / 5)]
    torch.testing.assert_close(exposure.apply(images), torch.stack(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_keep_their_type(dtype: torch.dtype) -> None:
    exposure = draw_second_view({"photometric"}, 3, np.random.default_rng(0)).exposure
    assert exposure is not None
    assert exposure.apply(torch.rand(3, 2, 8, 8, dtype=dtype)).dtype == dtype


def test_a_view_is_the_exposure_and_then_the_geometry_and_its_outside_is_black() -> None:
    images = two_levels()[None]
    moved = Affine(torch.tensor([[[1.0, 0, 0], [0, 1, 3]]], dtype=torch.float64))  # three pixels to the right
    brighter = dataclasses.replace(KEPT, gain=torch.tensor([1.5]), offset=torch.tensor([1.0]))
    seen = SecondView(moved, brighter).of(images)
    assert (seen[..., :3] == 0).all()
    torch.testing.assert_close(seen[..., 3:], two_levels(0.6 + SPREAD, 0.9 + SPREAD)[None, ..., 3:].clamp(max=1))
    torch.testing.assert_close(SecondView(moved, None).of(images)[..., 3:], images[..., 3:])


def test_rotations_are_of_the_whole_circle_and_the_first_thing_drawn() -> None:
    degrees, _, _ = draw_second_view({"rotation"}, 9, np.random.default_rng(0)).geometry.as_similarity()
    np.testing.assert_allclose(degrees % 360, np.random.default_rng(0).uniform(0, 360, 9))


def test_a_view_is_made_where_the_images_are() -> None:
    view = draw_second_view({"rotation", "photometric"}, 2, np.random.default_rng(0))
    assert view.of(torch.rand(2, 1, 8, 8, device="meta")).device.type == "meta"


def test_only_what_is_asked_for_is_drawn() -> None:
    def draw(*kinds: str) -> SecondView:
        return draw_second_view(kinds, 300, np.random.default_rng(0))  # type: ignore[arg-type]

    degrees, scale, flip = draw("rotation").geometry.as_similarity()
    torch.testing.assert_close(scale, torch.ones_like(scale))
    assert not flip.any()
    assert degrees.abs().min() > 0
    degrees, scale, flip = draw("flip").geometry.as_similarity()
    torch.testing.assert_close(scale, torch.ones_like(scale))
    assert (degrees == 0).all()
    assert 110 < int(flip.sum()) < 190
    degrees, _, flip = draw("rotation", "flip").geometry.as_similarity()
    assert degrees.unique().numel() == 300
    assert 110 < int(flip.sum()) < 190
    view = draw("photometric")
    assert view.geometry.is_identity()
    assert view.exposure is not None
    assert draw("rotation", "flip").exposure is None


def test_exposures_fill_their_ranges_and_darken_as_often_as_they_brighten() -> None:
    exposure = draw_second_view({"photometric"}, 4000, np.random.default_rng(0)).exposure
    assert exposure is not None
    for values, low, high in [
        (exposure.gain, 1 / 1.5, 1.5),
        (exposure.gamma, 1 / 1.5, 1.5),
        (exposure.offset, -0.2, 0.2),
        (exposure.noise, 0.0, 0.5),
    ]:
        assert values.shape == (4000,)
        slack = (high - low) / 200
        assert low <= float(values.min()) < low + slack
        assert high - slack < float(values.max()) <= high
    # A factor and its inverse are as likely: half are below 1, and so is the median near it.
    assert float(exposure.gain.median()) == pytest.approx(1, abs=0.03)
    assert float(exposure.gamma.median()) == pytest.approx(1, abs=0.03)
    assert float(exposure.offset.mean()) == pytest.approx(0, abs=0.01)


def test_the_seeds_of_noise_are_drawn_from_all_there_are() -> None:
    random = np.random.default_rng(0)
    views = [draw_second_view({"photometric"}, 1, random) for _ in range(50)]
    seeds = [view.exposure.noise_seed for view in views if view.exposure is not None]
    assert len(set(seeds)) == 50
    assert 0 <= min(seeds) < 2**60
    assert 2**62 < max(seeds) < 2**63
