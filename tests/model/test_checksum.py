"""The checksum of what is saved: of the values, wherever they lie, and of every one of them."""

from __future__ import annotations

import pytest
import torch

from bioseg_cli.model.checksum import checksum_of

WEIGHTS = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4)
CONTENT = {
    "version": 1,
    "rows": [{"epoch": 1, "loss": 0.5}],
    "parts": {"network": {"w": WEIGHTS, "n": torch.tensor(3)}},
}


def test_equal_values_have_one_checksum_whatever_their_layout() -> None:
    moved = WEIGHTS.contiguous(memory_format=torch.channels_last).clone(memory_format=torch.preserve_format)
    assert moved.stride() != WEIGHTS.stride()
    assert checksum_of({**CONTENT, "parts": {"network": {"w": moved, "n": torch.tensor(3)}}}) == checksum_of(CONTENT)
    assert checksum_of((1, 2)) == checksum_of([1, 2])


@pytest.mark.parametrize(
    "other",
    [
        {**CONTENT, "version": 2},
        {**CONTENT, "rows": [{"epoch": 1, "loss": 0.5000001}]},
        {**CONTENT, "rows": []},
        {**CONTENT, "rows": [{"epoch": 1}, {"loss": 0.5}]},
        {**CONTENT, "parts": {"network": {"w": WEIGHTS.double(), "n": torch.tensor(3)}}},
        {**CONTENT, "parts": {"network": {"w": WEIGHTS.reshape(1, 2, 4, 3), "n": torch.tensor(3)}}},
        {**CONTENT, "parts": {"network": {"v": WEIGHTS, "n": torch.tensor(3)}}},
        {**CONTENT, "parts": {"network": {"w": WEIGHTS, "n": torch.tensor(4)}}},
        [CONTENT],
    ],
)
def test_any_other_value_name_type_or_shape_has_another(other: object) -> None:
    assert checksum_of(other) != checksum_of(CONTENT)


def test_a_flipped_bit_is_another_value_even_where_the_numbers_are_equal() -> None:
    assert checksum_of(torch.tensor([0.0])) != checksum_of(torch.tensor([-0.0]))
    assert checksum_of(torch.tensor([float("nan")])) == checksum_of(torch.tensor([float("nan")]))
