"""``dataset.h5``: the contract between ``prepare`` and everything that reads prepared images."""
