"""Confusion counts, cluster-to-class mapping and intervals: mathematics without torch."""
