"""What commands show as tables on the screen, where it takes more than a few lines; narrow enough for 80 columns."""
