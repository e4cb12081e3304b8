"""Codes of a step, one byte a channel: what ``abc.encode_int8`` writes."""

from __future__ import annotations

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute import outputs
from abc_tvm.compute.int8_products import code_slots
from abc_tvm.compute.lanes import Index, Scalar
from abc_tvm.relay_passes.analysis.steps.even_steps import MANY
from abc_tvm.relay_passes.emit.anchor import Encoding
from abc_tvm.relay_passes.emit.frame import Frame, Produced
from abc_tvm.relay_passes.emit.step_epilogue import count_of, passes_of
from abc_tvm.relay_passes.rewrite import array_of


def write_codes(frame: Frame, call: relax.Call) -> Produced:
    """``[B, H, W, G, S]``: the code of the level of every value."""
    codes = np.array([int(n) for n in call.attrs["codes"]], np.int32)
    turned = array_of(call.args[2]) < 0
    ways = _by_count if len(codes) > MANY else _by_rises
    kept = frame.stage(ways(frame, call, codes, turned))
    name = str(len(frame.tables))
    head = (frame.batch, frame.height, frame.width)
    tensor = outputs.code_output(name, *head, frame.blocking, kept, str(call.attrs["dtype"]))
    groups = int(call.attrs["layout_groups"])
    return tensor, (*head, groups, code_slots(frame.blocking.channels // groups))


def _by_rises(frame: Frame, call: relax.Call, codes: np.ndarray, turned: np.ndarray) -> Scalar:
    """The code of the first level, and a difference for each threshold that is passed."""
    blocking = frame.blocking
    steps = np.diff(codes)
    first = tirx.const(int(codes[0]), "int32")
    rising = [tirx.const(int(n), "int32") for n in steps]
    table: te.Tensor | None = None
    start: Scalar | None = None
    if turned.any():
        start = _first(frame, codes, turned)
        both = np.where(turned[None], -steps[::-1, None], steps[:, None]).astype(np.int32)
        table = frame.table(blocking.spread(both), "rise")
    zero = tirx.const(0, "int32")
    passes = passes_of(frame, call)

    def code(index: Index) -> Expr:
        total = first if start is None else start(index)
        for p, rise in enumerate(rising):
            by = rise if table is None else table[p, blocking.slot(index)]
            total = total + tirx.Select(passes(p, index), by, zero)
        return total

    return code


def _by_count(frame: Frame, call: relax.Call, codes: np.ndarray, turned: np.ndarray) -> Scalar:
    """From the number of thresholds passed: as a line where codes are even, else from a table."""
    passed = count_of(frame, call)
    steps = np.diff(codes)
    if np.any(steps != steps[0]):
        both = np.where(turned[None], codes[::-1, None], codes[:, None]).astype(np.int32)
        table = frame.table(frame.blocking.spread(both), "code")
        return lambda index: table[passed(index), frame.blocking.slot(index)]
    if not turned.any():
        first, rise = (tirx.const(int(n), "int32") for n in (codes[0], steps[0]))
        return lambda index: first + passed(index) * rise
    start = _first(frame, codes, turned)
    rises = frame.per_slot(np.where(turned, -steps[0], steps[0]).astype(np.int32), "rise")
    return lambda index: start(index) + passed(index) * rises(index)


def _first(frame: Frame, codes: np.ndarray, turned: np.ndarray) -> Scalar:
    """The code where no threshold is passed, by channel."""
    return frame.per_slot(np.where(turned, codes[-1], codes[0]).astype(np.int32), "start")


CODES = Encoding("abc.encode_int8", write_codes)
