"""`bioseg init`: from a folder of images to the settings and the commands of the work on it."""
