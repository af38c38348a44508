"""The losses against NumPy in double precision, and what must hold of them whatever the numbers."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bioseg_cli.dataset.batches import IGNORE
from bioseg_cli.training.losses import (
    _quick_length,
    class_thresholds,
    cross_entropy,
    displaced_joints,
    information_of,
    kl_consistency,
    mutual_information_loss,
    pseudo_label_consistency,
    ramp_up,
    soft_dice_loss,
    tsa_threshold,
)
from bioseg_cli.training.uda_settings import TrainUDAConfig

B, K, H, W = 2, 3, 5, 6
seeds = st.integers(0, 2**31)


def logits(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(*(shape or (B, K, H, W)), generator=generator, dtype=torch.float64)


def labels(seed: int) -> Tensor:
    """Class codes with a few ignored pixels."""
    return torch.from_numpy(np.random.default_rng(seed).integers(IGNORE, K, (B, H, W)))


def everywhere(like: Tensor) -> Tensor:
    return torch.ones_like(like[:, :1])


def softmax(values: np.ndarray) -> np.ndarray:
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def one_hot_logits(codes: Tensor, classes: int = K, sure: float = 200.0) -> Tensor:
    """Logits whose float32 softmax is exactly 0 and 1."""
    return sure * torch.nn.functional.one_hot(codes, classes).movedim(-1, 1).float()


@settings(deadline=None, max_examples=30)
@given(seeds, st.booleans(), st.booleans(), st.booleans())
def test_dice_is_its_formula(seed, squared, background, pool):
    scores, truth = logits(seed), labels(seed)
    mine = soft_dice_loss(scores, truth, squared=squared, background=background, pool_batch=pool, smooth=0.1)
    counted, p = truth.numpy() != IGNORE, softmax(scores.numpy())
    losses = []
    for images in [slice(None)] if pool else range(B):
        for k in range(0 if background else 1, K):
            inside = counted[images]
            p_k, g_k = p[:, k][images][inside], (truth.numpy()[images][inside] == k).astype(float)
            size = (p_k**2 if squared else p_k).sum() + g_k.sum()
            losses.append(1 - (2 * (p_k * g_k).sum() + 0.1) / (size + 0.1))
    assert float(mine) == pytest.approx(np.mean(losses), abs=1e-12)


def test_dice_of_a_perfect_prediction_is_zero_and_of_the_opposite_one():
    truth = torch.tensor([[[0, 1], [1, 0]]])
    assert float(soft_dice_loss(one_hot_logits(truth, 2), truth, smooth=1e-5)) == pytest.approx(0, abs=1e-6)
    assert float(soft_dice_loss(one_hot_logits(1 - truth, 2), truth, smooth=1e-5)) == pytest.approx(1, abs=1e-4)


SMOOTHING = TrainUDAConfig().dice_smooth
"""What training and validation smooth Dice by, unless told otherwise."""


@pytest.mark.parametrize("pool", [False, True])
def test_an_absent_class_still_punishes_its_false_positives(pool):
    truth = torch.zeros(1, H, W, dtype=torch.int64)
    clean, noisy = torch.zeros(1, 2, H, W), torch.zeros(1, 2, H, W)
    clean[:, 0], noisy[:, 1, :2] = 9, 3
    noisy.requires_grad_()
    loss = soft_dice_loss(noisy, truth, pool_batch=pool, smooth=SMOOTHING)
    assert loss.item() > float(soft_dice_loss(clean, truth, pool_batch=pool, smooth=SMOOTHING)) + 0.3
    loss.backward()
    assert (noisy.grad[:, 1] > 0).all()  # descent lowers the absent class everywhere


@pytest.mark.parametrize(
    ("smooth", "clean", "noisy"),
    [(SMOOTHING, 0.0009198, 0.5067462), (1.0, 0.0009198, 0.5067462), (1e-5, 0.4973012, 0.5077451)],
)
def test_how_much_500_false_pixels_cost_in_an_image_without_the_class(smooth, clean, noisy):
    truth, scores = torch.zeros(1, 128, 128, dtype=torch.int64), torch.zeros(1, 2, 128, 128)
    scores[:, 0] = 8
    assert float(soft_dice_loss(scores, truth, smooth=smooth)) == pytest.approx(clean, abs=1e-6)
    scores[0, 1].view(-1)[:500] = 16
    assert float(soft_dice_loss(scores, truth, smooth=smooth)) == pytest.approx(noisy, abs=1e-6)


def test_the_loss_of_an_absent_class_is_its_share_beyond_the_smoothing():
    scores, truth = logits(3, 1, 2, H, W), torch.zeros(1, H, W, dtype=torch.int64)
    squares = float(torch.softmax(scores, 1)[:, 1].square().sum())
    loss = float(soft_dice_loss(scores, truth, background=False, smooth=0.5))
    assert loss == pytest.approx(squares / (squares + 0.5), abs=1e-12)


def test_ignored_pixels_change_neither_dice_nor_its_gradient():
    scores, truth = logits(1).requires_grad_(), labels(1)
    other = scores.detach().clone()
    other[(truth == IGNORE)[:, None].expand_as(other)] = 50.0
    loss = soft_dice_loss(scores, truth)
    loss.backward()
    assert float(soft_dice_loss(other, truth)) == pytest.approx(loss.item(), abs=1e-12)
    assert (scores.grad.movedim(1, -1)[truth == IGNORE] == 0).all()


def test_dice_of_images_without_any_label_is_zero():
    assert float(soft_dice_loss(logits(0), torch.full((B, H, W), IGNORE))) == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(seeds, st.sampled_from([1.0, 0.4]), st.sampled_from([None, 0.6, 0.9]))
def test_kl_is_its_formula(seed, temperature, confidence):
    weak, strong = logits(seed), torch.softmax(logits(seed + 1), dim=1)
    valid = (torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(seed)) < 0.7).double()
    valid[0, 0, 0, 0] = 1
    mine = kl_consistency(weak, strong, valid, temperature=temperature, confidence=confidence)
    p, q = softmax(weak.numpy() / temperature), strong.numpy()
    divergence = (p * np.log(p / q)).sum(axis=1)
    sure = softmax(weak.numpy()).max(axis=1) > (confidence or 0)
    expected = (divergence * sure * valid[:, 0].numpy()).sum() / valid.sum().item()
    assert float(mine) == pytest.approx(expected, abs=1e-9)


def test_kl_of_equal_maps_is_zero():
    scores = logits(0)
    assert float(kl_consistency(scores, torch.softmax(scores, 1), everywhere(scores))) == pytest.approx(0, abs=1e-12)


def test_kl_is_the_strong_views_distance_from_the_weak_one_and_not_the_reverse():
    weak, strong = torch.tensor([[2.0, 0.0]]).reshape(1, 2, 1, 1), torch.tensor([[0.5, 0.5]]).reshape(1, 2, 1, 1)
    p = torch.softmax(weak, 1).flatten()
    expected = float((p * (p / 0.5).log()).sum())
    assert float(kl_consistency(weak, strong, everywhere(weak))) == pytest.approx(expected, abs=1e-6)
    assert expected != pytest.approx(float((0.5 * (0.5 / p).log()).sum()), abs=0.05)


@pytest.mark.parametrize("stop", [True, False])
def test_stop_gradient_fixes_the_weak_view_and_only_it(stop):
    weak, strong = logits(0).requires_grad_(), logits(1).requires_grad_()
    kl_consistency(weak, torch.softmax(strong, 1), everywhere(weak), stop_gradient=stop).backward()
    assert (weak.grad is None) == stop
    assert strong.grad.abs().sum() > 0


def test_invalid_pixels_have_no_influence_even_where_nothing_is_defined():
    weak, strong = logits(0), torch.softmax(logits(1), 1)
    valid = everywhere(weak)
    valid[..., 0] = 0
    outside = strong.clone()
    outside[..., 0] = 0
    outside.requires_grad_()
    loss = kl_consistency(weak, outside, valid)
    loss.backward()
    assert loss.item() == pytest.approx(float(kl_consistency(weak, strong, valid)), abs=1e-12)
    assert (outside.grad[..., 0] == 0).all()


@pytest.mark.parametrize("loss", [kl_consistency, partial(pseudo_label_consistency, confidence=0.9)])
def test_a_student_that_is_wrong_and_sure_is_still_corrected(loss):
    weak = torch.tensor([0.0, 10.0]).reshape(1, 2, 1, 1)
    strong = torch.tensor([40.0, 0.0]).reshape(1, 2, 1, 1).requires_grad_()  # its float32 probability: 4e-18
    loss(weak, torch.softmax(strong, 1), everywhere(weak)).backward()
    torch.testing.assert_close(strong.grad.flatten(), torch.tensor([1.0, -1.0]), atol=1e-3, rtol=0)


def test_mutual_information_is_its_formula():
    first, second = (torch.softmax(logits(seed), 1) for seed in (0, 1))
    valid = (torch.arange(H * W).reshape(1, 1, H, W) % 3 > 0).double().expand(B, 1, H, W)
    p, q = (maps.movedim(1, -1)[valid[:, 0] > 0].numpy() for maps in (first, second))
    joint = p.T @ q
    joint = (joint + joint.T) / 2 / joint.sum()
    rows, columns = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    for lamb in (1.0, 1.5):
        expected = -(joint * (np.log(joint) - lamb * np.log(rows) - lamb * np.log(columns))).sum()
        assert float(mutual_information_loss(first, second, valid, lamb=lamb)) == pytest.approx(expected, abs=1e-12)


def test_fourier_transforms_are_of_the_next_length_without_a_large_prime():
    lengths = {1: 1, 7: 8, 8: 8, 11: 12, 13: 15, 17: 18, 23: 24, 26: 27, 49: 50, 125: 125, 126: 128, 241: 243, 500: 500}
    assert {length: _quick_length(length) for length in lengths} == lengths


def test_independent_maps_share_no_information():
    rows, columns = np.mgrid[:6, :6]
    first, second = (one_hot_logits(torch.from_numpy(codes % 2)[None], 2).softmax(1) for codes in (rows, columns))
    assert float(mutual_information_loss(first, second, everywhere(first))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_balanced_perfect_agreement_gives_minus_log_k(classes):
    codes = torch.arange(12 * classes).reshape(1, 12, classes) % classes
    perfect = one_hot_logits(codes, classes).softmax(1)
    loss = mutual_information_loss(perfect, perfect, everywhere(perfect))
    assert float(loss) == pytest.approx(-math.log(classes), abs=1e-6)


def test_a_constant_map_carries_no_information():
    constant = torch.zeros(1, 2, 4, 4)
    constant[:, 0] = 1
    assert float(mutual_information_loss(constant, constant, everywhere(constant))) == pytest.approx(0, abs=1e-6)


def joints_by_loop(first: Tensor, second: Tensor, valid: Tensor, shift: int) -> Tensor:
    height, width = first.shape[2:]
    padded = torch.nn.functional.pad(first * valid, (shift,) * 4)
    rows = [
        [torch.einsum("bkhw,blhw->kl", padded[..., y : y + height, x : x + width], second * valid)
         for x in range(2 * shift + 1)]
        for y in range(2 * shift + 1)
    ]  # fmt: skip
    return torch.stack([torch.stack(row) for row in rows])


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(1, 4), st.sampled_from([(5, 6), (9, 4), (16, 16)]))
def test_displaced_joints_are_those_of_a_loop_over_displacements(seed, shift, size):
    shift = min(shift, min(size) - 1)
    first, second = (torch.softmax(logits(number, B, K, *size), 1) for number in (seed, seed + 1))
    valid = (torch.rand(B, 1, *size, generator=torch.Generator().manual_seed(seed)) < 0.7).double()
    expected = joints_by_loop(first, second, valid, shift)
    torch.testing.assert_close(displaced_joints(first, second, valid, shift), expected, rtol=0, atol=1e-12)


def test_a_map_that_is_displaced_is_found_at_its_displacement():
    codes = torch.randint(0, 2, (1, 20, 20), generator=torch.Generator().manual_seed(0))
    first, second = (one_hot_logits(labels, 2).softmax(1) for labels in (codes.roll((2, -1), (1, 2)), codes))
    information = information_of(displaced_joints(first, second, everywhere(first), 3))
    row, column = divmod(int(information.argmax()), 7)
    assert (row - 3, column - 3) == (2, -1)
    assert information.flatten().sort().values[-2] < 0.2 * information.max()


@pytest.mark.parametrize("sure", [1.0, 5.0, 200.0])
def test_float32_is_enough_for_dense_displacements(sure):
    # One cluster in fifty pixels, at the study's size: the rarest joint sums are the hardest.
    generator = torch.Generator().manual_seed(1)
    codes = (torch.rand(10, 128, 128, generator=generator) < 0.02).long()
    single = (one_hot_logits(codes, 2, sure) + 0.1 * torch.randn(10, 2, 128, 128, generator=generator)).softmax(1)
    double, valid = single.double(), everywhere(single)
    joints, exact = displaced_joints(single, single, valid, 10), displaced_joints(double, double, valid.double(), 10)
    assert float((joints - exact).abs().max() / exact.sum((2, 3)).min()) < 1e-6
    for collapsed in (False, True):
        losses = [
            mutual_information_loss(maps, maps, valid.to(maps.dtype), shift=10, collapsed=collapsed)
            for maps in (single, double)
        ]
        assert abs(float(losses[0]) - float(losses[1])) < 1e-6


@pytest.mark.parametrize("collapsed", [False, True])
def test_without_displacement_both_forms_are_one(collapsed):
    first, second = (torch.softmax(logits(seed), 1) for seed in (0, 1))
    plain = mutual_information_loss(first, second, everywhere(first))
    assert torch.equal(mutual_information_loss(first, second, everywhere(first), collapsed=collapsed), plain)


def test_the_loss_of_the_sum_is_no_mean_of_losses():
    first = torch.softmax(logits(0), 1)
    losses = [
        float(mutual_information_loss(first, first, everywhere(first), shift=2, collapsed=collapsed))
        for collapsed in (True, False)
    ]
    assert losses[0] != pytest.approx(losses[1], abs=1e-3)


@pytest.mark.parametrize("shift", [1, 3])
def test_constant_maps_share_nothing_at_any_displacement(shift):
    constant = torch.zeros(2, 3, 8, 8)
    constant[:, 1] = 1
    loss = mutual_information_loss(constant, constant, everywhere(constant), shift=shift)
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_mutual_information_does_not_depend_on_the_order_of_the_views():
    first, second = (torch.softmax(logits(seed), 1) for seed in (0, 1))
    forward = mutual_information_loss(first, second, everywhere(first))
    torch.testing.assert_close(forward, mutual_information_loss(second, first, everywhere(first)))


def test_gradients_of_mutual_information_reach_both_views():
    first, second = logits(0).requires_grad_(), logits(1).requires_grad_()
    mutual_information_loss(first.softmax(1), second.softmax(1), everywhere(first)).backward()
    assert first.grad.abs().sum() > 0
    assert second.grad.abs().sum() > 0


def test_gradients_are_those_of_finite_differences():
    first, second = (logits(seed, 1, 2, 3, 3).requires_grad_() for seed in (0, 1))
    truth, valid = torch.randint(IGNORE, 2, (1, 3, 3)), everywhere(first.detach())
    valid[..., 0] = 0
    for loss in (
        lambda a, _: soft_dice_loss(a, truth),
        lambda a, b: kl_consistency(a, b.softmax(1), valid, stop_gradient=False),
        lambda a, b: mutual_information_loss(a.softmax(1), b.softmax(1), valid, lamb=1.2),
        lambda a, b: mutual_information_loss(a.softmax(1), b.softmax(1), valid, shift=2),
        lambda a, b: mutual_information_loss(a.softmax(1), b.softmax(1), valid, shift=1, collapsed=True),
    ):
        assert torch.autograd.gradcheck(loss, (first, second))


@pytest.mark.parametrize("agree", [True, False])
def test_losses_and_gradients_are_finite_at_exactly_one_hot_float32_maps(agree):
    codes = torch.arange(B * H * W).reshape(B, H, W) % K
    weak = one_hot_logits(codes).requires_grad_()
    strong = one_hot_logits(codes if agree else (codes + 1) % K).requires_grad_()
    valid = everywhere(weak)
    for loss in (
        soft_dice_loss(strong, codes),
        kl_consistency(weak, strong.softmax(1), valid, stop_gradient=False),
        mutual_information_loss(weak.softmax(1), strong.softmax(1), valid),
        mutual_information_loss(weak.softmax(1), strong.softmax(1), valid, shift=2),
        mutual_information_loss(weak.softmax(1), strong.softmax(1), valid, shift=2, collapsed=True),
    ):
        weak.grad = strong.grad = None
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(strong.grad).all()


def test_losses_and_gradients_are_finite_where_no_pixel_is_valid():
    weak, strong = logits(0).float().requires_grad_(), logits(1).float().requires_grad_()
    nowhere = torch.zeros(B, 1, H, W)
    total = kl_consistency(weak, strong.softmax(1), nowhere) + mutual_information_loss(
        weak.softmax(1), strong.softmax(1), nowhere
    )
    total = total + mutual_information_loss(weak.softmax(1), strong.softmax(1), nowhere, shift=2)
    total.backward()
    assert total.item() == 0
    assert (weak.grad == 0).all()
    assert (strong.grad == 0).all()


def test_cross_entropy_is_the_mean_over_counted_pixels_of_the_whole_batch() -> None:
    probabilities = torch.tensor([[[[0.9, 0.5]], [[0.1, 0.5]]], [[[0.2, 0.7]], [[0.8, 0.3]]]], dtype=torch.float64)
    labels = torch.tensor([[[0, IGNORE]], [[0, 1]]])
    expected = -(math.log(0.9) + math.log(0.2) + math.log(0.3)) / 3
    assert float(cross_entropy(probabilities.log(), labels)) == pytest.approx(expected)


def test_cross_entropy_without_a_counted_pixel_is_0_and_has_a_gradient() -> None:
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 2, 2), IGNORE))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_training_signal_annealing_rises_from_a_guess_to_certainty() -> None:
    # At 0 what a guess among 4 has, at 1 all; half-way by the schedules of Xie et al. 2020, section 2.3.
    for schedule, half in (("linear", 0.5), ("exp", math.exp(-2.5)), ("log", 1 - math.exp(-2.5))):
        found = [tsa_threshold(schedule, progress, 4) for progress in (0.0, 0.5, 1.0)]
        share = {"linear": (0, 1), "exp": (math.exp(-5), 1), "log": (0, 1 - math.exp(-5))}[schedule]
        assert found == pytest.approx([0.25 + 0.75 * each for each in (share[0], half, share[1])], abs=1e-12)


def weighed(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of both views, and weights of 0, a half and 1."""
    random = np.random.default_rng(seed)
    return logits(seed), logits(seed + 1), torch.from_numpy(random.choice([0.0, 0.5, 1.0], (B, 1, H, W)))


