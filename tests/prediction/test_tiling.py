"""Tiles cover the image, weights add up, and tiled predictions are the untiled ones."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bioseg_cli.config import UNetConfig
from bioseg_cli.model.unet import UNet
from bioseg_cli.prediction.tiling import (
    TilePlan,
    blend_weights,
    blended_rows,
    lossless_overlap,
    plan_tiles,
    predict_tiled,
    tile_rows,
)


@given(
    height=st.integers(1, 900),
    width=st.integers(1, 900),
    tile=st.integers(64, 512),
    share=st.floats(0, 0.5),
    multiple=st.sampled_from([2, 16, 32]),
)
@example(height=1, width=1, tile=64, share=0.5, multiple=16)
@example(height=65, width=64, tile=64, share=0.0, multiple=16)
@example(height=513, width=1000, tile=100, share=0.5, multiple=16)
def test_tiles_cover_on_the_pooling_grid_and_weights_add_up_to_one(
    height: int, width: int, tile: int, share: float, multiple: int
) -> None:
    overlap = int(share * (tile // multiple * multiple))
    plan = plan_tiles(height, width, tile, overlap, multiple)
    for spans, length in ((plan.rows, height), (plan.columns, width)):
        assert spans[0].start == 0 and spans[-1].stop == length
        assert all(span.start % multiple == 0 and 0 < span.stop - span.start <= tile for span in spans)
        assert all(before.stop - after.start >= overlap for before, after in itertools.pairwise(spans))
        total = np.zeros(length)
        for span, weights in zip(spans, blend_weights(spans, overlap), strict=True):
            assert weights.min() >= 0
            total[span.pixels] += weights
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_an_image_no_larger_than_a_tile_is_not_cut() -> None:
    plan = plan_tiles(600, 512, 600, 64)
    assert len(plan) == 1
    assert (plan.rows[0].stop, plan.columns[0].stop) == (600, 512)


def test_weights_vanish_at_cuts_and_stay_whole_at_the_borders_of_the_image() -> None:
    plan = plan_tiles(400, 50, 256, 128)
    first, *_, last = blend_weights(plan.rows, plan.overlap)
    np.testing.assert_array_equal(first[-40:], 0)
    np.testing.assert_array_equal(last[:40], 0)
    np.testing.assert_array_equal(first[:80], 1)
    np.testing.assert_array_equal(last[-80:], 1)
    (columns,) = blend_weights(plan.columns, plan.overlap)
    np.testing.assert_array_equal(columns, 1)


def test_constant_predictions_survive_blending_and_every_tile_is_asked_once() -> None:
    plan = plan_tiles(300, 420, 128, 32)
    asked = []

    def predict(pixels: NDArray[Any]) -> NDArray[np.float32]:
        asked.append(pixels.shape)
        return np.stack([np.full(pixels.shape[1:], 0.25), np.full(pixels.shape[1:], 0.75)]).astype(np.float32)

    probabilities = predict_tiled(predict, np.zeros((1, 300, 420)), plan)
    assert len(asked) == len(plan) > 6
    np.testing.assert_allclose(probabilities[0], 0.25, atol=1e-6)
    np.testing.assert_allclose(probabilities[1], 0.75, atol=1e-6)


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    tile=st.integers(64, 160),
    share=st.floats(0, 0.5),
    frames=st.sampled_from([(), (2,)]),
)
@example(height=97, width=40, tile=96, share=0.5, frames=())  # the second row of tiles starts 16 rows below the first
def test_rows_are_read_once_and_finished_once_and_are_those_of_the_whole_image(
    height: int, width: int, tile: int, share: float, frames: tuple[int, ...]
) -> None:
    overlap = int(share * (tile // 16 * 16))
    plan = plan_tiles(height, width, tile, overlap)
    pixels = np.random.default_rng(0).random((*frames, 1, height, width), np.float32)
    read, finished = [0], 0

    def rows(top: int, bottom: int) -> NDArray[Any]:
        assert top == read[-1] < bottom
        read.append(bottom)
        return pixels[..., top:bottom, :]

    def predict(part: NDArray[Any]) -> NDArray[np.float32]:
        # Unlike near every edge of a tile, so that every weight shows.
        slope = np.linspace(0, 1, part.shape[-2], dtype=np.float32)[:, None]
        return np.concatenate([part * slope, part * slope[::-1], part + part[..., :1]], axis=-3)

    expected = np.zeros((*frames, 3, height, width), np.float32)
    for down, below in zip(plan.rows, blend_weights(plan.rows, overlap), strict=True):
        for across, beside in zip(plan.columns, blend_weights(plan.columns, overlap), strict=True):
            part = predict(pixels[..., down.pixels, across.pixels])
            expected[..., down.pixels, across.pixels] += part * (below[:, None] * beside)
    for top, probabilities in blended_rows(predict, tile_rows(rows, plan), plan):
        assert top == finished
        finished += probabilities.shape[-2]
        np.testing.assert_allclose(probabilities, expected[..., top:finished, :], atol=1e-6)
    assert read[-1] == finished == height
    np.testing.assert_allclose(predict_tiled(predict, pixels, plan), expected, atol=1e-6)


@pytest.mark.parametrize(("depth", "variant"), [(2, "same"), (4, "same"), (2, "original")])
def test_tiles_change_nothing(depth: int, variant: str) -> None:
    torch.manual_seed(0)
    shape = {"in_channels": 1, "heads": {"main": 3}, "width": 2, "depth": depth, "variant": variant}
    network = UNet(UNetConfig.model_validate(shape))
    overlap = lossless_overlap(depth)
    tile = 2 * overlap + 2**depth
    pixels = np.random.default_rng(0).random((1, 40, tile + 30), np.float32)
    with torch.no_grad():
        network(torch.from_numpy(pixels)[None])  # gives batch norm running statistics that are not 0 and 1
        network.eval()
        # Large logits make any difference in what the network sees a difference in what it says.
        network.heads["main"].weight *= 10

    def predict(part: NDArray[Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = network(torch.from_numpy(np.ascontiguousarray(part))[None])["main"]
        found: NDArray[np.float32] = logits.softmax(dim=1)[0].numpy()
        return found

    whole = predict(pixels)
    assert whole.std() > 0.1
    plan = plan_tiles(*pixels.shape[1:], tile, overlap, 2**depth)
    assert len(plan) == 2
    np.testing.assert_allclose(predict_tiled(predict, pixels, plan), whole, atol=1e-4)
    # With half the overlap they do, so the agreement is no accident.
    less = TilePlan(plan.rows, plan.columns, overlap // 2)
    assert np.abs(predict_tiled(predict, pixels, less) - whole).max() > 1e-3
