"""The U-Net (Ronneberger, Fischer and Brox 2015) with any number of heads, for images of any size."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bioseg_cli.config import UNetConfig


class UNet(nn.Module):
    """Contracting and expanding path with skip connections, one 1x1 convolution a head.

    `variant="same"` pads every 3x3 convolution, so that the output has the input's size; the input is padded to
    a multiple of 2^depth inside `forward` and the output cropped back. `variant="original"` uses valid convolutions
    without normalisation and fills the margin they lose by mirroring the image, as the original's overlap-tile does.

    Args:
        config: channels, heads, width of the first level (each level doubles it), depth, normalisation, dropout.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        self.down = nn.ModuleList(
            _double_convolution(config, before, after)
            for before, after in zip([config.in_channels, *widths[:-1]], widths, strict=True)
        )
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in reversed(range(config.depth))
        )
        self.up = nn.ModuleList(
            _double_convolution(config, 2 * widths[level], widths[level]) for level in reversed(range(config.depth))
        )
        self.heads = nn.ModuleDict({name: nn.Conv2d(widths[0], count, 1) for name, count in config.heads.items()})
        self.dropout = nn.Dropout(config.dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits (B, K, H, W) of each head by name, for images (B, C, H, W)."""
        height, width = images.shape[2:]
        if self.config.variant == "original":
            features = self.trunk(mirror_pad(images, self.config.depth))
        else:
            features = self.trunk(pad_to_multiple(images, 2**self.config.depth))
        features = features[:, :, :height, :width]
        return {name: head(features) for name, head in self.heads.items()}

    def trunk(self, features: Tensor) -> Tensor:
        """Features (B, width, H, W) that the heads read, of padded images (B, C, H, W)."""
        skips = []
        depth = self.config.depth
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else F.max_pool2d(features, 2))
            if level >= depth - 1:
                features = self.dropout(features)
            skips.append(features)
        for skip, rise, block in zip(reversed(skips[:-1]), self.rise, self.up, strict=True):
            risen = rise(features)
            kept = skip if self.config.variant == "same" else _centre_crop(skip, risen)
            features = block(torch.cat([kept, risen], dim=1))
        return features


def _double_convolution(config: UNetConfig, before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    same = config.variant == "same"
    for channels in (before, after):
        # A normalisation right behind takes any constant out again: the bias would be a dead parameter.
        plain = config.norm == "none"
        layers.append(nn.Conv2d(channels, after, 3, padding=1 if same else 0, bias=plain))
        if not plain:
            layers.append(_normalisation(config.norm, after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _normalisation(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.GroupNorm(next(groups for groups in (8, 4, 2, 1) if channels % groups == 0), channels)


def folded(network: UNet) -> UNet:
    """A copy for prediction: batch norms, constant then, have become part of the convolutions before them.

    Other normalisations depend on the image and stay.
    """
    network = copy.deepcopy(network).eval()
    for blocks in (network.down, network.up):
        for number, block in enumerate(blocks):
            layers: list[nn.Module] = []
            for layer in block.children():
                if isinstance(layer, nn.BatchNorm2d):
                    layers[-1] = fuse_conv_bn_eval(layers[-1], layer)  # type: ignore[type-var]
                else:
                    layers.append(layer)
            blocks[number] = nn.Sequential(*layers)
    return network


def _centre_crop(features: Tensor, target: Tensor) -> Tensor:
    top = (features.shape[2] - target.shape[2]) // 2
    left = (features.shape[3] - target.shape[3]) // 2
    return features[:, :, top : top + target.shape[2], left : left + target.shape[3]]


def pad_to_multiple(images: Tensor, multiple: int, *, always: bool = False) -> Tensor:
    """Repeat the last row and column until height and width are multiples, at least two; the origin stays.

    `always` also calls the padding where it adds nothing: a traced graph would else be for one of the two cases.
    """
    # From a single multiple the deepest level would be one pixel, which has no statistics to normalise by.
    bottom, right = (max(length + -length % multiple, 2 * multiple) - length for length in images.shape[2:])
    if not (always or bottom or right):
        return images
    return F.pad(images, (0, right, 0, bottom), mode="replicate")


def mirror_pad(images: Tensor, depth: int) -> Tensor:
    """Mirror the margin that valid convolutions lose, and enlarge to a size their pooling divides.

    The network loses 4 (3 * 2^depth - 2) pixels a side length and gives outputs of 4 + 2^depth k: 572 to 388 at
    depth 4.
    """
    lost = 4 * (3 * 2**depth - 2)
    rows, columns = (
        _mirrored(length, lost // 2, max(0, -(-(length - 4) // 2**depth)) * 2**depth + 4 + lost)
        for length in images.shape[2:]
    )
    return images[:, :, rows.to(images.device)][:, :, :, columns.to(images.device)]


def _mirrored(length: int, before: int, total: int) -> Tensor:
    if length == 1:
        return torch.zeros(total, dtype=torch.int64)
    period = 2 * (length - 1)
    position = (torch.arange(total) - before) % period
    return torch.where(position < length, position, period - position)


@contextlib.contextmanager
def without_dropout(network: nn.Module) -> Iterator[None]:
    """Let every unit through, in training mode too; normalisations stay in their mode."""
    active = [module for module in network.modules() if isinstance(module, nn.Dropout) and module.training]
    try:
        for module in active:
            module.eval()
        yield
    finally:
        for module in active:
            module.train()


@contextlib.contextmanager
def own_batch_statistics(network: nn.Module) -> Iterator[None]:
    """Let batch norm use the statistics of the batch, in training and evaluation mode, and leave the running ones."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)]
    before = [norm.training for norm in norms]
    try:
        for norm in norms:
            norm.train()
            norm.track_running_stats = False
        yield
    finally:
        for norm, training in zip(norms, before, strict=True):
            norm.train(training)
            norm.track_running_stats = True
