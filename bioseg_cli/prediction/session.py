"""Prediction over files and data sets: masks, overlays, probabilities, and the record of what was done.

`OUT/NAME.tif` is the mask of the image `NAME`, a page a frame, and `OUT/NAME.nii.gz` that of a volume; `OUT/overlays`
and `OUT/probabilities` hold what else was asked for; `OUT/predictions.yaml` names the model, the settings, every file
and every failure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bioseg_cli.errors import BiosegError, DataError, PartialFailure, UsageError
from bioseg_cli.io.axes import count_of_frames
from bioseg_cli.io.files import sha256_of
from bioseg_cli.io.legend import COLOURS
from bioseg_cli.io.notes import reading_notes
from bioseg_cli.io.ownership import owned_folder
from bioseg_cli.io.pixel_size import PixelSize, unusable_sizes
from bioseg_cli.model.saved import LoadedModel
from bioseg_cli.objects.instances import ObjectRules
from bioseg_cli.objects.of_run import rules_of_run
from bioseg_cli.objects.tables import check_parquet
from bioseg_cli.prediction.distributed import DistributedPrediction
from bioseg_cli.prediction.earlier import EarlierPrediction, Outdated
from bioseg_cli.prediction.estimate import estimate_sentence
from bioseg_cli.prediction.existing import (
    check_output,
    refuse_images_among_outputs,
    refuse_unknown_masks,
    remove_earlier,
    remove_stale,
)
from bioseg_cli.prediction.head_decoder import HeadDecoder
from bioseg_cli.prediction.job_array import of_part
from bioseg_cli.prediction.local import LocalPrediction
from bioseg_cli.prediction.object_files import table_names, write_tables
from bioseg_cli.prediction.record import Counts, FileEntry, MaskValue, Origin, PredictionRecord
from bioseg_cli.prediction.record_file import RecordFile
from bioseg_cli.prediction.result import PredictionResult
from bioseg_cli.prediction.settings import PredictConfig
from bioseg_cli.prediction.sources import AnySource, Source, find_sources, is_dataset, mask_name
from bioseg_cli.runs.directory import checkpoint_of
from bioseg_cli.runs.manifest import now
from bioseg_cli.runs.output import Output
from bioseg_cli.runs.sections import Status


def run(config: PredictConfig, output: Output, *, overwrite: bool) -> PredictionResult:
    """Predict every input of `config` and write masks and record to `config.out`.

    Raises:
        UsageError: two images would have the same mask file, a mask would replace an image, masks exist already, or
            the model has no such head, no clusters or no mapping.
        DataError: the model or the inputs are missing, or not one image could be predicted.
        PartialFailure: some could not be predicted; the others are, which is in `done`, and the record lists the
            failures.
    """
    if "parquet" in config.objects_format:
        check_parquet()
    checkpoint = checkpoint_of(config.run, config.state)
    rules, whence = rules_of_run(config.run) if config.objects else (ObjectRules(), None)
    with ExitStack() as opened:
        # The parts of a job array share a folder.
        part = None if config.part is None else config.part.replace("/", "-")
        # The folder of a pyramid has too many files to look at them all; `writing_labels` removes what it left.
        tidy = config.zarr_labels is None
        ownership = opened.enter_context(owned_folder(config.out, part=part, tidy=tidy, say=output.say))
        check_output(config, overwrite=overwrite)
        # Of all parts together, which share a folder, it is checked that no two images have the same mask.
        given = of_part(every := find_sources(config, opened), config.part)
        if config.zarr_labels is not None:
            from bioseg_cli.prediction.zarr_masks import check_labels  # not installed with every bioseg

            check_labels(config, every, given, overwrite=overwrite)
        else:
            refuse_images_among_outputs(config, every)
        prediction: LocalPrediction | DistributedPrediction
        plan = _plan(config, given, checkpoint, rules, overwrite=overwrite)
        if _is_distributed(config, plan.sources, output):
            prediction = DistributedPrediction(checkpoint, config, output, rules)
        else:
            prediction = LocalPrediction(checkpoint, config, output, rules)
        model, decoder = prediction.model, prediction.decoder
        if config.lut and len(decoder.values) > COLOURS:
            clusters = f"the head {decoder.head} has {len(decoder.values)} clusters"
            what = f"A mask has at most {COLOURS} colours, and {clusters}"
            raise UsageError(what, where=model.path, fix="Leave out --lut.")
        begun = _new_record(config, model, decoder, plan, rules)
        order = [source.name for source in given]
        file = RecordFile(
            config.record_path, begun, lambda: prediction.outcome, plan.kept, order, plan.outdated, ownership
        )
        if not config.skip_existing and config.zarr_labels is None:
            remove_earlier(config, given)
        file.write()
        remove_stale(config, _tables(config))
        if plan.sources:
            output.say(f"Predicting {_counted(plan.sources)} {prediction.manner}")
        for sentence in filter(None, (decoder.sentence(), whence)):
            output.say(sentence)
        try:
            failures = prediction.predict(plan.sources, file.keep_up)
            record = _ended(config, file, Status.FINISHED)
        except BaseException as error:
            _ended(config, file, Status.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Status.FAILED)
            raise
    if predicted := prediction.outcome.files:
        _say(predicted, output, model.card.training_pixel_size(), calibrated=record.temperature is not None)
    if left := sum(len(older.files) for older in record.earlier):
        images = "an image that" if left == 1 else f"{left} images that"
        output.warn(f"The earlier mask of {images} failed stays: `earlier` in {config.record_name} says what made it")
    result = PredictionResult(config.out, record)
    _raise_failures(failures, len(plan.sources), result, config.record_name)
    return result


@dataclass(frozen=True)
class _Plan:
    """What is predicted now, and what is left as it is.

    Attributes:
        sources: what is predicted.
        kept: entries of the record of files that are left.
        outdated: what an earlier prediction made of these files, to be replaced.
        counts: of the files, for the record; None unless an earlier prediction is gone on with.
    """

    sources: list[AnySource]
    kept: list[FileEntry]
    outdated: Outdated
    counts: Counts | None


def _plan(
    config: PredictConfig, given: list[AnySource], checkpoint: Path, rules: ObjectRules, *, overwrite: bool
) -> _Plan:
    """Divide what is given into what is predicted and what an earlier prediction has done.

    Raises:
        UsageError: a data set is to be gone on with, another model made masks whose images are not given any more, or
            a mask is there that no record names.
    """
    if not config.skip_existing:
        if config.part is not None and config.zarr_labels is None:
            # The folder may hold other parts, so that it is not refused as a whole.
            refuse_unknown_masks(config, given, killed=False, overwrite=overwrite)
        return _Plan(given, [], Outdated(config.out), None)
    if dataset := next((source.path for source in given if is_dataset(source.path)), None):
        raise UsageError("--skip-existing is for files, and this is a data set", where=dataset)
    earlier = EarlierPrediction.read(config, sha256_of(checkpoint), rules)
    left, done = earlier.without_image(given), earlier.done(given)
    sources = [source for source in given if mask_name(source) not in done]
    again = [mask for mask in map(mask_name, sources) if mask in earlier.entries]
    new = [source for source in sources if mask_name(source) not in earlier.entries]
    refuse_unknown_masks(config, new, killed=earlier.killed, overwrite=overwrite)
    counts = Counts(
        predicted=len(sources) - len(again),
        predicted_again=len(again),
        skipped=len(done),
        without_image=len(left),
    )
    return _Plan(sources, [*done.values(), *left.values()], earlier.outdated(again), counts)


def _is_distributed(config: PredictConfig, sources: Sequence[AnySource], output: Output) -> bool:
    """Whether several processes do it."""
    if config.jobs == 1 and config.scheduler is None:
        return False
    possible = len(sources) > 1 and not any(is_dataset(source.path) for source in sources)
    if not possible:
        output.say("A single file or a data set is not spread over processes")
    return possible


def _ended(config: PredictConfig, file: RecordFile, status: Status) -> PredictionRecord:
    """Write the record for the last time, and the tables of the objects of all images that it names."""
    record = file.end(status)
    if config.objects and record.files:
        write_tables(config, record.files)
    return record


def _tables(config: PredictConfig) -> list[str]:
    """Names of the tables of all images that are written."""
    return table_names(config.record_name, config.objects_format) if config.objects else []


def _new_record(
    config: PredictConfig, model: LoadedModel, decoder: HeadDecoder, plan: _Plan, rules: ObjectRules
) -> PredictionRecord:
    card = model.card
    origin = Origin(
        path=str(model.path),
        sha256=sha256_of(model.path),
        method=card.method,
        state=card.state,
        epoch=card.epoch,
        dataset_hash=card.dataset_hash,
    )
    values = [MaskValue(label=code, **value.model_dump()) for code, value in enumerate(decoder.values)]
    record = PredictionRecord(
        command=config.command,
        config=config.model_dump(mode="json"),
        status=Status.RUNNING,
        started=now(),
        model=origin,
        **decoder.record().given(),
        classes=tuple(values),
    )
    # These become known when it begins; they stand before the long lists.
    record = record.having(device=None, precision=None, environment=None, tiles=None)
    if plan.counts is not None:
        record = record.having(counts=plan.counts)
    record = record.having(files=(), failures=())
    return record.having(object_rules=rules.learnt) if config.objects else record


def _counted(sources: Sequence[AnySource]) -> str:
    images = sum(isinstance(source, Source) for source in sources)
    counts = {"image": images, "volume": len(sources) - images}
    return " and ".join(f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items() if count)


def _say(files: Sequence[FileEntry], output: Output, trained: PixelSize | None, *, calibrated: bool) -> None:
    """What a user must know of the masks."""
    for sentence in _remarks_on_files(files):
        output.say(sentence)
    if remark := _without_size(files, trained):
        output.say(remark)
    for note in reading_notes({entry.name: entry.notes for entry in files}, "images"):
        output.say(note)
    if estimate := estimate_sentence(files, calibrated=calibrated):
        output.say(estimate)


def _without_size(files: Sequence[FileEntry], trained: PixelSize | None) -> str | None:
    """The remark on images of which nothing says whether they show objects of the size of the training's."""
    silent = sum(entry.pixel_size is None for entry in files)
    if trained is None or not silent:
        return None
    which = "The image states" if silent == len(files) == 1 else f"{silent} of {len(files)} images state"
    return f"{which} no pixel size. The training images have {trained}; objects of another size may be missed"


