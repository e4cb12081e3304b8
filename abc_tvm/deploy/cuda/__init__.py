"""Device code for NVIDIA GPUs, made with or without one.

``runtime_library`` loads TVM's CUDA runtime, ``device_code`` compiles CUDA C to cubins, by NVRTC
(a pip package) or nvcc.
"""
