"""Tiled prediction over arrays and files."""
