"""A compiled network as a C library: kernels and weights in an archive, one C file, one header.

``flatten`` turns the Relax function into a list of kernel calls, ``plan`` gives every array its
place in one static arena, ``kernels`` compiles the kernels with plain pointers as parameters,
``elf`` and ``archive`` write the library without any tool, and ``source`` writes the C.
"""

from __future__ import annotations

from abc_tvm.deploy.c_form.build import CForm, build

__all__ = ["CForm", "build"]
