"""What commands have written, in a form that can be compared: two folders of equal results have equal contents."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import torch
import yaml
from PIL import Image
from safetensors import safe_open

PASSING = frozenset(
    {
        "times", "started", "finished", "written", "resumed", "ended", "seconds", "counts", "checksum", "command_line",
        "largest_batch",
    }
)  # fmt: skip
"""Keys and columns that say when something was done, in how many attempts, and how much of it in the last one."""


def contents(folder: Path) -> dict[str, Any]:
    """What the files below a folder hold, by their names; of temporary files, which must not be there, the name."""
    return {
        path.relative_to(folder).as_posix(): None if hidden(path, folder) else content(path, folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def hidden(path: Path, folder: Path) -> bool:
    """Whether a file below a folder has a temporary name, or is in such a folder."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def content(path: Path, folder: Path) -> Any:
    """What a file holds; raises an exception where the file is not whole.

    Args:
        path: of the file.
        folder: whose name is left out of what the file says.
    """
    if path.suffix == ".log":
        return None  # adds up what all attempts said
    if path.suffix in (".yaml", ".json"):
        text = path.read_text().replace(str(folder), "FOLDER")
        return lasting(yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text))
    if path.suffix == ".csv":
        with path.open() as stream:
            return [lasting(row) for row in csv.DictReader(stream, strict=True)]
    if path.suffix == ".pt":
        return lasting(torch.load(path, weights_only=True))
    if path.suffix == ".safetensors":
        return model(path)
    if path.suffix == ".h5":
        return arrays(path)
    return picture(path)


def model(path: Path) -> dict[str, Any]:
    """The weights and the card of a saved model, in whose file the order of the keys is any."""
    with safe_open(path, "numpy") as file:
        return {**file.metadata(), **{name: digest(file.get_tensor(name)) for name in file.keys()}}  # noqa: SIM118


def lasting(value: Any) -> Any:
    """The same without what passes, tensors and arrays by their digests."""
    if isinstance(value, Mapping):
        return {key: lasting(item) for key, item in value.items() if key not in PASSING}
    if isinstance(value, list | tuple):
        return [lasting(item) for item in value]
    return digest(value.numpy()) if isinstance(value, torch.Tensor) else value


def digest(array: Any) -> str:
    """The SHA-256 of type, shape and values."""
    values = np.ascontiguousarray(array)
    return hashlib.sha256(f"{values.dtype} {values.shape}".encode() + values.tobytes()).hexdigest()


def arrays(path: Path) -> dict[str, Any]:
    """All arrays and attributes of an HDF5 file."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:

        def take(name: str, stored: h5py.Group | h5py.Dataset) -> None:
            found[name] = {key: repr(value) for key, value in stored.attrs.items()}
            if isinstance(stored, h5py.Dataset):
                values = stored[()]
                found[f"{name}[]"] = values.tolist() if values.dtype.hasobject else digest(values)

        take("/", file)
        file.visititems(take)
    return found


def picture(path: Path) -> str:
    """The digest of the bytes of a mask or a picture that can be decoded."""
    if path.suffix in (".tif", ".tiff"):
        tifffile.imread(path)
    elif path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    return sha256(path)


def sha256(path: Path) -> str:
    """The SHA-256 of the bytes of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Names of files that only one of two folders has, or that hold different things."""
    nothing = object()
    return sorted(name for name in {*first, *second} if first.get(name, nothing) != second.get(name, nothing))
