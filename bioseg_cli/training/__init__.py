"""Losses, the methods (what is computed on a batch), the loop and its resume state."""
