"""A checksum of what is saved: tensors, numbers and texts, as deep as they are nested."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def checksum_of(content: Any) -> str:
    """SHA-256 of nested mappings and sequences of tensors, numbers and texts, in hexadecimal.

    It is of the values, not of a file: where a tensor lay in memory, and on which device, is of no account.
    """
    digest = hashlib.sha256()
    for part in _parts(content):
        digest.update(part)
    return digest.hexdigest()


def _parts(content: Any) -> Iterator[bytes | memoryview]:
    if isinstance(content, Tensor):
        values = content.detach().cpu().contiguous()
        yield f"{values.dtype}{tuple(values.shape)}".encode()
        yield values.reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(content, Mapping):
        yield f"mapping {len(content)}".encode()
        for key, value in content.items():
            yield from _parts(key)
            yield from _parts(value)
    elif isinstance(content, list | tuple):
        yield f"sequence {len(content)}".encode()
        for value in content:
            yield from _parts(value)
    else:
        yield f"{content!r};".encode()
