"""Operators with windows: convolution, pooling, padding, resizing."""
