"""`bioseg predict`: masks for image files, or for the images of a data set."""

from __future__ import annotations

from bioseg_cli.cli.shown import show_done
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.runs.console import ConsoleOutput


def predict(config: PredictConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Segment image files of any size, folders of them, or the images of a data set, with a trained model."""
    from bioseg_cli.prediction import session
    from bioseg_cli.prediction.result import PredictionResult

    def show(result: PredictionResult) -> None:
        if counts := result.counts:
            counted = f"{counts.predicted} predicted, {counts.predicted_again} predicted again"
            output.show(f"{counted}, {counts.skipped} skipped in {result.out}")
            if left := counts.without_image:
                output.show(f"Masks of images that are not given any more stay: {left}")
        else:
            count = len(result.masks)
            output.show(f"{count} mask{'s' if count != 1 else ''} written to {result.out}")
        output.result(result.to_json())

    show_done(lambda: session.run(config, output, overwrite=overwrite), show)
