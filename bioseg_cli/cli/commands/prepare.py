"""`bioseg prepare demo|folder|fluohoechst|phc|fluogfp|bigbrain`: files to a data set."""

from __future__ import annotations

from typing import Any

from bioseg_cli.errors import Interrupted
from bioseg_cli.prepare.recipes.bigbrain_settings import BigBrainConfig
from bioseg_cli.prepare.recipes.settings import DemoConfig, FluoGFPConfig, FluoHoechstConfig, FolderConfig, PhCConfig
from bioseg_cli.prepare.settings import PrepareConfig
from bioseg_cli.runs.console import Output


def prepare_demo(config: DemoConfig, output: Output, overwrite: bool) -> None:
    """Generate microscope images with exact masks: everything can be tried without any data."""
    _prepare(config, output, overwrite)


def prepare_folder(config: FolderConfig, output: Output, overwrite: bool) -> None:
    """Make a data set from your own images, and masks for some of them or none."""
    _prepare(config, output, overwrite)


def prepare_fluohoechst(config: FluoHoechstConfig, output: Output, overwrite: bool) -> None:
    """Make the study's FluoHoechst (BBBC039: U2OS nuclei), from --source or downloaded."""
    _prepare(config, output, overwrite)


def prepare_phc(config: PhCConfig, output: Output, overwrite: bool) -> None:
    """Make the study's PhC (PhC-C2DH-U373: cells in phase contrast), from --source or downloaded."""
    _prepare(config, output, overwrite)


def prepare_fluogfp(config: FluoGFPConfig, output: Output, overwrite: bool) -> None:
    """Make the study's FluoGFP (Fluo-N2DL-HeLa: HeLa nuclei), from --source or downloaded."""
    _prepare(config, output, overwrite)


def prepare_bigbrain(config: BigBrainConfig, output: Output, overwrite: bool) -> None:
    """Make the study's BigBrain: slices of a volume at random rotations, from --image and --labels or downloaded."""
    try:
        _prepare(config, output, overwrite)
    except KeyboardInterrupt:
        if not config.workspace.is_dir():
            raise
        raise Interrupted(
            "Stopped", where=config.workspace, fix="Repeat the command with --resume to go on from the files there."
        ) from None


def _prepare(config: PrepareConfig, output: Output, overwrite: bool) -> None:
    from bioseg_cli.prepare import session

    summary = session.run(config, output, overwrite=overwrite)
    _show(summary, output)
    output.result(summary)


def _show(summary: dict[str, Any], output: Output) -> None:
    from rich.table import Table
    from rich.text import Text

    from bioseg_cli.dataset.area import with_share

    channels, height, width = summary["image_shape"]
    table = Table(title=summary["path"])
    table.add_column("split")
    table.add_column("labelled", justify="right")
    table.add_column("unlabelled", justify="right")
    for name in summary["classes"]:
        table.add_column(Text(name), justify="right")
    for split, counts in summary["images"].items():
        shares = summary["class_shares"].get(split, {})
        cells = [f"{shares[name]:.1%}" if name in shares else "-" for name in summary["classes"]]
        area = summary["labelled_area"].get(split, {})
        table.add_row(split, with_share(counts["labelled"], [area.get("share")]), str(counts["unlabelled"]), *cells)
    output.show(table)
    normalisation = summary["normalisation"]
    ranges = ", ".join(
        f"{low:g} to {high:g}" for low, high in zip(normalisation["low"], normalisation["high"], strict=True)
    )
    method = "minimum and maximum" if normalisation["method"] == "minmax" else "0.1 and 99.9 percentiles"
    depth = f"{channels} channel{'s' if channels > 1 else ''} of {summary['image_dtype']}"
    lines = [
        f"images   {height} x {width} pixels, {depth}",
        f"0 to 1   {ranges} ({method} of the training images)",
        f"masks    {summary['masks']}",
        *_labelled_lines(summary["labelled_area"]),
        *(f"note     {note}" for note in summary["notes"]),
        *([f"picture  {summary['picture']}"] if "picture" in summary else []),
    ]
    output.show(Text("\n".join(lines)))


def _labelled_lines(areas: dict[str, dict[str, Any]]) -> list[str]:
    """How much of the labelled images has a label, where that is not all."""
    from bioseg_cli.dataset.area import per_cent

    said = [
        f"{area['pixels']} pixels in {split} ({per_cent(area['share'])} % of its labelled images)"
        for split, area in areas.items()
        if area["share"] < 1
    ]
    return [f"labels   {', '.join(said)}"] if said else []
