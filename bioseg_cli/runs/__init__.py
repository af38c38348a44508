"""The run directory, its manifest, the device and precision of a run, and progress output."""
