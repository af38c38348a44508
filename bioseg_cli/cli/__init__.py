"""The command line: the Typer app, and how settings become flags and help."""