THRESHOLDS = [0.5, torch.tensor([0.4, 0.7, 0.9], dtype=torch.float64)]


@pytest.mark.parametrize("confidence", THRESHOLDS, ids=["one", "by class"])
@pytest.mark.parametrize("dice", [False, True])
def test_pseudo_labels_of_weights_thresholds_and_pooled_dice_are_their_formula(confidence, dice):
    weak, strong, weight = weighed(3)
    mine = pseudo_label_consistency(weak, strong.softmax(1), weight, confidence=confidence, dice=dice)
    p, q, w = softmax(weak.numpy()), softmax(strong.numpy()), weight.numpy()[:, 0]
    entropy, overlap, sizes, counted = 0.0, np.zeros(K), np.zeros(K), 0
    for b, row, column in np.ndindex(B, H, W):
        weak_shares, strong_shares, share = p[b, :, row, column], q[b, :, row, column], w[b, row, column]
        label = int(weak_shares.argmax())
        if weak_shares[label] >= (confidence if isinstance(confidence, float) else float(confidence[label])):
            counted += share > 0
            entropy -= share * math.log(strong_shares[label])
            overlap[label] += share * strong_shares[label]
            sizes += share * strong_shares**2
            sizes[label] += share
    assert 5 < counted < (w > 0).sum()
    expected = entropy / w.sum()
    if dice:
        expected = (expected + (1 - (2 * overlap + 1) / (sizes + 1)).mean()) / 2
    assert float(mine) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("confidence", THRESHOLDS, ids=["one", "by class"])
