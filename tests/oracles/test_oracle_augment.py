"""Augmentation against numbers made with torchvision, Pillow and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bioseg_cli.augment import photometric
from bioseg_cli.augment.affine import Affine

Numbers = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def o1(oracles: Path) -> Numbers:
    return dict(np.load(oracles / "o1_photometric_ops.npz"))


@pytest.fixture(scope="module")
def o2(oracles: Path) -> Numbers:
    return dict(np.load(oracles / "o2_affine_inverse.npz"))


def channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0))


def in_layout_of(image: torch.Tensor, expected: np.ndarray) -> np.ndarray:
    return np.moveaxis(image.numpy(), 0, -1).reshape(expected.shape)


def test_every_float_operation(o1: Numbers):
    cases = [key.split("/") for key in o1 if key.startswith("f/") and not key.startswith("f/in/")]
    assert len(cases) > 150
    for case in cases:
        _, name, *parameters, image = case
        operation = getattr(photometric, name.replace("256", ""))
        changed = operation(channels_first(o1[f"f/in/{image}"]), *map(float, parameters))
        expected = o1["/".join(case)]
        np.testing.assert_allclose(in_layout_of(changed, expected), expected, rtol=0, atol=1e-6, err_msg="/".join(case))


def test_equalize_gives_pillows_grey_levels_exactly(o1: Numbers):
    cases = [key for key in o1 if key.startswith("u8/equalize/")]
    assert len(cases) >= 7
    for case in cases:
        image = channels_first(o1[f"in/{case.split('/')[-1]}"] / 255)
        levels = (in_layout_of(photometric.equalize(image), o1[case]) * 255).round().astype(np.uint8)
        np.testing.assert_array_equal(levels, o1[case], err_msg=case)


def test_solarize_thresholds_grow_more_severe_as_in_the_published_table_that_does(o1: Numbers):
    from bioseg_cli.augment.policy import parameter_of

    mine = [parameter_of("solarize", magnitude, 1) for magnitude in o1["map/m"].tolist()]
    np.testing.assert_allclose(mine, 1 - o1["map/m"] / 30, atol=1e-12)
    for sign, name in ((1, "plus"), (-1, "minus")):
        factors = [parameter_of("contrast", magnitude, sign) for magnitude in o1["map/m"].tolist()]
        np.testing.assert_allclose(factors, o1[f"map/enhance_tv_{name}"], atol=1e-9)


def transforms(o2: Numbers) -> list[tuple[str, Affine]]:
    found = []
    for key in o2:
        if key.endswith("/M_rowcol"):
            case = key.removesuffix("/M_rowcol")
            degrees, scale, flip = map(float, case.split("/")[1].split("_"))
            found.append((case, similarity(degrees, scale, bool(flip))))
    return found


def similarity(degrees: float, scale: float, flip: bool) -> Affine:
    return Affine.similarity(torch.tensor([degrees]).double(), torch.tensor([scale]).double(), torch.tensor([flip]))


def of_matrix(linear: np.ndarray) -> Affine:
    return Affine(torch.from_numpy(np.concatenate([linear, np.zeros((2, 1))], axis=1))[None])


def image_of(o2: Numbers, key: str) -> torch.Tensor:
    return torch.from_numpy(o2[key])[None, None]


def test_matrices(o2: Numbers):
    assert len(transforms(o2)) > 30
    for case, affine in transforms(o2):
        np.testing.assert_allclose(affine.matrix[0, :, :2], o2[f"{case}/M_rowcol"], atol=1e-12, err_msg=case)


def test_warped_images_and_round_trips(o2: Numbers):
    for case, affine in transforms(o2):
        moved = affine.warp(image_of(o2, f"{case}/img"))
        back = affine.inverse().warp(moved)
        np.testing.assert_allclose(moved[0, 0], o2[f"{case}/warped_order1"], atol=1e-5, err_msg=case)
        np.testing.assert_allclose(back[0, 0], o2[f"{case}/roundtrip_order1"], atol=1e-4, err_msg=case)


def test_warped_labels_but_for_ties(o2: Numbers):
    for case, affine in transforms(o2):
        labels = torch.from_numpy(o2[f"{case}/lab"])[None].long()
        moved = affine.warp(labels, "nearest")[0].numpy()
        assert (moved != o2[f"{case}/warped_lab_order0"]).mean() < 2e-3, case


def test_valid_masks_of_round_trips(o2: Numbers):
    for case, affine in transforms(o2):
        shown = torch.ones_like(image_of(o2, f"{case}/img"))
        valid = affine.inverse().valid_mask(affine.valid_mask(shown))[0, 0].numpy()
        expected = o2[f"{case}/roundtrip_valid"] > 1 - 1e-4
        # Ours also leaves out the few pixels that take less than that from a pixel that is not valid itself.
        assert not (valid.astype(bool) & ~expected).any(), case
        assert (valid != expected).mean() < 2e-3, case


@pytest.mark.parametrize("number", [0, 1, 2])
def test_weak_and_strong_views_composed_and_aligned(o2: Numbers, number: int):
    case = f"composite{number}"
    weak, strong = of_matrix(o2[f"{case}/W"]), of_matrix(o2[f"{case}/S"])
    align = weak.after(strong.inverse()).after(weak.inverse())
    np.testing.assert_allclose(align.matrix[0, :, :2], o2[f"{case}/A"], atol=1e-12)
    image = image_of(o2, f"{case}/img")
    seen = weak.after(strong).warp(image)
    np.testing.assert_allclose(weak.warp(image)[0, 0], o2[f"{case}/Y_weak"], atol=1e-5)
    np.testing.assert_allclose(seen[0, 0], o2[f"{case}/Y_strong_weak"], atol=1e-5)
    np.testing.assert_allclose(align.warp(seen)[0, 0], o2[f"{case}/aligned"], atol=1e-5)
    inside = o2[f"{case}/valid"]
    error = np.abs(align.warp(seen)[0, 0].numpy() - o2[f"{case}/Y_weak"])[inside].max()
    assert error == pytest.approx(float(o2[f"{case}/err_correct"]), abs=1e-5)
