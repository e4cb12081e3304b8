"""From a fused group to a kernel: frame, epilogue, pooling."""
