"""The data sets that `bioseg prepare` makes: a line each."""

from __future__ import annotations

from bioseg_cli.prepare.settings import PrepareConfig
from bioseg_cli.registry import Registry

RECIPES: Registry[PrepareConfig] = Registry(
    PrepareConfig,
    prefix="prepare ",
    group="bioseg.recipes",
    own={
        "demo": "bioseg_cli.prepare.recipes.settings:DemoConfig",
        "folder": "bioseg_cli.prepare.recipes.settings:FolderConfig",
        "fluohoechst": "bioseg_cli.prepare.recipes.settings:FluoHoechstConfig",
        "phc": "bioseg_cli.prepare.recipes.settings:PhCConfig",
        "fluogfp": "bioseg_cli.prepare.recipes.settings:FluoGFPConfig",
        "bigbrain": "bioseg_cli.prepare.recipes.bigbrain_settings:BigBrainConfig",
    },
)
