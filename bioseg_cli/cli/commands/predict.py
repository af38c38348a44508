"""`bioseg predict`: masks for image files, or for the images of a data set."""

from __future__ import annotations

from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.runs.console import Output


def predict(config: PredictConfig, output: Output, overwrite: bool) -> None:
    """Segment image files of any size, folders of them, or the images of a data set, with a trained model."""
    from bioseg_cli.prediction import session

    session.run(config, output, overwrite=overwrite)
