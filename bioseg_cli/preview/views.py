"""What a preview shows: images as the augmentation of training changes them, by the code that training runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bioseg_cli.augment.affine import Affine
from bioseg_cli.augment.microscopy import LABELLED_SEVERITY, Capture, draw_capture
from bioseg_cli.augment.policy import (
    PHOTOMETRIC,
    ROTATION,
    Operation,
    StrongView,
    draw_strong,
    draw_strong_capture,
    draw_weak,
    draw_wide,
    parameter_of,
)
from bioseg_cli.dataset.batches import IGNORE, ImageBatch


@dataclass(frozen=True)
class Panel:
    """One picture: an image as the network would get it."""

    image: Tensor
    """(C, H, W) in [0, 1]."""
    labels: Tensor | None = None
    """(H, W) class codes that moved with it, `IGNORE` where a pixel counts nowhere; None where there is no mask."""
    caption: str = ""
    """What was drawn at random for this picture, in lines."""


@dataclass(frozen=True)
class SingleOperation:
    """A strong operation alone."""

    name: str
    meaning: str
    """What the magnitude is for it; empty where it has none."""
    view: StrongView
    """Of one image."""


def single_operations(magnitude: int, degrees: float, channels: int) -> list[SingleOperation]:
    """Each of the nine strong operations alone; those with a factor twice, as training takes it below or above 1.

    Args:
        magnitude: 1 to `MAGNITUDE_MAX`.
        degrees: of the rotation, which has no magnitude.
        channels: C of the images.
    """
    found = []
    for name in PHOTOMETRIC:
        identity = name == "color" and channels != 3
        for parameter in sorted({parameter_of(name, magnitude, sign) for sign in ((1,) if identity else (-1, 1))}):
            operation = Operation(name, parameter)
            meaning = "identity: not RGB" if identity else _meaning(operation)
            found.append(SingleOperation(name, meaning, StrongView(((operation,),), Affine.identity(1))))
    rotation = Affine.similarity(torch.tensor([degrees]))
    return [*found, SingleOperation(ROTATION, f"{degrees:.0f}° of 0° to 360°", StrongView(((),), rotation))]


def _meaning(operation: Operation) -> str:
    if operation.name == "solarize":
        return f"threshold {_short(operation.parameter)}"
    # A factor is never 0, and what has no parameter has 0.
    return f"factor {_short(operation.parameter)}" if operation.parameter else ""


def _short(number: float) -> str:
    return f"{round(number, 2):g}"


def strong_panels(
    batch: ImageBatch,
    operations: Sequence[SingleOperation],
    random_views: int,
    count: int,
    random: np.random.Generator,
    *,
    deep: bool,
) -> Iterator[Panel]:
    """The image of a batch of one, it after each operation alone, and strong views of it drawn as in training.

    Args:
        batch: one image.
        operations: what is applied alone.
        random_views: number of the strong views.
        count: operations of each of them.
        random: draws them.
        deep: whether the stored pixels have more than 8 bits.
    """
    yield Panel(batch.images[0])
    for operation in operations:
        yield Panel(_applied(operation.view, batch.images, deep))
    for _ in range(random_views):
        view = draw_strong(1, count, random)
        yield Panel(_applied(view, batch.images, deep), caption=_strong_caption(view))


def microscopy_panels(
    batch: ImageBatch,
    captures: Iterable[Capture],
    spread: float,
    draws: int,
    random: np.random.Generator,
    *,
    exposure: float = 1.0,
) -> Iterator[Panel]:
    """The image of a batch of one, it after each change alone, and what training draws of it, labelled and strong.

    Args:
        batch: one image.
        captures: what is applied alone.
        spread: as in `draw_capture`.
        draws: number of the labelled images, and of the strong views.
        random: draws them.
        exposure: as in `draw_capture`.
    """
    yield Panel(batch.images[0])
    for capture in captures:
        yield Panel(capture.apply(batch.images)[0])
    for _ in range(draws):
        drawn = draw_capture(1, spread, random, severity=LABELLED_SEVERITY, exposure=exposure)
        yield Panel(drawn.apply(batch.images)[0], caption=_capture_caption(drawn))
    for _ in range(draws):
        view = draw_strong_capture(1, spread, random, exposure=exposure)
        assert view.capture is not None
        rotated, _, _ = view.rotation.as_similarity()
        turned = f"{ROTATION} {float(rotated) % 360:.0f}°"
        yield Panel(
            _applied(view, batch.images, deep=False), caption=f"{_capture_caption(view.capture)}\n{turned}".strip()
        )


def capture_meaning(capture: Capture) -> list[str]:
    """What a capture of one image changes, in numbers, a line each; nothing of what it leaves as it is."""
    lines = []
    for name, value, neutral in (
        ("gain", capture.gain, 1.0),
        ("offset", capture.offset, 0.0),
        ("gamma", capture.gamma, 1.0),
        ("blur", capture.blur, 0.0),
        ("sharpen", capture.sharpen, 0.0),
        ("resolution", capture.resolution, 1.0),
        ("photons", capture.photons, float("inf")),
        ("noise", capture.noise, 0.0),
    ):
        if (number := float(value[0])) != neutral:
            shown = f"{number:.0f}" if name == "photons" else f"{number:.2g}".replace("-", "−")
            lines.append(f"{name} {shown}")
    if (light := float(capture.shading[0].abs().sum())) > 0:
        lines.append(f"shading {light:.0%}")
    return lines


def _capture_caption(capture: Capture) -> str:
    return "\n".join(capture_meaning(capture))


def _applied(view: StrongView, images: Tensor, deep: bool) -> Tensor:
    return view.rotation.warp(view.colour(images, deep=deep))[0]


def _strong_caption(view: StrongView) -> str:
    lines = [
        f"{operation.name} {_short(operation.parameter)}" if _meaning(operation) else operation.name
        for operation in view.operations[0]
    ]
    if not view.rotation.is_identity():
        degrees, _, _ = view.rotation.as_similarity()
        lines.append(f"{ROTATION} {float(degrees) % 360:.0f}°")
    return "\n".join(lines)


def weak_panels(
    batch: ImageBatch, draws: int, random: np.random.Generator, *, labelled: bool, wide: bool = False
) -> Iterator[Panel]:
    """The image of a batch of one, and it after weak transforms drawn as in training, its labels moved with it.

    Args:
        batch: one image.
        draws: number of the transforms.
        random: draws them.
        labelled: whether the image has a mask.
        wide: the wide transform instead, mirrored at the frame.
    """
    labels = batch.labels if labelled else None
    yield Panel(batch.images[0], None if labels is None else labels[0])
    for _ in range(draws):
        weak = (draw_wide if wide else draw_weak)(1, random)
        yield Panel(
            weak.warp(batch.images, mirrored=wide)[0],
            None if labels is None else weak.warp(labels, "nearest", fill=0 if wide else IGNORE, mirrored=wide)[0],
            _weak_caption(weak),
        )


def _weak_caption(weak: Affine) -> str:
    degrees, scale, flip = (value.item() for value in weak.as_similarity())
    turned = f"rotation {degrees:.1f}°".replace("-", "−")
    return f"scale {scale:.3f}\n{turned}" + ("\nflipped" if flip else "")
