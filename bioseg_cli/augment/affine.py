"""One object moves images, labels and probabilities alike, and can be composed and undone.

A transform maps an input pixel to where it goes: on (row, column) offsets from the image centre,
((H - 1) / 2, (W - 1) / 2), output = A @ input + t, in pixels. Angles and lengths mean pixels whatever the aspect of
the image (a rotation matrix in normalised coordinates would be a shear on anything but a square).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Affine:
    """A batch of affine transforms.

    Attributes:
        matrix: (B, 2, 3) float64 on the CPU: A and t of each, on (row, column) offsets in pixels. Double precision
            costs nothing on six numbers and keeps long compositions exact.
    """

    matrix: Tensor

    @classmethod
    def identity(cls, batch: int) -> Affine:
        """`batch` transforms that change nothing."""
        return cls(torch.eye(2, 3, dtype=torch.float64).repeat(batch, 1, 1))

    @classmethod
    def similarity(cls, degrees: Tensor, scale: Tensor | None = None, flip: Tensor | None = None) -> Affine:
        """Flip columns where `flip` is true, then rotate counter-clockwise as displayed, then scale; each (B,)."""
        angle = torch.deg2rad(degrees.to(torch.float64))
        cos, sin = torch.cos(angle), torch.sin(angle)
        # Rows grow downwards: a counter-clockwise turn sends (0, +1), right, to (-1, 0), up.
        rotation = torch.stack([cos, -sin, sin, cos], dim=1).reshape(len(degrees), 2, 2)
        if scale is not None:
            rotation = rotation * scale[:, None, None]
        if flip is not None:
            rotation = rotation * torch.where(flip[:, None, None], torch.tensor([1.0, -1.0]), 1.0)
        return cls(F.pad(rotation, (0, 1)))

    def as_similarity(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `similarity` makes these transforms of, if it can: degrees within 180, scale and flip, each (B,)."""
        linear = self.matrix[:, :, :2]
        # Only the columns of the image are flipped: the first column of the matrix is that of the rotation.
        degrees = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
        determinant = torch.linalg.det(linear)
        return degrees, determinant.abs().sqrt(), determinant < 0

    @property
    def batch(self) -> int:
        """B, the number of transforms."""
        return len(self.matrix)

    def after(self, first: Affine) -> Affine:
        """The composition that applies `first`, then this one."""
        linear = self.matrix[:, :, :2] @ first.matrix[:, :, :2]
        shift = self.matrix[:, :, :2] @ first.matrix[:, :, 2:] + self.matrix[:, :, 2:]
        return Affine(torch.cat([linear, shift], dim=2))

    def inverse(self) -> Affine:
        """The transforms that bring everything back."""
        linear = torch.linalg.inv(self.matrix[:, :, :2])
        return Affine(torch.cat([linear, -linear @ self.matrix[:, :, 2:]], dim=2))

    def where(self, chosen: Tensor) -> Affine:
        """These transforms where `chosen` (B,) is true, the identity elsewhere."""
        return Affine(torch.where(chosen[:, None, None], self.matrix, Affine.identity(self.batch).matrix))

    def is_identity(self) -> bool:
        """Whether nothing would move."""
        return torch.equal(self.matrix, Affine.identity(self.batch).matrix)

    def grid(self, height: int, width: int, *, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, H, W, 2) sampling positions for `grid_sample` with `align_corners=False`.

        Its normalised coordinate is twice the offset from the centre over the length, hence the scaling.
        """
        back = self.inverse().matrix
        # `affine_grid` works on (x, y) = (column, row) and reads the source position of each output pixel.
        theta = back[:, [1, 0]][:, :, [1, 0, 2]].clone()
        lengths = torch.tensor([width, height], dtype=torch.float64)
        theta[:, :, :2] *= lengths[None, None, :] / lengths[None, :, None]
        theta[:, :, 2] *= 2 / lengths
        return F.affine_grid(theta.to(device, dtype), [self.batch, 1, height, width], align_corners=False)

    def warp(
        self,
        images: Tensor,
        mode: Literal["bilinear", "nearest"] = "bilinear",
        *,
        fill: float = 0.0,
        mirrored: bool = False,
    ) -> Tensor:
        """Move (B, C, H, W) images or probabilities, or (B, H, W) labels, in one resampling.

        Args:
            images: floating point, or integer labels with mode "nearest".
            mode: "bilinear" for intensities and probabilities, "nearest" for labels.
            fill: what comes in from outside the frame.
            mirrored: the frame goes on as its mirror image instead.
        """
        if self.is_identity():
            return images
        maps = images if images.dim() == 4 else images[:, None]
        working = maps if maps.is_floating_point() else maps.to(torch.float32)
        grid = self.grid(*maps.shape[2:], device=maps.device, dtype=working.dtype)
        # grid_sample fills with 0; shifting by `fill` makes that the wanted value.
        shifted = working - fill if fill else working
        outside = "reflection" if mirrored else "zeros"
        moved = F.grid_sample(shifted, grid, mode=mode, padding_mode=outside, align_corners=False)
        moved = moved + fill if fill else moved
        if not maps.is_floating_point():
            moved = moved.round().to(images.dtype)
        return moved if images.dim() == 4 else moved[:, 0]

    def valid_mask(self, shown: Tensor, *, mirrored: bool = False) -> Tensor:
        """(B, 1, H, W): 1 where a moved image takes all its value from what the unmoved one shows, else 0.

        Args:
            shown: (B, 1, H, W), 1 where the unmoved image shows its source and 0 where it is padding; the frame's
                outside is never shown.
            mirrored: the frame goes on as its mirror image, which is shown where the image is.
        """
        # Whatever mixes in a share of outside falls short of 1; the slack covers float32 rounding.
        return (self.warp(shown, mirrored=mirrored) > 1 - 1e-4).to(shown.dtype)
