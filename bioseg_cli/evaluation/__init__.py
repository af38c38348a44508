"""Scoring of runs and mask folders, baselines, tables and figures."""
