"""What the weak and the strong policy draw, and that applying a drawn view is deterministic."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from bioseg_cli.augment import photometric
from bioseg_cli.augment.policy import PHOTOMETRIC, Operation, StrongView, draw_strong, draw_weak, parameter_of

ENHANCERS = ("contrast", "color", "brightness", "sharpness")


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn_operations(batch: int = 600, count: int = 2) -> list[Operation]:
    return [operation for image in draw_strong(batch, count, generator()).operations for operation in image]


def decomposed(matrix: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Degrees, scale and flip of (B, 2, 3) similarity matrices."""
    linear = matrix[:, :, :2].numpy()
    determinant = np.linalg.det(linear)
    return (
        np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0])),
        np.sqrt(np.abs(determinant)),
        determinant < 0,
    )


def test_weak_views_stay_in_the_ranges_of_the_study_and_fill_them():
    degrees, scale, flip = decomposed(draw_weak(4000, generator()).matrix)
    assert -15 <= degrees.min() < -14.5
    assert 14.5 < degrees.max() <= 15
    assert 0.95 <= scale.min() < 0.952
    assert 1.048 < scale.max() <= 1.05
    assert 0.45 < flip.mean() < 0.55


def test_weak_views_move_about_the_centre():
    assert (draw_weak(5, generator()).matrix[:, :, 2] == 0).all()


def test_all_nine_operations_occur_about_equally_often():
    view = draw_strong(3000, 1, generator())
    counts = Counter(operation.name for image in view.operations for operation in image)
    counts["rotation"] = sum(not image for image in view.operations)
    assert set(counts) == {"rotation", *PHOTOMETRIC}
    assert all(250 < times < 420 for times in counts.values()), counts


def test_each_image_gets_the_number_of_operations_asked_for():
    view = draw_strong(300, 3, generator())
    turned = ~torch.isclose(view.rotation.matrix, torch.eye(2, 3, dtype=torch.float64)).all(dim=(1, 2))
    for image, rotated in zip(view.operations, turned, strict=True):
        assert len(image) + (1 if rotated else 0) <= 3
        assert len(image) == 3 or rotated


def test_strong_rotations_cover_the_circle():
    view = draw_strong(3000, 1, generator())
    degrees, scale, flip = decomposed(view.rotation.matrix)
    turned = degrees[[not image for image in view.operations]] % 360
    assert np.histogram(turned, bins=8, range=(0, 360))[0].min() > 15
    np.testing.assert_allclose(scale, 1)
    assert not flip.any()


def test_drawn_parameters_stay_in_range_and_reach_both_ends():
    drawn = drawn_operations(4000)
    factors = [operation.parameter for operation in drawn if operation.name in ENHANCERS]
    thresholds = [operation.parameter for operation in drawn if operation.name == "solarize"]
    assert (min(factors), max(factors)) == (pytest.approx(0.1), pytest.approx(1.9))
    assert (min(thresholds), max(thresholds)) == (0, pytest.approx(29 / 30))


def test_enhancements_go_both_ways():
    factors = np.array([operation.parameter for operation in drawn_operations() if operation.name in ENHANCERS])
    assert 0.4 < (factors > 1).mean() < 0.6
    assert (factors != 1).all()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("name", ENHANCERS)
def test_an_enhancement_changes_the_image_more_with_every_magnitude(name, sign):
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    changes = [
        float((getattr(photometric, name)(image, parameter_of(name, magnitude, sign)) - image).abs().mean())
        for magnitude in range(31)
    ]
    assert changes[0] == pytest.approx(0, abs=1e-6)
    assert np.diff(changes).min() > 0


def test_solarize_inverts_more_of_the_image_with_every_magnitude():
    image = torch.linspace(0.001, 0.999, 1000).reshape(1, 20, 50)
    inverted = [
        int((photometric.solarize(image, parameter_of("solarize", magnitude, 1)) != image).sum())
        for magnitude in range(31)
    ]
    assert inverted[0] == 0
    assert inverted[30] == 1000
    assert np.diff(inverted).min() > 0


@pytest.mark.parametrize("name", ["autocontrast", "invert", "equalize"])
def test_operations_of_one_strength_have_no_parameter(name):
    assert Operation(name, parameter_of(name, 17, -1)) == Operation(name)


