"""Step functions: the chains that they are found in, and what reads them."""
