"""Schedules for Arm processors with NEON (Advanced SIMD), 64-bit and 32-bit.

``cnt`` counts the bits of bytes, so counts are summed in bytes and widened before they overflow;
processors with the dot-product extension add four bytes to a 32-bit sum in one instruction.
"""