def _remarks_on_files(entries: Sequence[FileEntry]) -> list[str]:
    """How the files were understood, where that is not plain from them."""
    stacks = [entry for entry in entries if entry.axes is not None]
    frames = sum(math.prod(entry.shape[:-2]) for entry in stacks)
    remarks = []
    if sentence := count_of_frames(len(stacks), frames):
        remarks.append(f"{sentence}; a mask has a page for each frame of its file")
    told = [entry for entry in stacks if entry.axes_by == "channels"]
    for axes in dict.fromkeys(entry.axes for entry in told):
        names = [Path(entry.input).name for entry in told if entry.axes == axes]
        more = f" and {len(names) - 1} more files" if len(names) > 1 else ""
        remarks.append(
            f"Nothing in {names[0]}{more} names the axes; read as {axes}, which alone gives the channels of the model"
        )
    sizes = unusable_sizes([(Path(entry.input).name, entry.no_pixel_size) for entry in entries])
    return remarks + [sentence[0].upper() + sentence[1:] for sentence in sizes]


def _raise_failures(failures: Sequence[BiosegError], total: int, result: PredictionResult, name: str) -> None:
    if not failures:
        return
    if len(failures) == total == 1:
        raise failures[0]
    if len(failures) == total:
        raise DataError(f"Not one of the {total} images could be predicted", fix="The reasons are listed above.")
    raise PartialFailure(
        f"{len(failures)} of {total} images failed, the rest is done",
        where=result.out,
        fix=f"{name} lists them.",
        done=result,
    )
