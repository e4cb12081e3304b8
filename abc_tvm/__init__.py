"""abc-tvm: a compiler backend for binarized networks, on Apache TVM.

    report = abc_tvm.inspect("model.onnx")                  # layers: M, N, lowering, reason
    artifact = abc_tvm.compile("model.onnx", target="native")
    artifact.save("model.so")
    session = abc_tvm.load("model.so", threads=1)
    outputs = session.run({"input": x})                     # name -> ndarray, in and out

The names load what they need when they are first used: a machine that only runs artifacts needs
neither ONNX nor LLVM.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from abc_tvm._version import __version__

if TYPE_CHECKING:
    from abc_tvm.api import compile, compile_c, inspect
    from abc_tvm.artifact import Artifact
    from abc_tvm.deploy.c_form import CForm
    from abc_tvm.report import Layer, Report
    from abc_tvm.runtime import Session, load

__all__ = [
    "Artifact",
    "CForm",
    "Layer",
    "Report",
    "Session",
    "__version__",
    "compile",
    "compile_c",
    "inspect",
    "load",
]

_HOME = {
    "Artifact": "abc_tvm.artifact",
    "CForm": "abc_tvm.deploy.c_form",
    "Layer": "abc_tvm.report",
    "Report": "abc_tvm.report",
    "Session": "abc_tvm.runtime",
    "compile": "abc_tvm.api",
    "compile_c": "abc_tvm.api",
    "inspect": "abc_tvm.api",
    "load": "abc_tvm.runtime",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
