"""Recipe for the study's FluoHoechst: BBBC039v1, nuclei of U2OS cells, Hoechst stain.

520 x 696 pixels, 16 bit, one field a file. CC0. Cite Caicedo et al., Cytometry A 95:952 (2019), and Ljosa et al.,
Nature Methods 9:637 (2012). The red channel of a mask is the label: 0 is background, the other values colour touching
nuclei apart.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from bioseg_cli.config import ClassInfo, SplitName
from bioseg_cli.dataset.schema import Drawn, Pixels
from bioseg_cli.errors import DataError
from bioseg_cli.figures.palette import PALETTE
from bioseg_cli.io.folders import list_images
from bioseg_cli.masks.classes import BACKGROUND
from bioseg_cli.masks.mask_file import read_mask
from bioseg_cli.objects.labelled import numbered_objects
from bioseg_cli.prepare.download import Publication, Remote, fetch_unpacked
from bioseg_cli.prepare.recipe import Collection, SourceImage, common_pixel_size, file_frames, inspect_images
from bioseg_cli.prepare.recipes.settings import FluoHoechstConfig
from bioseg_cli.printable import listing
from bioseg_cli.runs.output import Output

LAYOUT = "DIR/images/*.tif, DIR/masks/*.png, DIR/metadata/{training,validation,test}.txt."
PUBLICATION = Publication(
    name="BBBC039v1",
    address="https://data.broadinstitute.org/bbbc/BBBC039",
    files=(
        Remote("images.zip", "6f30a5d4fe38c928ded972704f085975f8dc0d65d9aa366df00e5a9d449fddd7"),
        Remote("masks.zip", "f9e6043d8ca56344a4886f96a700d804d6ee982f31e2b2cd3194af2a053c2710"),
        Remote("metadata.zip", "a2c1f900bed9ba92a99553efd4c2ae98598433691c7401d818653ab61110deb2"),
    ),
    terms="public domain (CC0 1.0). Please cite Caicedo et al., Cytometry A 95:952 (2019), "
    "and Ljosa et al., Nature Methods 9:637 (2012).",
    by_hand=f"Or unpack the archives by hand and give --source DIR: {LAYOUT}",
)
LISTS: dict[SplitName, str] = {"train": "training.txt", "val": "validation.txt", "test": "test.txt"}
WELL = re.compile(r"_([A-P]\d{2})_s\d+_")


def collect(config: FluoHoechstConfig, output: Output) -> Collection:
    """Find fields, masks and official lists.

    Raises:
        DataError: not BBBC039's layout, no list at all, or a listed field that is missing.
    """
    source = config.source or fetch_unpacked(PUBLICATION, config.downloads, mirror=config.mirror, output=output)
    for folder in (source, source / "images"):
        if not folder.is_dir():
            raise DataError("There is no such folder", where=folder, fix=f"Expected: {LAYOUT}")
    paths = {path.stem: path for path in list_images([source / "images"])}
    notes: list[str] = []
    splits = _official_splits(source, notes) if config.split_by == "official" else {}
    if splits:
        missing = sorted(set(splits) - set(paths))
        if missing:
            raise DataError(
                f"{len(missing)} listed fields have no image: {listing(missing)}",
                where=source / "images",
                fix="Unpack images.zip again.",
            )
        if unlisted := len(paths) - len(splits):
            notes.append(f"{unlisted} images stand in no official list and were left out")
        paths = {stem: path for stem, path in paths.items() if stem in splits}
    infos = inspect_images(list(paths.values()), output)
    pixel_size, remarks = common_pixel_size(infos)
    images: list[SourceImage] = []
    for info in infos:
        stem = info.path.stem
        mask = source / "masks" / f"{stem}.png"
        well = WELL.search(stem)
        images += file_frames(
            info,
            file=info.path.name,
            group=well[1] if well else stem,
            mask=partial(_read_mask, mask) if mask.is_file() else None,
            official=splits.get(stem),
        )
    return Collection(
        images=tuple(images),
        classes=(BACKGROUND, ClassInfo(name="nucleus", colour=PALETTE[0])),
        channels=infos[0].channels,
        dtype=infos[0].dtype,
        keep_groups=config.split_by != "random",
        numbers_objects=True,
        masks_read_as="red above 0 is 'nucleus', the rest 'background'",
        pixel_size=pixel_size,
        notes=(*notes, *remarks),
    )


def drawn_nuclei(mask: Pixels) -> Drawn:
    """Foreground and nuclei of a mask (H, W, 3), or (H, W) where nothing is drawn: where red is above 0."""
    red = mask if mask.ndim == 2 else mask[..., 0]
    return Drawn((red > 0).astype(np.uint8), numbered_objects(red).numbers)


def _read_mask(path: Path, _frame: int) -> Drawn:
    return drawn_nuclei(read_mask(path))


def _official_splits(source: Path, notes: list[str]) -> dict[str, SplitName]:
    """The split of each field by the stem of its name; a missing list is noted."""
    splits: dict[str, SplitName] = {}
    for split, name in LISTS.items():
        path = source / "metadata" / name
        if not path.is_file():
            notes.append(f"metadata/{name} is not there: the {split} split is empty")
            continue
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").split():
            stem = Path(line).stem
            if splits.setdefault(stem, split) != split:
                raise DataError(f"{stem} stands in two official lists", where=path, fix="Unpack metadata.zip again.")
    if not splits:
        raise DataError(
            "None of the official lists is there",
            where=source / "metadata",
            fix="Unpack metadata.zip there, or draw the split with --split-by group.",
        )
    return splits
