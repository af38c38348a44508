"""The stages as functions: `bioseg_cli` exports what is in here."""
