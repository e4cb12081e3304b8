"""The ways to compute a convolution, one module each."""
