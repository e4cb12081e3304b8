"""The shape functions of TVM's ``VMShapeLower``, with their stores in order.

They compute every shape of a network from its symbolic batch: ``H[3] = H[0] * 1024``. TVM stores
them in the order of a hash table of pointers, so the same network gave another file on every
compilation. No store reads what another writes, so they may stand in any order: here, by index.

Refuses (leaves as it is) a function that holds anything but such stores.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx

_NAME = "shape_func"


def order_shape_functions(mod: tvm.IRModule) -> tvm.IRModule:
    """``mod`` with the stores of its shape functions sorted."""
    for gvar, func in mod.functions_items():
        if isinstance(func, tirx.PrimFunc) and gvar.name_hint.startswith(_NAME):
            body = _sorted(func.body)
            if body is not None:
                mod.update_func(gvar, func.with_body(body))
    return mod


def _sorted(body: Any) -> Any:
    if not isinstance(body, tirx.SeqStmt):
        return None
    stores = {_index(store): store for store in body.seq}
    if None in stores or len(stores) < len(body.seq):
        return None
    return tirx.SeqStmt([stores[index] for index in sorted(i for i in stores if i is not None)])


def _index(stmt: Any) -> int | None:
    if not isinstance(stmt, tirx.BufferStore) or len(stmt.indices) != 1:
        return None
    index = stmt.indices[0]
    return int(index) if isinstance(index, tirx.IntImm) else None
