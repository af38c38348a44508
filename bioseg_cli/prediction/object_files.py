"""The files of objects: labels, table, ROIs and GeoJSON of each image in OUT/objects, and the tables of all images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bioseg_cli.config import ClassInfo
from bioseg_cli.io.files import replacing
from bioseg_cli.objects.instances import Mask, ObjectRules, Objects, find_objects
from bioseg_cli.objects.measurements import Row, measured
from bioseg_cli.objects.outlines import outlines
from bioseg_cli.objects.shapes import OutlinedObject, write_geojson, write_rois
from bioseg_cli.objects.tables import join_tables, write_parquet, write_rows
from bioseg_cli.prediction.pages import write_pages
from bioseg_cli.prediction.record import FileEntry
from bioseg_cli.prediction.settings import OBJECTS_FOLDER, PredictConfig
from bioseg_cli.prediction.sources import OpenSource, Source


class ObjectFiles:
    """The objects of one image, frame by frame, and their files.

    The objects of all frames are numbered on, so a number is one object of the file. The maps of frames are set aside
    in a nameless file: the type of the labels is known when the last object is.
    """

    def __init__(
        self,
        source: Source,
        opened: OpenSource,
        config: PredictConfig,
        classes: Sequence[ClassInfo],
        rules: ObjectRules,
    ) -> None:
        self._path = config.out / OBJECTS_FOLDER / source.name
        self._name = source.name
        self._opened = opened
        self._formats = config.objects_format
        self._classes = classes
        self._rules = rules.of_classes(len(classes))
        self._codes: list[int] = []  # class of every object so far
        self._rows: list[Row] = []
        self._outlined: list[OutlinedObject] = []
        self._maps: IO[bytes] | None = None

    def take(
        self, frame: int, labels: NDArray[Any], borders: Mask | None, pixels: NDArray[Any], files: ExitStack
    ) -> None:
        """Find the objects of a frame from its class codes and borders (H, W) and its pixels (C, H, W)."""
        objects = find_objects(labels, self._rules, borders)
        before = len(self._codes)
        self._codes += objects.classes.tolist()
        if {"table", "geojson"} & set(self._formats):
            names = [info.name for info in self._classes]
            rows = measured(objects, pixels, self._opened.pixel_size, names)
            where = {"image": self._name} | ({"frame": frame} if self._opened.frames > 1 else {})
            self._rows += [where | row | {"object": row["object"] + before} for row in rows]
        if {"rois", "geojson"} & set(self._formats):
            self._outline(frame, objects, before)
        if "labels" in self._formats:
            if self._maps is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._maps = files.enter_context(TemporaryFile(dir=self._path.parent))  # noqa: SIM115 - it is one
            self._maps.write(np.where(objects.numbers > 0, objects.numbers + before, 0).astype(np.uint32).tobytes())

    def _outline(self, frame: int, objects: Objects, before: int) -> None:
        places = dict(
            zip(self._opened.stack, np.unravel_index(frame, tuple(self._opened.stack.values()) or (1,)), strict=False)
        )
        time, plane = (int(places[axis]) if axis in places else None for axis in "TZ")
        for place, outline in enumerate(outlines(objects.numbers)):
            number, code = before + place + 1, int(objects.classes[place])
            row = self._rows[number - 1] if self._rows else {}
            self._outlined.append(OutlinedObject(number, code, self._classes[code], outline, time, plane, row))

    def write(self, files: ExitStack) -> list[Path]:
        """Write the files under temporary names that `files` makes final; returns the final names."""
        written = []

        def temporary(suffix: str) -> Path:
            written.append(self._path.with_name(f"{self._path.name}{suffix}"))
            return files.enter_context(replacing(written[-1]))

        if self._maps is not None:
            self._write_labels(temporary(".tif"), self._maps)
        if "table" in self._formats:
            write_rows(temporary(".csv"), self._rows)
        if "rois" in self._formats:
            write_rois(temporary(".zip"), self._outlined, self._opened.shape[0])
        if "geojson" in self._formats:
            write_geojson(temporary(".geojson"), self._outlined, self._opened.reduction)
        return written

    def _write_labels(self, path: Path, maps: IO[bytes]) -> None:
        height, width = self._opened.shape[1:]
        dtype = np.dtype(np.uint16 if len(self._codes) < 2**16 else np.uint32)
        frame_bytes = height * width * 4

        def frames() -> Iterator[NDArray[Any]]:
            maps.seek(0)
            while content := maps.read(frame_bytes):
                yield np.frombuffer(content, np.uint32).reshape(height, width).astype(dtype)

        stack = self._opened.stack
        shape, axes = (*stack.values(), height, width), "".join(stack) + "YX"
        write_pages(path, frames(), shape, dtype, axes, self._opened.pixel_size)

    def counts(self) -> dict[str, int]:
        """How many objects of each class there are."""
        return {info.name: self._codes.count(code) for code, info in enumerate(self._classes) if code > 0}


def table_names(record_name: str, formats: Sequence[str]) -> list[str]:
    """The tables of all images that go with a record: `objects.csv`, or that of a part of a job array."""
    stem = Path(record_name).stem.replace("predictions", OBJECTS_FOLDER)
    suffixes = {"table": ".csv", "parquet": ".parquet"}
    return [f"{stem}{suffix}" for format_name, suffix in suffixes.items() if format_name in formats]


def write_tables(config: PredictConfig, entries: Sequence[FileEntry]) -> list[str]:
    """Join the tables of all images of a record; returns the names of the files."""
    names = table_names(config.record_name, config.objects_format)
    for name in names:
        if name.endswith(".csv"):
            tables = [f"{OBJECTS_FOLDER}/{entry.name}.csv" for entry in entries]
            join_tables([config.out / table for table in tables], config.out / name)
        else:
            write_parquet(config.out / names[0], config.out / name)
    return names