def test_kl_weighs_pixels_and_has_a_threshold_for_each_class(confidence):
    weak, strong, weight = weighed(5)
    mine = kl_consistency(weak, strong.softmax(1), weight, confidence=confidence, temperature=0.5)
    p, target = softmax(weak.numpy()), softmax(weak.numpy() / 0.5)
    pixels = (target * np.log(target / softmax(strong.numpy()))).sum(1)
    limits = np.broadcast_to(np.asarray(confidence), K)[p.argmax(1)]
    sure = p.max(1) > limits
    assert 0 < sure.sum() < sure.size
    assert float(mine) == pytest.approx((pixels * sure * weight.numpy()[:, 0]).sum() / float(weight.sum()), abs=1e-12)


def test_the_gradient_of_a_weighed_pixel_is_its_share_and_of_one_that_does_not_count_zero():
    weak, strong, weight = weighed(7)
    target, sure = weak.softmax(1), weak.softmax(1).amax(1, keepdim=True) > 0.5
    hard = torch.nn.functional.one_hot(target.argmax(1), K).movedim(-1, 1)
    for loss, wanted in ((kl_consistency, target), (pseudo_label_consistency, hard)):
        scores = strong.clone().requires_grad_()
        loss(weak, scores.softmax(1), weight, confidence=0.5).backward()
        expected = weight * sure * (strong.softmax(1) - wanted) / weight.sum()
        torch.testing.assert_close(scores.grad, expected, rtol=0, atol=1e-9)


