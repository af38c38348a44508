"""Affine geometry, photometric operations, and the weak and strong augmentation policies."""
