"""Schedules for NVIDIA GPUs: bits by xor + popc on ordinary cores or by tensor cores, and floats.

One shape of kernel serves all of them (``window.cuh``): a block of threads computes a tile of
pixels by output channels, a lane owns eight neighbouring channels of each of its pixels, and the
epilogue works on those in registers. ``program`` makes that kernel of a fused TE computation.
"""