def test_thresholds_fall_with_how_sure_the_target_is_of_a_class():
    scores, weight = logits(11), weighed(11)[2]
    found = class_thresholds(scores, weight, 0.8)
    p, w = softmax(scores.numpy()), weight.numpy()[:, 0]
    means = []
    for k in range(K):
        mine = p.argmax(1) == k
        means.append((p.max(1) * w)[mine].sum() / w[mine].sum())
    np.testing.assert_allclose(found.numpy(), 0.8 * np.array(means) / max(means), atol=1e-12)
    assert float(found.max()) == pytest.approx(0.8)
    # A class that no pixel is given has none to hold back.
    only = class_thresholds(one_hot_logits(torch.ones(1, 4, 4, dtype=torch.int64)), torch.ones(1, 1, 4, 4), 0.8)
    np.testing.assert_allclose(only.numpy(), [0, 0.8, 0])
    assert class_thresholds(scores, 0 * weight, 0.8).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("progress", "share", "factor"),
    [(0, 0.5, 0.006737947), (0.1, 0.5, 0.040762204), (0.25, 0.5, 0.286504797), (0.5, 0.5, 1), (0.99, 0.5, 1),
     (0, 0, 1), (0.5, 1, 0.286504797), (1, 1, 1)],
)  # fmt: skip
def test_the_weight_rises_to_1_over_its_share(progress, share, factor):
    assert ramp_up(progress, share) == pytest.approx(factor, abs=1e-9)
