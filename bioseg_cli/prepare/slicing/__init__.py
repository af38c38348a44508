"""Slices of a volume and their classes: where they lie, and their pixels, read while the volume streams past once."""
