"""The losses against numbers of MONAI, of the IIC formula and of UDA's, with their gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bioseg_cli.training.losses import displaced_joints, kl_consistency, mutual_information_loss, soft_dice_loss

Numbers = dict[str, np.ndarray]


def variable(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.copy()).requires_grad_()


def test_dice_in_every_variant(oracles: Path):
    o4: Numbers = dict(np.load(oracles / "o4_dice.npz"))
    cases = [key.removesuffix("/loss") for key in o4 if key.endswith("/loss")]
    assert len(cases) >= 80
    for case in cases:
        images, variant = case.split("/")
        squared, background, batch, smooth = variant.split("_")
        scores = variable(o4[f"{images}/logits"])
        loss = soft_dice_loss(
            scores,
            torch.from_numpy(o4[f"{images}/target"]),
            squared=squared == "sq1",
            background=background == "bg1",
            pool_batch=batch == "batch1",
            smooth=float(smooth.removeprefix("smooth")),
        )
        loss.backward()
        assert loss.item() == pytest.approx(o4[f"{case}/loss"], abs=1e-6), case
        np.testing.assert_allclose(scores.grad, o4[f"{case}/grad_logits"], rtol=0, atol=1e-6, err_msg=case)


@pytest.fixture(scope="module")
def o5(oracles: Path) -> Numbers:
    return dict(np.load(oracles / "o5_uda_consistency.npz"))


@pytest.mark.parametrize("images", ["bin", "multi4"])
@pytest.mark.parametrize("temperature", ["1.0", "0.4"])
@pytest.mark.parametrize("threshold", ["None", "0.6", "0.8", "0.95"])
@pytest.mark.parametrize("stop", [0, 1])
def test_kl(o5: Numbers, images: str, temperature: str, threshold: str, stop: int):
    case = f"{images}/T{temperature}_th{threshold}"
    weak, strong = variable(o5[f"{images}/logits_weak"]), variable(o5[f"{images}/logits_strong_aligned"])
    loss = kl_consistency(
        weak,
        strong.softmax(1),
        torch.from_numpy(o5[f"{images}/valid"])[:, None].double(),
        temperature=float(temperature),
        confidence=None if threshold == "None" else float(threshold),
        stop_gradient=bool(stop),
    )
    loss.backward()
    assert loss.item() == pytest.approx(o5[f"{case}/kl_weak_to_strong_mean_valid"], abs=1e-6)
    assert loss.item() != pytest.approx(o5[f"{case}/kl_strong_to_weak_mean_valid"], abs=1e-4)
    np.testing.assert_allclose(strong.grad, o5[f"{case}/grad_strong_stop{stop}"], rtol=0, atol=1e-6)
    moved = np.zeros(weak.shape) if weak.grad is None else weak.grad
    np.testing.assert_allclose(moved, o5[f"{case}/grad_weak_stop{stop}"], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def o3(oracles: Path) -> Numbers:
    return dict(np.load(oracles / "o3_iid_loss.npz"))


@pytest.mark.parametrize("form", ["collapsed", "uncollapsed"])
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_mutual_information(o3: Numbers, precision: torch.dtype, tolerance: float, form: str):
    cases = [key.removesuffix("/T") for key in o3 if key.endswith("/T")]
    assert len(cases) >= 30
    assert {int(o3[f"{case}/T"]) for case in cases} == {0, 1, 2, 3, 5}
    for case in cases:
        first, second = (
            torch.from_numpy(o3[f"{case}/{name}"]).to(precision) for name in ("logits1", "logits2_aligned")
        )
        first.requires_grad_()
        second.requires_grad_()
        loss = mutual_information_loss(
            first.softmax(1),
            second.softmax(1),
            torch.from_numpy(o3[f"{case}/mask"])[:, None].to(precision),
            lamb=float(o3[f"{case}/lamb"]),
            shift=int(o3[f"{case}/T"]),
            collapsed=form == "collapsed",
        )
        assert loss.item() == pytest.approx(o3[f"{case}/loss_{form}"], abs=tolerance), case
        if form == "uncollapsed" and o3[f"{case}/T"] > 0:
            continue  # The expected gradients are of the collapsed form.
        loss.backward()
        for number, gradient in ((1, first.grad), (2, second.grad)):
            expected = o3[f"{case}/grad_logits{number}_collapsed"]
            # A gradient is a share of one pixel: only beside the largest does its error mean something.
            scale = max(np.abs(expected).max(), 1e-6)
            np.testing.assert_allclose(gradient / scale, expected / scale, rtol=0, atol=1e3 * tolerance, err_msg=case)


def test_joints_of_displaced_maps(o3: Numbers):
    cases = [key.removesuffix("/T") for key in o3 if key.endswith("/T") and o3[key] > 0]
    assert len(cases) >= 8
    for case in cases:
        maps = [torch.from_numpy(o3[f"{case}/{name}"]).softmax(1) for name in ("logits1", "logits2_aligned")]
        joints = displaced_joints(*maps, torch.from_numpy(o3[f"{case}/mask"])[:, None], int(o3[f"{case}/T"]))
        np.testing.assert_allclose(joints, o3[f"{case}/joint_T"], rtol=0, atol=1e-10, err_msg=case)


def test_a_symmetrised_joint_is_what_is_measured(o3: Numbers):
    a, b = (torch.from_numpy(o3[f"hard_asym/{name}"]) for name in "ab")
    maps = [torch.nn.functional.one_hot(codes).movedim(-1, 1).double() for codes in (a, b)]
    unsymmetrised = float(o3["hard_asym/sklearn_mutual_info_unsymmetrised"])
    ours = -mutual_information_loss(*maps, torch.ones_like(maps[0][:, :1])).item()
    assert ours == pytest.approx(unsymmetrised, abs=0.02)
    assert ours != pytest.approx(unsymmetrised, abs=1e-4)
