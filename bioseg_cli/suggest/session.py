"""From settings to suggestions: images are measured, chosen, and told, drawn and written as was asked for."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioseg_cli.dataset.reader import Dataset, find_dataset
from bioseg_cli.dataset.schema import IntArray
from bioseg_cli.errors import DataError
from bioseg_cli.io.files import refuse_existing
from bioseg_cli.io.ownership import owned_file
from bioseg_cli.io.prefetch import prefetched_map
from bioseg_cli.runs.output import Output
from bioseg_cli.suggest.choice import Chosen, disputed_images, typical_images
from bioseg_cli.suggest.export import check_folder, export
from bioseg_cli.suggest.features import Measured, levels_for, measure, shows_nothing, vectors
from bioseg_cli.suggest.result import Suggestion, SuggestionResult
from bioseg_cli.suggest.settings import SuggestConfig
from bioseg_cli.suggest.sheet import write_sheet

if TYPE_CHECKING:
    from bioseg_cli.suggest.disagreement import Views

PREFETCHED_IMAGES = 4


@dataclass(frozen=True)
class Pool:
    """The images to choose among.

    Attributes:
        training: (N,) indices of the training images.
        covered: (N,) which of them have a mask, or a mask that counts.
    """

    training: IntArray
    covered: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def candidates(self) -> IntArray:
        """Indices of those that may be suggested."""
        free: IntArray = self.training[~self.covered]
        return free


def run(config: SuggestConfig, output: Output, *, overwrite: bool) -> SuggestionResult:
    """Choose images, and draw and export them where that is asked for.

    Raises:
        UsageError: no data set was given and `data/` does not hold exactly one, what would be written exists already,
            or the run does not fit.
        DataError: the data set cannot be read, has no training image, or all of them have a mask; the run is damaged,
            or the disk is full.
    """
    data = find_dataset(config.data)
    with ExitStack() as owned:
        for place in _places(config):
            owned.enter_context(owned_file(place, say=output.say))
        if config.out is not None:
            refuse_existing(config.out, overwrite=overwrite)
        if config.export is not None:
            check_folder(config.export, beside=config.out, overwrite=overwrite)
        return _run(config, data, output)


def _places(config: SuggestConfig) -> list[Path]:
    """What is written; the picture is not named where it goes into the folder, which is replaced as a whole."""
    folder = None if config.export is None else config.export.resolve()
    picture = None if config.out is None else config.out.resolve()
    if folder is not None and picture is not None and picture.is_relative_to(folder):
        picture = None
    return [place for place in (folder, picture) if place is not None]


def _run(config: SuggestConfig, data: Path, output: Output) -> SuggestionResult:
    with Dataset(data) as dataset:
        views = None
        if config.run is not None:
            from bioseg_cli.suggest.disagreement import Views

            views = Views(config.run, config, dataset, output)
        pool = find_pool(dataset, config, views)
        if config.count > len(pool.candidates):
            output.warn(f"{config.count} images were asked for, and there are {len(pool.candidates)}: all are listed")
        suggested = (
            _by_the_network(dataset, pool, config, views, output) if views else _by_looks(dataset, pool, config, output)
        )
        result = SuggestionResult(
            data=data,
            run=config.run,
            among=config.among,
            seed=config.seed,
            training_images=len(pool.training),
            labelled=int(pool.covered.sum()),
            asked=config.count,
            suggested=tuple(suggested),
        )
        if config.export is not None:
            result = export(config.export, dataset, views, result)
        if config.out is not None:
            indices, reasons = zip(*((image.index, image.reason) for image in suggested), strict=True)
            write_sheet(config.out, dataset, indices, reasons, views)
            result = replace(result, out=config.out)
    return result


def find_pool(dataset: Dataset, config: SuggestConfig, views: Views | None) -> Pool:
    """The training images, and which of them need no mask any more.

    Raises:
        DataError: there is no training image, or none without a mask.
        UsageError: nothing says which images the run learnt from.
    """
    training = dataset.indices("train")
    if not len(training):
        raise DataError("The training split has no image", where=dataset.path, fix="Prepare it again with more images.")
    if config.among == "unlabelled":
        covered = dataset.labelled[training]
        fix = "Prepare it again with more images, or give --among all to choose as if none had a mask."
    else:
        covered = np.isin(training, views.learnt_from() if views else [])
        fix = "Give a --run that learnt from fewer of them."
    if covered.all():
        raise DataError("Every training image has a mask: there is none to suggest", where=dataset.path, fix=fix)
    return Pool(training, covered)


def _by_looks(dataset: Dataset, pool: Pool, config: SuggestConfig, output: Output) -> list[Suggestion]:
    """Suggestions that cover the data set."""
    measured = _measured(dataset, pool.training, output)
    nothing = shows_nothing(measured)
    chosen = typical_images(vectors(measured), pool.covered, nothing, config.count, config.seed)
    return [
        _suggestion(dataset, int(pool.training[image.place]), rank, image, _reason(image))
        for rank, image in enumerate(chosen, 1)
    ]


def _by_the_network(
    dataset: Dataset, pool: Pool, config: SuggestConfig, views: Views, output: Output
) -> list[Suggestion]:
    """Suggestions on which the predictions of a network differ most, of several kinds."""
    candidates = pool.candidates
    predicted = output.track(candidates.tolist(), "Predicting from eight sides", len(candidates))
    disagreement = np.array([views.disagreement(index) for index in predicted])
    points = vectors(_measured(dataset, candidates, output))
    chosen = disputed_images(points, disagreement, config.count, config.seed)
    return [
        _suggestion(
            dataset,
            int(candidates[image.place]),
            rank,
            image,
            f"most disputed of {image.alike} alike" if image.alike > 1 else "disputed, unlike the others",
            disagreement=float(disagreement[image.place]),
        )
        for rank, image in enumerate(chosen, 1)
    ]


def _measured(dataset: Dataset, indices: IntArray, output: Output) -> list[Measured]:
    normalisation = dataset.info.normalisation
    spans = [high - low for low, high in zip(normalisation.low, normalisation.high, strict=True) if high > low]
    step = 1 / min(spans) if spans and dataset.image_dtype.kind != "f" else 0.0

    levels = levels_for(*dataset.image_shape[1:])

    def measured(index: int) -> Measured:
        return measure(dataset.normalised(index)[:, *dataset.extent(index)], levels, step)

    with prefetched_map(measured, indices.tolist(), most=PREFETCHED_IMAGES) as made:
        return list(output.track(made, "Looking at the images", len(indices)))


def _reason(chosen: Chosen) -> str:
    if not chosen.alike:
        return "shows little but background"
    if chosen.alike == 1:
        return "unlike the other images"
    labelled = f", {chosen.covered} of them labelled" if chosen.covered else ""
    return f"typical of {chosen.alike} images{labelled}"


def _suggestion(
    dataset: Dataset, index: int, rank: int, image: Chosen, reason: str, *, disagreement: float | None = None
) -> Suggestion:
    source = dataset.source(index)
    return Suggestion(
        index=index,
        rank=rank,
        image=dataset.name(index),
        file=source.file,
        frame=source.frame,
        origin=source.origin,
        reason=reason,
        alike=image.alike,
        alike_labelled=image.covered,
        typicality=image.typical,
        disagreement=disagreement,
    )
