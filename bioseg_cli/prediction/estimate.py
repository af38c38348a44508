"""What an image is expected to score, without any label: in its entry of the record, and in a sentence at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bioseg_cli.metrics.expected_iou import ExpectedIoU, summed
from bioseg_cli.prediction.head_decoder import HeadDecoder

DIGITS = 4


def estimate_entry(frames: Sequence[ExpectedIoU | None], decoder: HeadDecoder) -> dict[str, Any]:
    """`estimated_iou` of a file from what its frames are expected to score; empty for clusters."""
    known = [one for one in frames if one is not None]
    if not known:
        return {}
    whole = summed(known)
    iou = [None if np.isnan(value) else round(value, DIGITS) for value in whole.per_class().tolist()]
    estimate: dict[str, Any] = {
        "mean_iou": round(whole.mean(), DIGITS),
        "iou": dict(zip((one.name for one in decoder.values), iou, strict=True)),
    }
    if len(known) > 1:
        estimate["frames"] = [round(one.mean(), DIGITS) for one in known]
    return {"estimated_iou": estimate}


def estimate_sentence(entries: Sequence[dict[str, Any]], *, calibrated: bool) -> str | None:
    """The estimates of all files, and which file has the lowest; None where there are none."""
    found = [(entry["estimated_iou"]["mean_iou"], entry["name"]) for entry in entries if "estimated_iou" in entry]
    if not found:
        return None
    (lowest, name), middle = min(found), float(np.median([value for value, _ in found]))
    said = f"median {middle:.3f}, lowest {lowest:.3f} ({name})" if len(found) > 1 else f"{lowest:.3f}"
    doubt = "" if calibrated else "; of probabilities that no validation image has calibrated, so it may be far off"
    return f"Mean IoU estimated without labels: {said}{doubt}"
