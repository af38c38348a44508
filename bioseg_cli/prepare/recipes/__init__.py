"""A recipe for each kind of data set: from its files to a `Collection`."""
