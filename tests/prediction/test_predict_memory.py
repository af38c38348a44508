"""What the free memory may change: how many images go at once, and never a mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from conftest import discs
from helpers.models import record_of, save_random_model
from helpers.streaming import left_in, limit, predict_files, predictor_of

from bioseg_cli.errors import RunError
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.prediction import memory

pytestmark = pytest.mark.slow

Bioseg = Callable[..., Result]
WIDTH = 4
"""Of the random models."""


def give(monkeypatch: pytest.MonkeyPatch, tile: float) -> None:
    """So much free memory that tiles of this side just fit."""
    free = memory.LIVE_MAPS * WIDTH * 4 * tile**2 / memory.USABLE_SHARE
    monkeypatch.setattr(memory, "free_bytes", lambda _: int(free) + 1)


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_the_memory_changes_no_mask_of_a_network_that_normalises_by_what_it_sees(
    norm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_random_model(tmp_path / "model.safetensors", norm=norm)
    image = discs(5, size=500)[0]
    found = {}
    for tile in (2000, 512, 500):
        give(monkeypatch, tile)
        predictor = predictor_of(model)
        assert predictor.tile == 1024
        found[tile] = predictor.probabilities(image)
    np.testing.assert_array_equal(found[512], found[2000])
    np.testing.assert_array_equal(found[500], found[2000])
    # Smaller tiles would have changed it.
    assert np.abs(predictor_of(model, tile=256).probabilities(image) - found[2000]).max() > 1e-3


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_too_little_memory_for_the_tile_is_refused_with_a_tile_to_give(
    norm: str, bioseg: Bioseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_random_model(tmp_path / "model.safetensors", norm=norm)
    for name, size in (("a", 250), ("b", 500)):
        tifffile.imwrite(tmp_path / f"{name}.tif", discs(5, size=size)[0][0], metadata=None)
    inputs, out = (tmp_path / "a.tif", tmp_path / "b.tif"), tmp_path / "out"
    give(monkeypatch, 499)
    refused = bioseg("predict", model, *inputs, "--out", out)
    assert refused.exit_code == 1, refused.output
    assert [path.name for path in out.glob("*.tif")] == ["a.tif"]
    said = " ".join(refused.stderr.split())
    assert "500 x 500 pixels at once take about 46 MiB of memory, and 46 MiB is free for them" in said
    assert f"with {norm} norm a smaller tile gives another result" in said
    assert "b.tif" in said
    assert "--tile 256, or --tile 1024 to try it all the same" in said
    for tile in (256, 1024):
        given = bioseg("predict", model, *inputs, "--out", tmp_path / str(tile), "--tile", tile)
        assert given.exit_code == 0, given.output
        assert record_of(tmp_path / str(tile))["tiles"]["tile"] == tile
    # Images that are small enough need no memory for a whole tile.
    alone = bioseg("predict", model, inputs[0], "--out", tmp_path / "alone")
    assert alone.exit_code == 0, alone.output
    np.testing.assert_array_equal(read_mask(tmp_path / "alone" / "a.tif"), read_mask(tmp_path / "1024" / "a.tif"))


def test_little_memory_makes_smaller_batches_of_the_same_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_random_model(tmp_path / "model.safetensors", norm="group")
    paths = [tmp_path / f"{number}.tif" for number in range(6)]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, discs(number)[0][0], metadata=None)
    batches = {}
    for tile, out in ((1024, "much"), (128, "little")):
        give(monkeypatch, tile)
        predictor = predictor_of(model)
        predict_files(predictor, paths, tmp_path / out)
        batches[out] = predictor.largest_batch
    assert batches == {"much": 6, "little": 6}
    give(monkeypatch, 128)
    assert predictor_of(model).batch_size(64, 64) == 4
    for path in paths:
        np.testing.assert_array_equal(
            read_mask(tmp_path / "much" / path.name), read_mask(tmp_path / "little" / path.name)
        )


def test_an_allocation_that_fails_halves_batches_and_no_tile(tmp_path: Path) -> None:
    model = save_random_model(tmp_path / "model.safetensors", norm="group")
    predictor = predictor_of(model, any_dtype=False)
    images = np.stack([discs(number, size=100)[0] for number in range(4)])
    expected = predictor.probabilities(images)
    limited = limit(predictor, 2 * 100**2)
    np.testing.assert_allclose(predictor.probabilities(images), expected, atol=1e-6)
    assert [shape[0] for shape in limited.asked] == [4, 2, 2]
    assert predictor.tile == 1024
    tifffile.imwrite(tmp_path / "a.tif", discs(1, size=300)[0][0], metadata=None)
    with pytest.raises(RunError, match="300 x 300 pixels in tiles of 1024") as error:
        predict_files(predictor, [tmp_path / "a.tif"], tmp_path / "out")
    assert "--tile 150" in str(error.value)
    assert not left_in(tmp_path / "out")


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_networks_that_normalise_by_constants_take_the_tile_that_fits(
    norm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_random_model(tmp_path / "model.safetensors", norm=norm)
    image = discs(5, size=700)[0]
    give(monkeypatch, 1024)
    expected = predictor_of(model).probabilities(image)
    give(monkeypatch, 300)
    predictor = predictor_of(model)
    assert predictor.tile == 256
    np.testing.assert_allclose(predictor.probabilities(image), expected, atol=1e-4)
