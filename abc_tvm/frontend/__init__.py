"""Frontends: from a trained network's file to a Relax module.

Importing this package does not import TVM; ``import_onnx`` and ``to_relax`` do, when
they are called.
"""

from __future__ import annotations

from abc_tvm.frontend.dialects import to_standard
from abc_tvm.frontend.onnx_file import load_onnx
from abc_tvm.frontend.relax_import import import_onnx, simple_onnx, standard_onnx, to_relax
from abc_tvm.frontend.simplify import simplify

__all__ = [
    "import_onnx",
    "load_onnx",
    "simple_onnx",
    "simplify",
    "standard_onnx",
    "to_relax",
    "to_standard",
]
