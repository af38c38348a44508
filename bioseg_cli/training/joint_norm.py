"""Batch norm over the batch that several processes share, for devices where `torch.nn.SyncBatchNorm` does not work.

N values a channel over all processes, of which each has as many. B images a process, C channels, H x W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class JointBatchNorm2d(nn.BatchNorm2d):
    """Batch norm by the mean and variance of the batches of all processes together, while it trains.

    Every process has to call it as often, with as many values. Running statistics are those of one process that sees
    the whole batch.
    """

    @classmethod
    def sharing(cls, norm: nn.BatchNorm2d) -> JointBatchNorm2d:
        """One with the very parameters and running statistics of `norm`."""
        joint = cls(norm.num_features, norm.eps, norm.momentum)
        joint.weight, joint.bias = norm.weight, norm.bias
        joint.running_mean, joint.running_var = norm.running_mean, norm.running_var
        joint.num_batches_tracked = norm.num_batches_tracked
        return joint

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, H, W); in evaluation mode by the running statistics, without the other processes."""
        if not self.training:
            return super().forward(features)
        normalised: Tensor
        normalised, mean, variance = _JointNormalisation.apply(features, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        if self.track_running_stats:
            self._follow(mean, variance, dist.get_world_size() * features[:, 0].numel())
        return normalised

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


class _JointNormalisation(torch.autograd.Function):
    """(features - mean) / sqrt(variance + eps) * weight + bias, and how it is derived (Ioffe and Szegedy 2015)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised features in their own type, and mean and variance (C) in that of the weights."""
        # Running statistics that go nowhere, but are of the type that sums of half precision are wanted in.
        nowhere = weight.new_zeros(2, len(weight))
        own = torch.stack(torch.batch_norm_update_stats(features, nowhere[0], nowhere[1], 0.0))
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        means, variances = torch.stack(parts, dim=1)
        mean = means.mean(dim=0)
        # Not the mean of squares less the square of the mean, which loses the digits that the two have in common.
        variance = variances.mean(dim=0) + (means - mean).square().mean(dim=0)
        ctx.save_for_backward(features, weight, mean, variance)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(features, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Of the features the whole gradient; of weight and bias this process's part, as of every other parameter."""
        features, weight, mean, variance = ctx.saved_tensors
        # As if mean and variance were constants.
        inward, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, features, weight, mean, variance, None, None, False, ctx.eps, (True, True, True)
        )
        shares = torch.stack([of_weight, of_bias])
        dist.all_reduce(shares)
        # They depend on every value: the mean gradient, and the mean of what goes along with the features, are taken
        # out. That is the normalisation of the features by another weight and bias.
        shares *= weight * torch.rsqrt(variance + ctx.eps) / (dist.get_world_size() * features[:, 0].numel())
        inward -= F.batch_norm(features, mean, variance, shares[0], shares[1], eps=ctx.eps)
        return inward, of_weight, of_bias, None
