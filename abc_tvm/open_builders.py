"""Block builders that a failure left behind, closed before TVM complains of them on stderr.

TVM's ``BlockBuilder`` writes "BlockBuilder destroyed with remaining blocks!" to file descriptor 2
when the garbage collector finds one whose blocks are open. The command line leads that descriptor
away; a library must not, since it is the whole process's. So the builders that the exception
passed through are looked up in its frames and their blocks ended: nothing reads them any more.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

_MEMBERS = ("bb", "_bb", "builder_")
"""Where TVM's importer and its mutators keep their builder."""


def close_builders(error: BaseException) -> None:
    """End the blocks of every builder in the frames of ``error``, and of what caused it."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        trace: TracebackType | None = current.__traceback__
        while trace is not None:
            for value in list(trace.tb_frame.f_locals.values()):
                _close(value)
            trace = trace.tb_next
        current = current.__cause__ or current.__context__


def _close(value: Any) -> None:
    from tvm import relax

    if isinstance(value, relax.BlockBuilder):
        _end_blocks(value)
    elif isinstance(value, relax.PyExprMutator) or hasattr(type(value), "from_onnx"):
        for name in _MEMBERS:
            builder = getattr(value, name, None)
            if isinstance(builder, relax.BlockBuilder):
                _end_blocks(builder)


def _end_blocks(builder: Any) -> None:
    from tvm.relax import _ffi_api

    with contextlib.suppress(RuntimeError):  # there is no block left
        while True:
            _ffi_api.BlockBuilderEndBlock(builder)
