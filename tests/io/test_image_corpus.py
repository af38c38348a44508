"""A corpus of image files of every kind: each is decoded as Pillow or tifffile decode it, or refused by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.corpus import Array, Sample, by_pillow, by_tifffile
from helpers.corpus_rasters import RASTERS
from helpers.corpus_tiff import TIFFS

from bioseg_cli.errors import DataError
from bioseg_cli.io.images import ImageFile
from bioseg_cli.masks.mask_file import read_mask

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "datasets.md"
FAMILIES: dict[str, Callable[[], Iterator[Sample]]] = {family.__name__: family for family in (*TIFFS, *RASTERS)}

Outcome = Array | DataError


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Sample, Outcome]]:
    """What becomes of every sample: its frames (F, C, H, W), read whole, or the error."""
    folder, found = tmp_path_factory.mktemp("corpus"), {}
    for name, family in FAMILIES.items():
        (folder / name).mkdir()
        for sample in family():
            path = folder / name / sample.name
            assert not path.exists(), f"two samples are called {sample.name}"
            path.write_bytes(sample.content)
            found[f"{name}/{sample.name}"] = path, sample, _outcome(path)
    return found


def _outcome(path: Path) -> Outcome:
    try:
        with ImageFile(path) as file:
            info = file.info
            frames = np.stack([file.read(frame) for frame in range(info.frames)])
            top, left = info.height // 3, info.width // 2
            part = file.read(info.frames - 1, slice(top, info.height - 1), slice(left, None))
    except DataError as error:
        return error
    assert frames.shape == (info.frames, info.channels, info.height, info.width), path.name
    assert frames.dtype == info.dtype, path.name
    np.testing.assert_array_equal(part, frames[-1, :, top : info.height - 1, left:], err_msg=path.name)
    return frames


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_is_decoded_as_others_do_or_refused_by_name(
    family: str, outcomes: dict[str, tuple[Path, Sample, Outcome]]
) -> None:
    wrong = []
    for name, (path, sample, outcome) in outcomes.items():
        if name.startswith(f"{family}/") and (reason := _disagreement(path, sample, outcome)):
            wrong.append(f"{sample.name}: {reason}")
    assert not wrong, "\n".join(wrong)


def _disagreement(path: Path, sample: Sample, outcome: Outcome) -> str | None:
    if isinstance(outcome, DataError):
        if outcome.where != str(path) or not outcome.fix:
            return f"the error does not name the file, or no remedy: {outcome}"
        if sample.damaged or (sample.refused is not None and re.search(sample.refused, outcome.what)):
            return None
        return f"refused with {outcome.what!r}, and {sample.refused or 'decoding'!r} was expected"
    if sample.refused is not None:
        return f"decoded, and {sample.refused!r} was expected"
    other = {"Pillow": by_pillow, "tifffile": lambda path: by_tifffile(path, sample)}.get(sample.route)
    expected = [] if sample.shown is None else [("what was written", sample.shown)]
    expected += [] if other is None else [(sample.route, other(path))]
    if not expected:
        return "nothing says what it shows"
    for name, frames in expected:
        if frames.shape != outcome.shape:
            return f"{outcome.shape}, and {frames.shape} by {name}"
        if not np.array_equal(frames, outcome):
            return f"{(frames != outcome).mean():.0%} of the values differ from {name}"
    return None


@pytest.mark.parametrize("family", ["depths", "orientations", "faxes", "pngs", "previews", "fills"])
def test_masks_are_the_same_pixels(family: str, outcomes: dict[str, tuple[Path, Sample, Outcome]]) -> None:
    compared = 0
    for name, (path, _, outcome) in outcomes.items():
        if not name.startswith(f"{family}/") or isinstance(outcome, DataError) or outcome.shape[1] != 1:
            continue
        try:
            mask = read_mask(path)
        except DataError as error:
            assert re.search("fractions|White is zero in this mask", error.what), f"{path.name}: {error}"
        else:
            np.testing.assert_array_equal(mask, outcome[0, 0], err_msg=path.name)
            compared += 1
    assert compared > 10


def test_the_documented_counts(outcomes: dict[str, tuple[Path, Sample, Outcome]]) -> None:
    counts = Counter("refused" if isinstance(outcome, DataError) else "decoded" for _, _, outcome in outcomes.values())
    sentence = f"{len(outcomes)} files: {counts['decoded']} are decoded and {counts['refused']} refused"
    assert sentence in " ".join(DOCUMENTATION.read_text().split()), sentence
