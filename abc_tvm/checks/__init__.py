"""Whether what was compiled is the network that was given."""
