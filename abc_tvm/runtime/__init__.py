"""Run compiled networks. Nothing here imports the compiler, ONNX or LLVM.

``container`` reads what an artifact says about itself, ``machine`` decides whether it may run
here, ``threads`` sets the size of TVM's thread pool, and ``session`` runs the network.
"""

from __future__ import annotations

from abc_tvm.runtime.container import Info, Port, read_info
from abc_tvm.runtime.session import Session, load

__all__ = ["Info", "Port", "Session", "load", "read_info"]
