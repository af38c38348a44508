"""The data set of a run, opened again: the same, another, or gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import new_manifest, write_discs

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import DataError
from bioseg_cli.runs.dataset import dataset_of
from bioseg_cli.runs.directory import RunDirectory
from bioseg_cli.runs.sections import TrainingData


def test_it_is_given_as_long_as_it_holds_what_was_trained_on(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "discs.h5")
    manifest = new_manifest()
    with Dataset(data) as dataset:
        manifest.data = TrainingData(path=str(data), content_hash=dataset.content_hash)
    run = RunDirectory.create(tmp_path / "run", manifest, overwrite=False)
    with dataset_of(run) as dataset:
        assert dataset is not None and dataset.path == data and dataset.image(0).ndim == 3
    data.unlink()
    write_discs(data, wrong=(0,))
    with dataset_of(run) as dataset:
        assert dataset is None
    data.unlink()
    with pytest.raises(DataError), dataset_of(run):
        pass
