"""The methods that bioseg trains by: a line each."""

from __future__ import annotations

from bioseg_cli.registry import Registry
from bioseg_cli.training.settings import TrainConfig

METHODS: Registry[TrainConfig] = Registry(
    TrainConfig,
    prefix="train-",
    group="bioseg.methods",
    own={
        "uda": "bioseg_cli.training.uda_settings:TrainUDAConfig",
        "iic": "bioseg_cli.training.iic_settings:TrainIICConfig",
    },
)
