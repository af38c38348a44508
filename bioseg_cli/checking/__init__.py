"""`bioseg check`: what is wrong or unusual in data sets, runs and folders of images."""
