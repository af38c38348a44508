"""Prediction over files and data sets: masks, overlays, probabilities, and the record of what was done.

`OUT/NAME.tif` is the mask of the image `NAME`, a page a frame, and `OUT/NAME.nii.gz` that of a volume; `OUT/overlays`
and `OUT/probabilities` hold what else was asked for; `OUT/predictions.yaml` names the model, the settings, every file
and every failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bioseg_cli.config import StateName, read_yaml
from bioseg_cli.errors import DataError, PartialFailure
from bioseg_cli.files import refuse_existing, sha256_of
from bioseg_cli.images import PixelSize
from bioseg_cli.model.saved import LoadedModel, load_model
from bioseg_cli.prediction.pipeline import WHOLE, ImagePrediction
from bioseg_cli.prediction.predictor import Predictor
from bioseg_cli.prediction.reading import Reading
from bioseg_cli.prediction.settings import RECORD_NAME, PredictConfig
from bioseg_cli.prediction.sources import AnySource, Source, find_sources
from bioseg_cli.prediction.volumes import predict_volume
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.device import Precision, resolve_device, resolve_precision
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.manifest import environment, now, write_manifest

PIXEL_SIZE_TOLERANCE = 1.1
"""Pixel sizes that differ by a larger factor than this show objects of another size than in training."""


def default_state(run: RunDirectory) -> StateName:
    """The state that stands for a run: chosen by labels, or where the training had none, without."""
    return "best-final" if run.manifest.get("command") == "train-iic" else "best-supervised"


def checkpoint_of(path: Path, state: StateName | None) -> Path:
    """The model that RUN means: a `.safetensors` file itself, or a state of a run directory, by default its own.

    Raises:
        DataError: no such path, not a run, or a run without that state.
    """
    if path.suffix == ".safetensors":
        return path
    run = RunDirectory.open(path)
    return run.existing_checkpoint(state or default_state(run))


def predict_inputs(config: PredictConfig, output: Output, *, overwrite: bool) -> dict[str, Any]:
    """Predict every input of `config` and write masks and record to `config.out`; returns the record.

    Raises:
        UsageError: two images would have the same mask file, a mask would replace an image, masks exist already, or
            the model has no such head, no clusters or no mapping.
        DataError: the model or the inputs are missing, or not one image could be predicted.
        PartialFailure: some could not be predicted; the others are done and the record lists the failures.
    """
    refuse_existing(config.out, overwrite=overwrite)
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    model = load_model(checkpoint_of(config.run, config.state), device)
    predictor = Predictor(
        model,
        precision,
        head=config.head,
        raw_clusters=config.raw_clusters,
        tile=config.tile,
        overlap=config.overlap,
        any_dtype=config.any_dtype,
        say=output.say,
    )
    with ExitStack() as opened:
        sources = find_sources(config, opened)
        _remove_earlier(config.out)
        record = _new_record(config, model, predictor.reading, precision)
        output.say(f"Predicting {_counted(sources)} on {device} in {precision.name} ({precision.reason})")
        if sentence := predictor.reading.sentence():
            output.say(sentence)
        try:
            failures = _predict_all(sources, predictor, config, record, output)
            record["status"] = "finished"
        except KeyboardInterrupt:
            record["status"] = "interrupted"
            raise
        finally:
            record["finished"] = now()
            record["tiles"] = {
                "tile": predictor.tile,
                "overlap": predictor.overlap,
                "largest_batch": predictor.largest_batch,
            }
            if record["files"]:
                write_manifest(config.out / RECORD_NAME, record)
    if record["files"]:
        _report(record, config, output, model.card.training_pixel_size())
    _raise_failures(failures, len(sources), config.out)
    return record


def _remove_earlier(out: Path) -> None:
    # Masks of an earlier prediction must not stay between those of this one, where a score would count them.
    if (out / RECORD_NAME).is_file():
        for entry in read_yaml(out / RECORD_NAME).get("files", []):
            for path in (out / name for name in entry["outputs"]):
                if path.resolve().is_relative_to(out.resolve()):
                    path.unlink(missing_ok=True)
        (out / RECORD_NAME).unlink()


def _new_record(config: PredictConfig, model: LoadedModel, reading: Reading, precision: Precision) -> dict[str, Any]:
    card = model.card
    return {
        "command": config.command,
        "config": config.model_dump(mode="json"),
        "status": "failed",
        "started": now(),
        "model": {
            "path": str(model.path),
            "sha256": sha256_of(model.path),
            "method": card.method,
            "state": card.state,
            "epoch": card.epoch,
            "dataset_hash": card.dataset_hash,
        },
        **reading.to_json(),
        "classes": [{"label": code, **one.model_dump(mode="json")} for code, one in enumerate(reading.values)],
        "device": str(precision.device),
        "precision": precision.name,
        "environment": environment(),
        "files": [],
        "failures": [],
    }


def _counted(sources: Sequence[AnySource]) -> str:
    images = sum(isinstance(source, Source) for source in sources)
    counts = {"image": images, "volume": len(sources) - images}
    return " and ".join(f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items() if count)


def _predict_all(
    sources: Sequence[AnySource], predictor: Predictor, config: PredictConfig, record: dict[str, Any], output: Output
) -> list[DataError]:
    failures: list[DataError] = []

    def leave_out(source: AnySource, error: DataError) -> None:
        failures.append(error)
        record["failures"].append({"input": str(source.path), "name": source.name, "error": str(error)})
        if len(sources) > 1:
            output.warn(f"Left out: {'. '.join(str(error).splitlines())}")

    images = [source for source in sources if isinstance(source, Source)]
    if images:
        single = len(images) == 1
        what, total = (f"Predicting {images[0].name}, per cent", WHOLE) if single else ("Predicting", len(images))
        with output.progress(what, total) as progress:
            ImagePrediction(predictor, config, record["files"].append, leave_out, progress).run(images)
    for source in sources:
        if isinstance(source, Source):
            continue
        try:
            record["files"].append(predict_volume(source, predictor, config, output))
        except DataError as error:
            if error.where != str(source.path):
                raise  # the output cannot be written, and no other one could
            leave_out(source, error)
    return failures


def _report(record: dict[str, Any], config: PredictConfig, output: Output, trained: PixelSize | None) -> None:
    sizes = [PixelSize.from_json(entry["pixel_size"]) for entry in record["files"] if entry["pixel_size"]]
    if trained is not None and (others := sum(_differs(size, trained) for size in sizes)):
        output.warn(
            f"{others} of the images have another pixel size than the training images ({trained.x:g} {trained.unit}): "
            "objects of another size may be missed. Rescale the images to it."
        )
    count = len(record["files"])
    output.show(f"{count} mask{'s' if count != 1 else ''} written to {config.out}")
    output.result({**record, "out": str(config.out)})


def _raise_failures(failures: Sequence[DataError], total: int, out: Path) -> None:
    if len(failures) == total == 1:
        raise failures[0]
    if len(failures) == total:
        raise DataError(f"Not one of the {total} images could be predicted", fix="The reasons are listed above.")
    if failures:
        raise PartialFailure(
            f"{len(failures)} of {total} images failed, the rest is done", where=out, fix=f"{RECORD_NAME} lists them."
        )


def _differs(size: PixelSize, trained: PixelSize) -> bool:
    return size.unit == trained.unit and max(size.x / trained.x, trained.x / size.x) > PIXEL_SIZE_TOLERANCE
