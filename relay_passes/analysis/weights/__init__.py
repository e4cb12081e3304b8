"""Weights as planes and sums, and what a convolution with such computes."""
