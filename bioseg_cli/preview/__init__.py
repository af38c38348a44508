"""A picture of what the augmentation of training makes of a data set's own images."""
