"""The report: what a study or some runs amount to, as one HTML page that needs nothing beside it."""
