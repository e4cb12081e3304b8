"""Tuning: measure choices of the search space, keep them safely, and compile with the best."""
