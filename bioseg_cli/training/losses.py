"""The losses: supervised Dice, and consistency between two views by KL divergence or mutual information.

B images, K classes, H x W pixels. Everything is computed in the type it is given: call it with float32, never with
half precision.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bioseg_cli.dataset.batches import IGNORE


def soft_dice_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    squared: bool = True,
    background: bool = True,
    pool_batch: bool = False,
    smooth: float = 1.0,
) -> Tensor:
    """1 - soft Dice (Milletari et al. 2016, equation 2), averaged over classes and images.

    A class that an image lacks still counts: its loss is S / (S + smooth), with S the sum of its squared probabilities
    there. With a smoothing of 1, doubts cost little and one false pixel costs half of all there is to lose. With 1e-5,
    doubts cost all of it: 128 x 128 pixels at a probability of 0.0003 have S = 0.0018 and a loss of 0.995, to which 500
    false pixels add 0.005.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) class codes; `IGNORE` pixels enter neither sum.
        squared: squared probabilities in the denominator, as in the paper; plain sums otherwise.
        background: whether class 0 counts.
        pool_batch: sum over the batch before the ratio, instead of a ratio for each image.
        smooth: added to numerator and denominator, in pixels.
    """
    counted = (labels != IGNORE)[:, None]
    probabilities = torch.softmax(logits, dim=1) * counted
    truth = F.one_hot(labels.clamp(min=0), logits.shape[1]).movedim(-1, 1).to(logits.dtype) * counted
    if not background:
        probabilities, truth = probabilities[:, 1:], truth[:, 1:]
    return _dice(probabilities, truth, (0, 2, 3) if pool_batch else (2, 3), squared=squared, smooth=smooth)


def _dice(probabilities: Tensor, truth: Tensor, axes: tuple[int, ...], *, squared: bool, smooth: float) -> Tensor:
    overlap = (probabilities * truth).sum(axes)
    sizes = (probabilities.square() if squared else probabilities).sum(axes) + truth.square().sum(axes)
    return (1 - (2 * overlap + smooth) / (sizes + smooth)).mean()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log probability of the right class, over all pixels of the batch that count.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) class codes; `IGNORE` pixels do not count. Where none counts the loss is 0.
    """
    counted = (labels != IGNORE).sum().clamp(min=1)
    return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum") / counted


def kl_consistency(
    weak_logits: Tensor,
    strong_probabilities: Tensor,
    valid: Tensor,
    *,
    temperature: float = 1.0,
    confidence: float | Tensor | None = None,
    stop_gradient: bool = True,
) -> Tensor:
    """KL(Y' || Y''), summed over classes, averaged over valid pixels (Xie et al. 2020, equation 1).

    Args:
        weak_logits: (B, K, H, W), of the weak view: the target Y'.
        strong_probabilities: (B, K, H, W), of the strong view, aligned to the weak one: Y''.
        valid: (B, 1, H, W), 1 where both views show the pixel; anything between 0 and 1 weighs it.
        temperature: of the target's softmax; below 1 it sharpens.
        confidence: pixels whose unsharpened target is not surer than this count as 0 in the average; one for all
            classes, or (K,), one for each class that the target may show.
        stop_gradient: whether the target is fixed.
    """
    if stop_gradient:
        weak_logits = weak_logits.detach()
    log_target = torch.log_softmax(weak_logits / temperature, dim=1)
    divergence = (log_target.exp() * (log_target - _log_prediction(strong_probabilities))).sum(dim=1, keepdim=True)
    counted = valid
    if confidence is not None:
        surest, target = torch.softmax(weak_logits.detach(), dim=1).max(dim=1, keepdim=True)
        counted = valid * (surest > _of_class(confidence, target))
    return _weighted_mean(divergence, counted, valid)


