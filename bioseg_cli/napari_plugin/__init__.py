"""bioseg in napari: label masks with their class names, prediction on a layer, and scribbles as a data set.

napari finds the plugin by the entry point `napari.manifest` of the package. Nothing here is imported without napari.
"""
