"""How TE computes run: one sub-package per processor family, one module per instruction set."""
