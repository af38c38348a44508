"""Files to ``dataset.h5``: a recipe per data set, crops, splits and normalisation statistics."""
