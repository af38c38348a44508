"""Settings of the predict command: each field is a flag and a YAML key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bioseg_cli.compute.jobs import jobs_or_scheduler
from bioseg_cli.config import (
    AXES_ABOUT,
    DEVICE_ABOUT,
    LEVEL_ABOUT,
    PLANES_ABOUT,
    AxisLetters,
    Config,
    DeviceName,
    Names,
    PrecisionName,
    StateName,
)
from bioseg_cli.io.axes import Stacks
from bioseg_cli.io.folders import ZARR_SUFFIX

RECORD_NAME = "predictions.yaml"
"""The record beside predicted masks: the model, the settings, every file and every failure."""

_RECORD_OF_PART = re.compile(r"predictions-[0-9]+-[0-9]+\.yaml")

PARTS_PREFIX = ".parts-"
"""What the names of temporary folders in the output folder begin with."""

DEFAULT_TILE = 1024
"""Side in pixels of the tiles, unless it is given or the free memory asks for less."""

OBJECTS_FOLDER = "objects"
"""In the output folder: the files of the objects of each image. The tables of all images have this name too."""

OVERLAYS_FOLDER, PROBABILITIES_FOLDER = "overlays", "probabilities"
"""In the output folder: what else was asked for of each image."""

BESIDE_MASKS = (OBJECTS_FOLDER, OVERLAYS_FOLDER, PROBABILITIES_FOLDER)
"""Folders in the output folder that hold no masks."""

OBJECT_FORMATS = ("labels", "table", "parquet", "rois", "geojson")
"""Files of objects, by what `--objects-format` calls them."""

DATASET_SUFFIXES = (".h5", ".hdf5")


def records_in(out: Path) -> list[Path]:
    """The records in an output folder: that of a whole prediction, and those of the parts of a job array.

    The record of the whole comes first. Parts that are there are younger, as a whole prediction removes their records.
    """
    if not out.is_dir():
        return []
    named = (path for path in out.iterdir() if path.name == RECORD_NAME or _RECORD_OF_PART.fullmatch(path.name))
    return sorted(filter(Path.is_file, named), key=lambda path: (path.name != RECORD_NAME, path.name))


def name_of_run(run: Path) -> str:
    """The name of a run directory or of a model, also where it is given as the working directory or the one above."""
    run = Path(os.path.normpath(run.absolute()))
    return run.stem if run.suffix == ".safetensors" else run.name


class PredictConfig(Config):
    """Masks for image files of any size, for volumes, or for the images of a prepared data set."""

    command: ClassVar[str] = "predict"
    example: ClassVar[str] = "runs/cells images --out predicted --overlay"
    panels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Output": ("out", "overlay", "objects", "objects_format", "lut", "probabilities", "raw_clusters"),
        "Images": (
            "recursive",
            "files_from",
            "skip_existing",
            "part",
            "axes",
            "planes",
            "level",
            "split",
            "axis",
            "any_dtype",
            "force",
        ),
        "Network": ("tta", "state", "head"),
        "Machine": ("device", "jobs", "tile", "overlap", "precision", "scheduler"),
    }

    run: Path = Field(
        json_schema_extra={"argument": True}, description="Run directory, or a .safetensors file from a run directory."
    )
    inputs: tuple[Path, ...] = Field(
        default=(),
        json_schema_extra={"argument": True},
        description="Image files, volumes (.nii, .nii.gz, .mnc), OME-Zarr images or plates (.zarr), folders of them, "
        "or a data set (.h5).",
    )
    out: Path = Field(
        default=None,  # type: ignore[assignment] # replaced below, as it has the name of the run in it
        description="Folder for predictions.yaml and the masks: one TIFF per image or one NIfTI file per volume, with "
        "the same name. The default is predicted/ and in it a folder with the name of the run. With the name of an "
        "OME-Zarr folder (.zarr), the masks of its images become labels in it, with the name of the run.",
    )
    state: StateName | None = Field(
        default=None,
        description="State of the run to predict with. The default is best-supervised, and best-final for a run of "
        "train-iic.",
    )
    head: Literal["main", "aux"] = Field(
        default="main", description="Head of a run of train-iic to predict with. Other runs have only main."
    )
    raw_clusters: bool = Field(
        default=False,
        description="Write the numbers of clusters instead of the classes that clusters were mapped to (train-iic).",
    )
    recursive: bool = Field(
        default=False,
        description="Also predict the images in subfolders of the folders given. OUT gets the same subfolders.",
    )
    files_from: str | None = Field(
        default=None,
        description="Also predict what this file names, with one path per line; - reads the standard input.",
    )
    skip_existing: bool = Field(
        default=False,
        description="Predict only what is new or changed since an earlier prediction into OUT. Images are compared by "
        "their content. With another model or setting everything is predicted again. Masks of images that are not "
        "given any more stay.",
    )
    part: str | None = Field(
        default=None,
        pattern=r"^[1-9][0-9]*/[1-9][0-9]*$",
        description="I/N: predict the I-th of N parts of the images, for job arrays. All parts may share OUT.",
    )
    split: Literal["train", "val", "test", "all"] = Field(default="val", description="Images of a data set to predict.")
    axes: AxisLetters | None = Field(default=None, description=AXES_ABOUT)
    planes: bool = Field(default=False, description=PLANES_ABOUT)
    level: int = Field(default=0, ge=0, description=LEVEL_ABOUT)
    axis: Literal["x", "y", "z"] | None = Field(
        default=None,
        description="Cut volumes into slices across x (left to right), y (back to front) or z (bottom to top). The "
        "default is the axis that is slowest in the file: it needs little memory even for large volumes. "
        "Across another axis the volume and its labels are held in memory.",
    )
    any_dtype: bool = Field(
        default=False,
        description="Accept images of another pixel type than the training images, if their intensities mean the same.",
    )
    force: bool = Field(
        default=False,
        description="Also predict images in which the network can see nothing, since their grey levels lie outside of "
        "the range of the training images or are all the same.",
    )
    tile: int | None = Field(
        default=None,
        ge=64,
        description="Side in pixels of the tiles that larger images are predicted in. The default is 1024, or less "
        "where the free memory is small. With instance or group norm it is always 1024, since the tile "
        "changes the result.",
    )
    overlap: int | None = Field(
        default=None,
        ge=0,
        description="Pixels that neighbouring tiles share. With the default, tiles change nothing (208 for the default "
        "network), or it is half of a small tile. A smaller overlap is faster, but the borders of tiles may"
        " show.",
    )
    tta: bool = Field(
        default=False,
        description="Test-time augmentation: average the predictions of the eight quarter turns and reflections of each"
        " tile. It takes eight times as long.",
    )
    overlay: bool = Field(
        default=False,
        description="Also write pictures with the outlines of the classes, or with tinted clusters, to OUT/overlays.",
    )
    objects: bool = Field(
        default=False,
        description="Also number and measure single objects. OUT/objects gets the files of each image, and "
        "OUT/objects.csv the table of all images.",
    )
    objects_format: Names = Field(
        default=("labels", "table", "rois", "geojson"),
        description="Files of objects to write, separated by commas: labels (a TIFF with one number per object), table "
        "(CSV), parquet (the table of all images, beside table), rois (a zip for ImageJ and Fiji), geojson (QuPath).",
    )
    lut: bool = Field(
        default=False,
        description="Give the masks the colours of the classes, which ImageJ and Fiji show. The values stay the same.",
    )
    probabilities: bool = Field(
        default=False, description="Also write the probability of each class or cluster to OUT/probabilities."
    )
    device: DeviceName = Field(default="auto", description=DEVICE_ABOUT)
    precision: PrecisionName = Field(
        default="auto", description="auto takes bfloat16 where the hardware multiplies it natively, else float32."
    )
    jobs: int = Field(
        default=1,
        ge=1,
        description="Processes on this machine that share the files. More than 1 needs the extra `cluster`.",
    )
    scheduler: str | None = Field(
        default=None,
        description="Address of a running Dask scheduler (tcp://HOST:8786) whose workers take the files instead.",
    )

    @property
    def stacks(self) -> Stacks:
        """What is said of files that hold several images."""
        return Stacks(self.axes, self.planes, level=self.level)

    @model_validator(mode="before")
    @classmethod
    def _a_folder_per_run(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("out") is None and isinstance(given.get("run"), str | Path):
            return {**given, "out": Path("predicted") / name_of_run(Path(given["run"]))}
        return given

    @property
    def zarr_labels(self) -> str | None:
        """The name of the label images in an OME-Zarr folder, where the masks go into one."""
        return name_of_run(self.run) if self.out.name.lower().endswith(ZARR_SUFFIX) else None

    @property
    def record_path(self) -> Path:
        """Where the record goes: into the output folder, or beside it where it is an OME-Zarr folder."""
        if self.zarr_labels is None:
            return self.out / self.record_name
        return self.out.with_name(f"{self.out.stem}-{self.zarr_labels}-{self.record_name}")

    @property
    def record_name(self) -> str:
        """The name of the record in the output folder."""
        if self.part is None:
            return RECORD_NAME
        return "-".join(("predictions", *self.part.split("/"))) + ".yaml"

    @model_validator(mode="after")
    def _something_is_given(self) -> Self:
        if not self.inputs and self.files_from is None:
            raise ValueError("nothing to predict was given: name images or folders, or give --files-from")
        return self

    @model_validator(mode="after")
    def _labels_alone_go_into_zarr(self) -> Self:
        if self.zarr_labels is not None:
            others = {"objects", "overlay", "probabilities", "skip_existing", "scheduler"} & self.model_fields_set
            named = [f"--{name.replace('_', '-')}" for name in sorted(others) if getattr(self, name)]
            named += ["--jobs"] if self.jobs > 1 else []
            if self.level:
                raise ValueError("--level: labels in an OME-Zarr folder have every level, so give a folder as --out")
            if named:
                raise ValueError(f"{', '.join(named)} cannot write into an OME-Zarr folder: give a folder as --out")
        return self

    @model_validator(mode="after")
    def _known_formats_of_objects(self) -> Self:
        unknown = [name for name in self.objects_format if name not in OBJECT_FORMATS]
        if unknown or not self.objects_format:
            raise ValueError(f"--objects-format: {', '.join(map(repr, unknown))} (known: {', '.join(OBJECT_FORMATS)})")
        if "parquet" in self.objects_format and "table" not in self.objects_format:
            raise ValueError("--objects-format: parquet holds the rows of table, so name both")
        if not self.objects and self.objects_format != PredictConfig.model_fields["objects_format"].default:
            raise ValueError("--objects-format says which files of objects are written, so give --objects too")
        if self.objects and self.raw_clusters:
            raise ValueError("--objects numbers the objects of classes, and --raw-clusters gives no classes")
        return self

    @model_validator(mode="after")
    def _part_exists(self) -> Self:
        if self.part is not None:
            number, count = map(int, self.part.split("/"))
            if number > count:
                raise ValueError(f"--part {self.part} names part {number} of {count}")
        return self

    @model_validator(mode="after")
    def _jobs_or_scheduler(self) -> Self:
        jobs_or_scheduler(self.jobs, self.scheduler)
        return self

    @model_validator(mode="after")
    def _tiles_advance(self) -> Self:
        largest = (DEFAULT_TILE if self.tile is None else self.tile) // 2
        if self.overlap is not None and self.overlap > largest:
            raise ValueError(f"--overlap must be at most half of --tile, {largest}")
        return self
