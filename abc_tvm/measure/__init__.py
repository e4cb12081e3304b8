"""Bench, profile, peaks and plots."""
