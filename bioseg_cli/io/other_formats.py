"""Formats of images that are not read: what each is called, and how its images become TIFFs."""

from __future__ import annotations

from pathlib import Path

_FIJI = "Open it in Fiji (Plugins > Bio-Formats), and save it as TIFF."
_SLIDE = "Export the regions of interest as OME-TIFF with QuPath, or convert it with bioformats2raw and raw2ometiff."
_N5 = "Convert it to OME-TIFF with raw2ometiff, or open it in Fiji and save it as TIFF."
_PICTURE = "Save it as PNG or TIFF."
_MOVIE = "Open it in Fiji (File > Import > Movie), and save its frames as TIFF."
_ARRAY = "Save the array as TIFF, for instance with tifffile.imwrite."
_VOLUME = "Open it in Fiji, and save the planes that matter as TIFF."

_FORMATS = {
    "a Zeiss file": ((".zvi",), _FIJI),
    "a Leica file": ((".lof", ".xlef", ".lei"), _FIJI),
    "an Olympus file": ((".oir", ".oib", ".oif", ".poir"), _FIJI),
    "an Olympus slide": ((".vsi",), _SLIDE),
    "an Imaris file": ((".ims",), _FIJI),
    "a DeltaVision or MRC file": ((".dv", ".r3d", ".mrc"), _FIJI),
    "a SlideBook file": ((".sld", ".sldy"), _FIJI),
    "an Opera Flex file": ((".flex",), _FIJI),
    "a Gatan file": ((".dm3", ".dm4"), _FIJI),
    "an ICS file": ((".ics", ".ids"), _FIJI),
    "a whole slide": ((".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".qptiff"), _SLIDE),
    "an N5 folder": ((".n5",), _N5),
    "a picture format that is not read": (
        (".gif", ".webp", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".pgm", ".ppm"),
        _PICTURE,
    ),
    "a movie": ((".avi", ".mp4", ".mov", ".mkv", ".wmv"), _MOVIE),
    "an array of NumPy": ((".npy", ".npz"), _ARRAY),
    "a volume": ((".nii", ".nii.gz", ".mnc", ".nrrd", ".dcm"), _VOLUME),
}
"""By what a file is called: the suffixes, and what to do."""

_BY_SUFFIX = {suffix: (name, remedy) for name, (suffixes, remedy) in _FORMATS.items() for suffix in suffixes}

OTHER_SUFFIXES = tuple(_BY_SUFFIX)
"""What the names of images end in that are not read."""


def what_it_is(path: Path) -> tuple[str, str]:
    """What a file with one of `OTHER_SUFFIXES` is, and what to do with it, a sentence."""
    return next(about for suffix, about in _BY_SUFFIX.items() if path.name.lower().endswith(suffix))