def pseudo_label_consistency(
    weak_logits: Tensor,
    strong_probabilities: Tensor,
    valid: Tensor,
    *,
    confidence: float | Tensor | None,
    dice: bool = False,
) -> Tensor:
    """Cross entropy with the weak view's most probable class (Sohn et al. 2020, FixMatch), over valid pixels.

    Args:
        weak_logits: (B, K, H, W), of the weak view; no gradient flows to them.
        strong_probabilities: (B, K, H, W), of the strong view, aligned to the weak one.
        valid: (B, 1, H, W), 1 where both views show the pixel; anything between 0 and 1 weighs it.
        confidence: pixels whose most probable class is less probable than this count as 0 in the average; one for all
            classes, or (K,), one for each. None counts all.
        dice: the mean of it and of soft Dice with the pseudo-labels, pooled over the batch. Pixels that do not count
            for the cross entropy enter none of Dice's sums.
    """
    surest, target = torch.softmax(weak_logits.detach(), dim=1).max(dim=1, keepdim=True)
    counted = valid if confidence is None else valid * (surest >= _of_class(confidence, target))
    entropy = _weighted_mean(-_log_prediction(strong_probabilities.gather(1, target)), counted, valid)
    if not dice:
        return entropy
    truth = torch.zeros_like(strong_probabilities).scatter_(1, target, 1.0)
    # The root in both factors weighs each of their products, and with them every sum, by the weight itself.
    root = counted.sqrt()
    return (entropy + _dice(root * strong_probabilities, root * truth, (0, 2, 3), squared=True, smooth=1.0)) / 2


def class_thresholds(weak_logits: Tensor, valid: Tensor, confidence: float) -> Tensor:
    """(K,) thresholds that fall with how sure a batch is of a class, so that a rare or hard one is not left out.

    FreeMatch's (Wang et al. 2023) scaling of one threshold to each class: confidence * m / max(m), with m the mean
    probability of a class over the pixels that are given to it. Here the means are those of the batch at hand, which
    has thousands of pixels, where an image classifier has to average over its last batches.

    Args:
        weak_logits: (B, K, H, W) of the target.
        valid: (B, 1, H, W), how much each pixel counts.
        confidence: threshold of the class that the batch is surest of. A class without a pixel has 0.
    """
    surest, target = torch.softmax(weak_logits.detach(), dim=1).max(dim=1, keepdim=True)
    given = torch.zeros_like(weak_logits).scatter_(1, target, valid)
    mean = (given * surest).sum(dim=(0, 2, 3)) / given.sum(dim=(0, 2, 3)).clamp(min=1)
    return confidence * mean / mean.max().clamp(min=torch.finfo(mean.dtype).tiny)


def ramp_up(progress: float, share: float) -> float:
    """The factor exp(-5 (1 - t)^2) of the unsupervised weight (Laine and Aila 2017), t from 0 to 1 over a share.

    Args:
        progress: share of the budget spent, in [0, 1].
        share: of the budget over which it rises from 0.0067 to 1; with 0 it is 1 from the start.
    """
    return math.exp(-5 * (1 - progress / share) ** 2) if progress < share else 1.0


def tsa_threshold(schedule: Literal["linear", "exp", "log"], progress: float, classes: int) -> float:
    """Training-signal annealing (Xie et al. 2020, section 2.3): up to which certainty labelled pixels are learnt from.

    Rises from 1 / K to 1 over training: `exp` late, for few labels; `log` early.

    Args:
        schedule: shape of the rise.
        progress: share of the budget spent, in [0, 1].
        classes: K.
    """
    share = {
        "linear": progress,
        "exp": math.exp(5 * (progress - 1)),
        "log": 1 - math.exp(-5 * progress),
    }[schedule]
    return share * (1 - 1 / classes) + 1 / classes


