"""Graph passes, on Relax: the folder keeps its given name; TVM replaced Relay by Relax in 0.20.

One pass a file; :mod:`abc_tvm.relay_passes.pipeline` is the one place that orders them.
"""
