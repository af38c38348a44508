"""Ratios measured in one run, side by side with what a user would otherwise write or install."""