def drop_learnt(logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Labels with `IGNORE` where the right class of a labelled pixel is already more probable than `threshold`."""
    probabilities = torch.softmax(logits.detach(), dim=1)
    right = probabilities.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return torch.where(right > threshold, IGNORE, labels)


def mutual_information_loss(
    first: Tensor, second: Tensor, valid: Tensor, *, lamb: float = 1.0, shift: int = 0, collapsed: bool = False
) -> Tensor:
    """Negative mutual information of two aligned cluster maps (Ji et al. 2019, equations 3 and 5), in nats.

    The joint distribution is over all valid pixels of the batch, symmetrised; gradients flow to both maps.

    Args:
        first: (B, K, H, W) probabilities.
        second: the same of the other view, aligned to the first.
        valid: (B, 1, H, W), 1 where both show the pixel.
        lamb: weight of the marginal entropies; 1 has the loss in [-log K, 0], more pushes clusters to equal sizes.
        shift: T: the maps are also compared displaced by up to T pixels each way, (2T + 1)^2 times in all.
        collapsed: one joint distribution summed over the displacements, instead of the mean of the losses of each.
    """
    if shift:
        joint = displaced_joints(first, second, valid, shift)
        joint = joint.sum(dim=(0, 1)) if collapsed else joint
    else:
        joint = torch.einsum("bkhw,blhw->kl", first * valid, second)
    return -information_of(joint, lamb=lamb).mean()


def information_of(joint: Tensor, *, lamb: float = 1.0) -> Tensor:
    """Mutual information (...) in nats of joint sums (..., K, K) over pixels, symmetrised; `lamb` as in the loss."""
    # The sum is the number of valid pixels; 1 instead of 0 keeps the gradient finite where there are none.
    joint = (joint + joint.mT) / (2 * joint.sum(dim=(-2, -1), keepdim=True).clamp(min=1))
    rows, columns = joint.sum(dim=-1, keepdim=True), joint.sum(dim=-2, keepdim=True)
    return (joint * (_log(joint) - lamb * _log(rows) - lamb * _log(columns))).sum(dim=(-2, -1))


def displaced_joints(first: Tensor, second: Tensor, valid: Tensor, shift: int) -> Tensor:
    """Sums over the batch of first(y + dy, x + dx) second(y, x), for all displacements of up to `shift` pixels.

    A cross-correlation, by the Fourier transform: its cost does not grow with the number of displacements. In float32
    an entry is off by less than a millionth of the sum of all of its displacement.

    Args:
        first: (B, K, H, W) probabilities.
        second: the same of the other view.
        valid: (B, 1, H, W), 1 where both show the pixel; a displaced pair counts where both its pixels are valid.
        shift: T.

    Returns:
        (2T + 1, 2T + 1, K, K) by dy, dx, cluster of `first` and cluster of `second`.
    """
    # The transform wraps around: `shift` rows and columns of zeros keep one edge from meeting the other.
    size = [_quick_length(length + shift) for length in first.shape[2:]]
    spectra = [torch.fft.rfft2(maps * valid, s=size) for maps in (first, second)]
    correlation = torch.fft.irfft2(torch.einsum("bkuv,bluv->kluv", spectra[0], spectra[1].conj()), s=size)
    window = 2 * shift + 1
    # Clusters that never meet come out as rounding, below 0 half of the time. It stays: clamped there, the gradient
    # that would bring them together were gone.
    joints: Tensor = correlation.roll((shift, shift), dims=(2, 3))[:, :, :window, :window]
    return joints.permute(2, 3, 0, 1)


def _quick_length(length: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5, which Fourier transforms are quick at."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def _weighted_mean(values: Tensor, counted: Tensor, valid: Tensor) -> Tensor:
    """Sum of the values, each times how much it counts, over the sum of what could have counted."""
    # `where`, not a product alone: a masked pixel may hold 0 * log 0 or worse.
    return torch.where(counted > 0, values * counted, 0).sum() / valid.sum().clamp(min=1)


def _of_class(thresholds: float | Tensor, classes: Tensor) -> float | Tensor:
    """The threshold of each pixel's class, where there is one for each class."""
    return thresholds[classes] if isinstance(thresholds, Tensor) else thresholds


def _log_prediction(probabilities: Tensor) -> Tensor:
    """Log with a floor far below rounding: at the type's epsilon a wrong and sure pixel would have no gradient left."""
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


def _log(values: Tensor) -> Tensor:
    """Log with a floor below which the type cannot tell a share of all pixels from 0."""
    return values.clamp(min=torch.finfo(values.dtype).eps).log()
