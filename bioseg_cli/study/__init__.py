"""The comparative study: a plan to a grid of runs, what is missing of it trained and scored, and what it amounts to."""
