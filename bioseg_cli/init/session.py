"""From folders to settings and commands: the data set is made on trial, looked at and thrown away."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bioseg_cli.dataset.reader import Dataset
from bioseg_cli.errors import UsageError
from bioseg_cli.init.commands import commands_of, data_path, from_folder, script_of
from bioseg_cli.init.result import FoundData, InitResult
from bioseg_cli.init.settings import InitConfig
from bioseg_cli.io.files import temporary_path, write_bytes, write_failure, write_text
from bioseg_cli.io.folders import IMAGE_SUFFIXES, VOLUME_SUFFIXES, files_in, with_suffix
from bioseg_cli.io.names import on_any_disk, stem_within
from bioseg_cli.io.ownership import owned_file
from bioseg_cli.prepare import session as prepare
from bioseg_cli.prepare.result import PreparationResult
from bioseg_cli.runs.output import Output

_RUNS = 0o755


def run(config: InitConfig, output: Output, *, overwrite: bool) -> InitResult:
    """Look at the folders, and write the settings, the commands and a picture.

    Raises:
        UsageError: no folder of images is given, a file exists already, or settings that do not fit the images.
        DataError: see `prepare.session.run`: what `bioseg prepare folder` would refuse is refused here.
    """
    with owned_files(config, output, overwrite=overwrite):
        return write(config, look(config, output))


@contextmanager
def owned_files(config: InitConfig, output: Output, *, overwrite: bool) -> Iterator[None]:
    """Keep other processes from the files to write.

    Raises:
        UsageError: one of them exists and may not be replaced, or the record of the data set would replace one.
    """
    settings, *_ = files = _files(config)
    with owned_file(settings, say=output.say):
        if not overwrite and (existing := next((path for path in files if path.exists()), None)):
            fix = "Choose another --name, or give --overwrite."
            raise UsageError("The file exists already", where=existing, fix=fix)
        record = config.data_set(out=config.folder / data_path(config)).manifest_path
        if record.resolve() == settings.resolve():
            what = "The settings would be where `bioseg prepare` writes the record of the data set"
            raise UsageError(what, where=settings, fix="Choose another --name, or another name or folder for --out.")
        yield


def look(config: InitConfig, output: Output) -> FoundData:
    """What a data set of the folders holds, found by making it as `bioseg prepare folder` will; see `run`."""
    if config.images is None:
        raise UsageError("--images is needed", fix="Give the folder of the images.")
    with _temporary_folder(config) as folder:
        trial = config.data_set(out=folder / f"{config.called}.h5", picture=True)
        made = prepare.run(trial, output, overwrite=False)
        with Dataset(made.path) as dataset:
            sources = [dataset.source(index) for index in range(dataset.size)]
            unlabelled = [dataset.name(index) for index in range(dataset.size) if not dataset.labelled[index]]
        files = {source.file for source in sources}
        frames = {(source.file, source.frame): source.shape for source in sources}
        return FoundData(
            files=len(files),
            images=len(frames),
            sizes=dict(Counter(frames.values()).most_common()),
            channels=made.image_shape[0],
            dtype=made.image_dtype,
            labelled=sum(counts["labelled"] for counts in made.images.values()),
            training=made.images.get("train", {}).get("labelled", 0),
            unlabelled=tuple(unlabelled),
            classes=made.classes,
            masks=made.masks,
            notes=made.notes,
            predictable=_is_predictable(config, config.images, made, files),
            picture=trial.picture_path.read_bytes(),
        )


def picture_path(config: InitConfig) -> Path:
    """Where the picture goes."""
    return config.folder / f"{config.called}.png"


def write_picture(config: InitConfig, found: FoundData) -> Path:
    """Write the picture of what was found."""
    write_bytes(picture_path(config), found.picture)
    return picture_path(config)


def write(config: InitConfig, found: FoundData) -> InitResult:
    """Write the files of what was found."""
    settings, script, _ = _files(config)
    commands = commands_of(config, found)
    picture = write_picture(config, found)
    write_text(settings, _yaml(config))
    write_text(script, script_of(commands))
    script.chmod(_RUNS)
    return InitResult(found, settings, script, picture, commands)


def _files(config: InitConfig) -> tuple[Path, Path, Path]:
    settings, script = (config.folder / f"{config.called}{suffix}" for suffix in (".yaml", ".sh"))
    return settings, script, picture_path(config)


def _yaml(config: InitConfig) -> str:
    """The settings of `bioseg prepare folder` that were given, with paths as seen from the folder of the files."""
    data_set = config.data_set(out=data_path(config))
    places = {
        name: from_folder(path, config.folder) for name in ("images", "masks") if (path := getattr(data_set, name))
    }
    values = data_set.model_copy(update=places).model_dump(mode="json", include=data_set.model_fields_set)
    order = [name for names in config.panels.values() for name in names]
    ordered = {name: values[name] for name in sorted(values, key=order.index)}
    return "# Settings of: bioseg prepare folder\n" + yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True)


@contextmanager
def _temporary_folder(config: InitConfig) -> Iterator[Path]:
    """A folder for the trial where there is room for the data set, too."""
    temporary = temporary_path(config.folder / config.called)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise write_failure(error, temporary) from error
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_predictable(config: InitConfig, images: Path, made: PreparationResult, files: set[str]) -> bool:
    """Whether `bioseg predict` would take these images from the folder, with these channels, and no other file."""
    if config.channel or made.left_out:
        return False
    inside = with_suffix(files_in(images, recursive=config.recursive), (*IMAGE_SUFFIXES, *VOLUME_SUFFIXES))
    names = {path.relative_to(images).as_posix() for path in inside}
    stems = {on_any_disk(stem_within(path, images).as_posix()) for path in inside}
    return names == files and len(stems) == len(names)
