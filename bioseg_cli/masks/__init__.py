"""Label masks: what their values mean, and which file belongs to which image."""
