"""What an image is expected to score, without any label: in its entry of the record, and in a sentence at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioseg_cli.metrics.expected_iou import ExpectedIoU, summed
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.record import EstimatedIoU, FileEntry

DIGITS = 4


def estimated_iou(frames: Sequence[ExpectedIoU | None], decoder: HeadDecoder) -> EstimatedIoU | None:
    """The estimate of a file from what its frames are expected to score; None for clusters."""
    known = [frame for frame in frames if frame is not None]
    if not known:
        return None
    whole = summed(known)
    iou = [None if np.isnan(value) else round(value, DIGITS) for value in whole.per_class().tolist()]
    estimate = EstimatedIoU(
        mean_iou=round(whole.mean(), DIGITS),
        iou=dict(zip((value.name for value in decoder.values), iou, strict=True)),
    )
    return estimate.having(frames=[round(frame.mean(), DIGITS) for frame in known]) if len(known) > 1 else estimate


def estimate_sentence(entries: Sequence[FileEntry], *, calibrated: bool) -> str | None:
    """The estimates of all files, and which file has the lowest; None where there are none."""
    found = [(entry.estimated_iou.mean_iou, entry.name) for entry in entries if entry.estimated_iou is not None]
    if not found:
        return None
    (lowest, name), middle = min(found), float(np.median([value for value, _ in found]))
    said = f"median {middle:.3f}, lowest {lowest:.3f} ({name})" if len(found) > 1 else f"{lowest:.3f}"
    doubt = "" if calibrated else "; of probabilities that no validation image has calibrated, so it may be far off"
    return f"Mean IoU estimated without labels: {said}{doubt}"
