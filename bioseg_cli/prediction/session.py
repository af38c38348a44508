"""Prediction over files and data sets: masks, overlays, probabilities, and the record of what was done.

`OUT/NAME.tif` is the mask of the image `NAME`, a page a frame, and `OUT/NAME.nii.gz` that of a volume; `OUT/overlays`
and `OUT/probabilities` hold what else was asked for; `OUT/predictions.yaml` names the model, the settings, every file
and every failure.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bioseg_cli.config import read_yaml
from bioseg_cli.errors import BiosegError, DataError, PartialFailure, UsageError
from bioseg_cli.io.axes import count_of_frames
from bioseg_cli.io.files import refuse_existing, sha256_of
from bioseg_cli.io.image_writer import COLOURS
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.io.pixel_size import PixelSize, unusable_sizes
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.prediction.distributed import DistributedPrediction
from bioseg_cli.prediction.estimate import estimate_sentence
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.local import LocalPrediction
from bioseg_cli.prediction.result import PredictionResult
from bioseg_cli.prediction.settings import PARTS_PREFIX, RECORD_NAME, PredictConfig
from bioseg_cli.prediction.sources import AnySource, Source, find_sources, is_dataset
from bioseg_cli.runs.console import Output
from bioseg_cli.runs.directory import checkpoint_of
from bioseg_cli.runs.manifest import now, write_manifest

PIXEL_SIZE_TOLERANCE = 1.1
"""Pixel sizes that differ by a larger factor than this show objects of another size than in training."""


def run(config: PredictConfig, output: Output, *, overwrite: bool) -> PredictionResult:
    """Predict every input of `config` and write masks and record to `config.out`.

    Raises:
        UsageError: two images would have the same mask file, a mask would replace an image, masks exist already, or
            the model has no such head, no clusters or no mapping.
        DataError: the model or the inputs are missing, or not one image could be predicted.
        PartialFailure: some could not be predicted; the others are, which is in `done`, and the record lists the
            failures.
    """
    refuse_existing(config.out, overwrite=overwrite)
    checkpoint = checkpoint_of(config.run, config.state)
    with ExitStack() as opened:
        sources = find_sources(config, opened)
        prediction: LocalPrediction | DistributedPrediction
        if _is_distributed(config, sources, output):
            prediction = DistributedPrediction(checkpoint, config, output)
        else:
            prediction = LocalPrediction(checkpoint, config, output)
        model, decoder = prediction.model, prediction.decoder
        if config.lut and len(decoder.values) > COLOURS:
            what = (
                f"A mask has at most {COLOURS} colours, and the head {decoder.head} has {len(decoder.values)} clusters"
            )
            raise UsageError(what, where=model.path, fix="Leave out --lut.")
        _remove_earlier(config.out)
        record = _new_record(config, model, decoder)
        output.say(f"Predicting {_counted(sources)} {prediction.manner}")
        if sentence := decoder.sentence():
            output.say(sentence)
        try:
            failures = prediction.predict(sources, record)
            record["status"] = "finished"
        except KeyboardInterrupt:
            record["status"] = "interrupted"
            raise
        finally:
            record["finished"] = now()
            if record["files"]:
                write_manifest(config.out / RECORD_NAME, record)
    if record["files"]:
        _say(record, output, model.card.training_pixel_size())
    result = PredictionResult(config.out, record)
    _raise_failures(failures, len(sources), result)
    return result


def _is_distributed(config: PredictConfig, sources: Sequence[AnySource], output: Output) -> bool:
    """Whether several processes do it."""
    if config.jobs == 1 and config.scheduler is None:
        return False
    possible = len(sources) > 1 and not any(is_dataset(source.path) for source in sources)
    if not possible:
        output.say("A single file or a data set is not spread over processes")
    return possible


def _remove_earlier(out: Path) -> None:
    # Masks of an earlier prediction must not stay between those of this one, where a score would count them.
    if (out / RECORD_NAME).is_file():
        for entry in read_yaml(out / RECORD_NAME).get("files", []):
            for path in (out / name for name in entry["outputs"]):
                if path.resolve().is_relative_to(out.resolve()):
                    path.unlink(missing_ok=True)
        (out / RECORD_NAME).unlink()
    for folder in out.glob(f"{PARTS_PREFIX}*"):
        shutil.rmtree(folder)  # of a command that was killed


def _new_record(config: PredictConfig, model: LoadedModel, decoder: HeadDecoder) -> dict[str, Any]:
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
        **decoder.to_json(),
        "classes": [{"label": code, **one.model_dump(mode="json")} for code, one in enumerate(decoder.values)],
        # These become known when it begins; they stand before the long lists.
        **dict.fromkeys(("device", "precision", "environment", "tiles")),
        "files": [],
        "failures": [],
    }


def _counted(sources: Sequence[AnySource]) -> str:
    images = sum(isinstance(source, Source) for source in sources)
    counts = {"image": images, "volume": len(sources) - images}
    return " and ".join(f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items() if count)


def _say(record: dict[str, Any], output: Output, trained: PixelSize | None) -> None:
    """What a user must know of the masks."""
    for sentence in _remarks_on_files(record["files"]):
        output.say(sentence)
    sizes = [PixelSize.from_json(entry["pixel_size"]) for entry in record["files"] if entry["pixel_size"]]
    if warning := other_pixel_size(sizes, trained):
        output.warn(warning)
    for note in reading_notes({entry["name"]: entry.get("notes", ()) for entry in record["files"]}, "images"):
        output.say(note)
    if estimate := estimate_sentence(record["files"], calibrated=record["temperature"] is not None):
        output.say(estimate)


def _remarks_on_files(entries: Sequence[dict[str, Any]]) -> list[str]:
    """How the files were understood, where that is not plain from them."""
    stacks = [entry for entry in entries if "axes" in entry]
    frames = sum(math.prod(entry["shape"][:-2]) for entry in stacks)
    remarks = []
    if sentence := count_of_frames(len(stacks), frames):
        remarks.append(f"{sentence}; a mask has a page for each frame of its file")
    told = [entry for entry in stacks if entry["axes_by"] == "channels"]
    for axes in dict.fromkeys(entry["axes"] for entry in told):
        names = [Path(entry["input"]).name for entry in told if entry["axes"] == axes]
        more = f" and {len(names) - 1} more files" if len(names) > 1 else ""
        remarks.append(
            f"Nothing in {names[0]}{more} names the axes; read as {axes}, which alone gives the channels of the model"
        )
    sizes = unusable_sizes([(Path(entry["input"]).name, entry.get("no_pixel_size")) for entry in entries])
    return remarks + [sentence[0].upper() + sentence[1:] for sentence in sizes]


def _raise_failures(failures: Sequence[BiosegError], total: int, result: PredictionResult) -> None:
    if len(failures) == total == 1:
        raise failures[0]
    if len(failures) == total:
        raise DataError(f"Not one of the {total} images could be predicted", fix="The reasons are listed above.")
    if failures:
        raise PartialFailure(
            f"{len(failures)} of {total} images failed, the rest is done",
            where=result.out,
            fix=f"{RECORD_NAME} lists them.",
            done=result,
        )


def other_pixel_size(sizes: Sequence[PixelSize], trained: PixelSize | None) -> str | None:
    """The warning about images that show objects of another size than those of the training; None without such."""
    if trained is None or not (others := sum(differs(size, trained) for size in sizes)):
        return None
    return (
        f"{others} of the images have another pixel size than the training images ({trained.x:g} {trained.unit}): "
        "objects of another size may be missed. Rescale the images to it."
    )


def differs(size: PixelSize, trained: PixelSize) -> bool:
    """Whether images of this pixel size show objects of another size than those of the training."""
    return size.unit == trained.unit and size.differs(trained, PIXEL_SIZE_TOLERANCE)
