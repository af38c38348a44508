"""The keys of scores, and manifests that differ."""

from __future__ import annotations

import yaml

RUN_KEYS = {
    "run", "state", "labels", "unseen", "data", "split", "mean_iou", "mean_iou_foreground", "iou", "dice",
    "pixel_accuracy", "image_wise", "intervals", "images", "confusion", "calibration", "baselines", "notes",
}  # fmt: skip
SCORE_KEYS = RUN_KEYS - {"run", "state", "labels", "unseen", "data", "split", "calibration", "baselines", "notes"}


def change_manifest(run, **changes):
    path = run / "manifest.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
