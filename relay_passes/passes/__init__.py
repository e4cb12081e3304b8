"""Rewrites of a module, one a file; :mod:`abc_tvm.relay_passes.pipeline` orders them."""
