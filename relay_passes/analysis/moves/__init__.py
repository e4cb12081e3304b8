"""Operators that move values and compute none: which element of which tensor stands where."""
