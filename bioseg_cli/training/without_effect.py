"""Settings that were given and have no effect under the others: a training that begins refuses them.

Whoever gives a setting wants something of it, and would take a result for that of the setting. The settings themselves
allow what is refused here: runs of earlier versions have it, and go on, are cross-validated and are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bioseg_cli.errors import UsageError
from bioseg_cli.training.iic_settings import TrainIICConfig
from bioseg_cli.training.settings import TrainConfig
from bioseg_cli.training.uda_settings import TrainUDAConfig


def refuse_without_effect(config: TrainConfig, source: Path | None = None) -> None:
    """Raise `UsageError` where settings have no effect; it names each of them, and what would give it one.

    Args:
        config: of a new training.
        source: file that the settings are from, for the message.
    """
    if isinstance(config, TrainUDAConfig):
        found = [*_of_labelled(config), *_of_unlabelled(config)]
    elif isinstance(config, TrainIICConfig):
        found = list(_of_clusters(config))
    else:
        found = []
    if found:
        raise UsageError(
            "; ".join(found), where=source, fix="Leave out what has no effect, or change the other setting."
        )


def _of_labelled(config: TrainUDAConfig) -> Iterator[str]:
    # The preset sets both itself, and chooses a crop when it knows the images.
    if config.preset == "best":
        return
    if config.crop_around == "labels" and config.crop is None:
        yield "--crop-around labels places crops, and without --crop there are none"
    if config.dice == "batch" and config.batch_size == 1:
        yield "--dice batch pools the images of a step, and with --batch-size 1 there is only one"


def _of_unlabelled(config: TrainUDAConfig) -> Iterator[str]:
    loss = config.unsup_loss
    # A control is repeated from the settings of its run: without the loss none of them says anything.
    if loss == "none":
        return
    if config.confidence is not None and loss not in ("kl", "fixmatch"):
        yield f"--confidence is for --unsup-loss kl and fixmatch: {loss} counts every pixel"
    if config.class_confidence and config.confidence == 0:
        yield "--class-confidence scales --confidence, which is 0: every pixel counts"
    if config.sharpen != 1 and loss != "kl":
        yield f"--sharpen is for --unsup-loss kl: {loss} does not sharpen its target"
    # With a loss to whose target gradients flow anyway, the setting says what is so.
    if not config.stop_gradient and config.fixed_target:
        yield f"--no-stop-gradient is for --unsup-loss kl: {loss} has a fixed target"
    if config.strong_ops != TrainUDAConfig.model_fields["strong_ops"].default and config.augment == "microscopy":
        yield "--strong-ops counts the operations of --augment paper: microscopy has its own"


def _of_clusters(config: TrainIICConfig) -> Iterator[str]:
    if config.shift_loss == "collapsed" and config.shift == 0:
        yield "--shift-loss collapsed is of displacements, and without --shift there are none"
