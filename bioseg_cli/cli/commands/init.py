"""`bioseg init`: a few questions about a folder of images, and the commands to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from bioseg_cli.cli.binding import show_error
from bioseg_cli.cli.questions import Questions, may_ask
from bioseg_cli.cli.rejected import rejected_shown, table_of_files
from bioseg_cli.config import MaskKind, build_config, flag_of
from bioseg_cli.errors import BiosegError
from bioseg_cli.init.settings import NO_MASKS, PROPOSED_MINUTES, InitConfig
from bioseg_cli.io.files import write_bytes
from bioseg_cli.printable import listing
from bioseg_cli.runs.console import ConsoleOutput

if TYPE_CHECKING:
    from pathlib import Path

    from bioseg_cli.init.result import FoundData, InitResult

RIGHT = "right"
_OF_ERRORS = {
    "unlabelled_value": "Value of pixels that nobody drew (none: every pixel was drawn)",
    "axes": "Axes of the stacks, one letter per axis in their order, such as TYX",
    "classes": "Names of the classes, separated by commas, the background first",
    "masks_are": "What do the values of the masks mean?",
}
"""Questions to which an error may ask for an answer, by the setting."""


def init(config: InitConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Begin with a folder of images: answer a few questions, look at the data, and get the commands to run."""
    from rich.text import Text

    from bioseg_cli.init import proposals, session

    if may_ask(output) and not config.yes:
        result = _asked(config, output, overwrite)
    else:
        config = proposals.completed(config)
        with rejected_shown(output):
            result = session.run(config, output, overwrite=overwrite)
        output.show(Text(_facts(result.found, result.picture)))
    lines = [f"settings  {result.settings}", f"commands  {result.script}"]
    output.show(Text("\n".join([*lines, *(f"  {command.line}" for command in result.commands)])))
    output.show(Text(f"next      sh {result.script}, or one command after the other"))
    output.result(result.to_json())


def _asked(config: InitConfig, output: ConsoleOutput, overwrite: bool) -> InitResult:
    """The result with the answers of a person to all that was not given."""
    from bioseg_cli.init import proposals, session

    ask = Questions()
    images = config.images or ask.folder("Folder of the images", proposals.proposed_images())
    masks = config.masks
    if masks is None and images.is_dir():
        masks = ask.folder(
            f"Folder of the masks or drawn shapes ({NO_MASKS}: there are none yet)",
            proposals.proposed_masks(images),
            others=(NO_MASKS,),
        )
    config = _with(config, images=images, masks=masks)
    with session.owned_files(config, output, overwrite=overwrite):
        picture = session.picture_path(config)
        earlier = picture.read_bytes() if picture.is_file() else None
        try:
            config, found = _understood(config, ask, output)
            if found.labelled and config.minutes is None:
                minutes = ask.number_above_0("Minutes that the training may take", PROPOSED_MINUTES)
                config = _with(config, minutes=minutes)
        except BaseException:
            # The picture was for the questions that are not answered.
            if earlier is None:
                picture.unlink(missing_ok=True)
            else:
                write_bytes(picture, earlier)
            raise
        return session.write(config, found)


def _understood(config: InitConfig, ask: Questions, output: ConsoleOutput) -> tuple[InitConfig, FoundData]:
    """Look at the data until the person says that it is understood rightly."""
    from rich.text import Text

    from bioseg_cli.init import session
    from bioseg_cli.prepare.rejected import FilesRejected

    while True:
        try:
            found = session.look(config, output)
        except BiosegError as error:
            asked = next((name for name in _OF_ERRORS if _asks_for(error, name, config)), None)
            if asked is not None:
                show_error(error)
                config = _with(config, **{asked: _answer(asked, ask)})
            elif isinstance(error, FilesRejected):
                output.show(table_of_files(error.files, "Files that cannot be used"))
                if not ask.yes("Leave these files out and go on?", proposal=False):
                    raise error.beside_table() from None
                config = _with(config, skip_bad=True)
            else:
                raise
            continue
        output.show(Text(_facts(found, session.write_picture(config, found))))
        meant = _meant(config, found, ask)
        if not meant:
            return config, found
        config = _with(config, **meant)


def _asks_for(error: BiosegError, name: str, config: InitConfig) -> bool:
    return flag_of(name) in str(error) and not getattr(config, name)


def _answer(name: str, ask: Questions) -> str:
    return ask.text(_OF_ERRORS[name], choices=get_args(MaskKind) if name == "masks_are" else ())


def _meant(config: InitConfig, found: FoundData, ask: Questions) -> dict[str, Any]:
    """What the person says of the masks that differs from what was understood; nothing where that is right."""
    if not found.labelled or config.classes:
        return {}
    if config.masks_are is None:
        kinds = [RIGHT, *get_args(MaskKind)]
        kind = ask.text("Are the masks understood rightly? If not, what are they?", RIGHT, choices=kinds)
        if kind != RIGHT:
            return {"masks_are": kind}
    names = ask.text(_OF_ERRORS["classes"], ",".join(found.classes))
    return {} if names == ",".join(found.classes) else {"classes": names}


def _with(config: InitConfig, **answers: Any) -> InitConfig:
    given = {name: getattr(config, name) for name in config.model_fields_set}
    return build_config(InitConfig, {**given, **answers})


def _facts(found: FoundData, picture: Path) -> str:
    sizes = ", ".join(f"{count} of {height} x {width}" for (height, width), count in list(found.sizes.items())[:3])
    more = f" and {len(found.sizes) - 3} other sizes" if len(found.sizes) > 3 else ""
    channels = f"{found.channels} channel{'s' if found.channels > 1 else ''} of {found.dtype}"
    lines = [
        f"images    {found.images} in {found.files} files, {channels}",
        f"sizes     {sizes}{more} pixels (height x width)",
        f"masks     {found.labelled} of {found.images} images have one: {found.masks}",
        *([f"without   {listing(found.unlabelled)}"] if found.unlabelled and found.labelled else []),
        f"classes   {', '.join(found.classes)}",
        *(f"note      {note}" for note in found.notes),
        f"picture   {picture}",
    ]
    return "\n".join(lines)