def test_the_same_generator_draws_the_same_view():
    assert draw_strong(6, 2, generator(3)).operations == draw_strong(6, 2, generator(3)).operations
    assert draw_strong(6, 2, generator(3)).operations != draw_strong(6, 2, generator(4)).operations
    assert torch.equal(draw_weak(6, generator(3)).matrix, draw_weak(6, generator(3)).matrix)


def test_parameters_are_those_of_the_magnitude():
    assert parameter_of("solarize", 10, 1) == pytest.approx(2 / 3)
    for name in ENHANCERS:
        assert parameter_of(name, 10, 1) == pytest.approx(1.3)
        assert parameter_of(name, 10, -1) == pytest.approx(0.7)
        assert parameter_of(name, 30, -1) == pytest.approx(0.1)
    for name in ("autocontrast", "invert", "equalize"):
        assert parameter_of(name, 10, -1) == 0


def test_magnitudes_are_whole_and_from_1_to_30():
    thresholds = {
        round(30 * (1 - operation.parameter), 9) for operation in drawn_operations(6000) if operation.name == "solarize"
    }
    assert thresholds == set(range(1, 31))
    factors = {
        round(abs(operation.parameter - 1) / 0.9 * 30, 9)
        for operation in drawn_operations()
        if operation.name in ENHANCERS
    }
    assert factors == set(range(1, 31))


def test_rotations_of_one_view_add_up():
    class TurnTwice:
        """Draws two rotations, of 100 and of 30 degrees."""

        degrees = iter((100.0, 30.0))

        def choice(self, names, count):
            return np.array(["rotation"] * count)

        def integers(self, *_, **__):
            return 1

        def uniform(self, low, high):
            assert (low, high) == (0, 360)
            return next(self.degrees)

    view = draw_strong(1, 2, TurnTwice())
    assert view.operations == ((),)
    assert decomposed(view.rotation.matrix)[0][0] == pytest.approx(130)


def test_each_operation_is_applied_with_its_parameter():
    image = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    rotation = draw_strong(1, 1, generator()).rotation
    for name in PHOTOMETRIC:
        parameters = (0.6,) if name in (*ENHANCERS, "solarize") else ()
        changed = StrongView(((Operation(name, 0.6),),), rotation).colour(image[None])
        assert torch.equal(changed[0], getattr(photometric, name)(image, *parameters)), name
        assert not torch.equal(changed[0], image), name


def test_a_drawn_view_replays_exactly():
    view, images = draw_strong(8, 3, generator()), torch.rand(8, 1, 20, 20)
    assert torch.equal(view.colour(images), view.colour(images))
    assert torch.equal(view.rotation.warp(images), view.rotation.warp(images))


def test_images_of_a_batch_draw_on_their_own():
    view = draw_strong(40, 2, generator())
    assert len(set(view.operations)) > 30
    assert len(set(draw_weak(40, generator()).matrix[:, 0, 0].tolist())) == 40


def test_operations_are_applied_to_their_own_image_in_the_order_drawn():
    images = torch.rand(2, 1, 8, 8)
    rotation = draw_strong(2, 1, generator()).rotation
    view = StrongView(((Operation("brightness", 0.5), Operation("invert")), ()), rotation)
    changed = view.colour(images)
    torch.testing.assert_close(changed[0], 1 - images[0] * 0.5)
    assert torch.equal(changed[1], images[1])


def test_a_view_of_other_images_than_it_was_drawn_for_is_not_applied():
    view = StrongView(((Operation("invert"),), ()), draw_strong(2, 1, generator()).rotation)
    with pytest.raises(ValueError, match="zip"):
        view.colour(torch.rand(3, 1, 4, 4))


def test_deep_images_are_equalized_with_more_levels():
    images = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0)) * 0.05
    view = StrongView(((Operation("equalize"),),), draw_strong(1, 1, generator()).rotation)
    shallow, deep = view.colour(images), view.colour(images, deep=True)
    # A twentieth of the range is 14 of 256 levels and 206 of 4096.
    assert (shallow.unique().numel(), deep.unique().numel()) == (14, 206)
    assert torch.equal(deep[0], photometric.equalize(images[0], 4096))
    ranks = images.flatten().argsort().argsort() / images.numel()
    torch.testing.assert_close(deep.flatten(), ranks, atol=0.012, rtol=0)
