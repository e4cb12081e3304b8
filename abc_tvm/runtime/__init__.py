"""Run compiled networks. Nothing here imports the compiler, ONNX or LLVM.

``container`` reads what an artifact says about itself, ``machine`` decides whether it may run
here, and ``session`` runs the network. ``threads`` tells TVM how many threads to use, ``crews`` are
threads that have TVM's pools, and ``forks`` is what happens when the process forks.
"""

from __future__ import annotations

from abc_tvm.runtime.container import Info, Port, read_info
from abc_tvm.runtime.session import Session, load

__all__ = ["Info", "Port", "Session", "load", "read_info"]
