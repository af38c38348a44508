"""Which images of a data set to label first."""
