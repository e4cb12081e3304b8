"""Fold what lies between an accumulator and the next step function into integer thresholds.

Of every ``abc.step``:

1. On a convolution whose value is a function of one integer (see :mod:`.accumulator`) it compares
   that integer: ``abc.count_step(x, T int32, sense, levels, t)``, with ``T`` the smallest
   accumulator at which the float comparison with ``t`` holds, exactly.
2. On any other tensor it stays, and compares floats.

Example: ``step(bconv2d(...), [0.6])`` with scales of 0.25 becomes
``count_step(bconv2d(...), [3], ..., [0.6])``.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.analysis.weights.accumulator import integer_form
from abc_tvm.relay_passes.contracts import binary, contract
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import Definitions, const, emit, hint, op_name, rebuild


class FoldThresholds(contract.Rewrite):
    """Steps of integer accumulators compare integers."""

    requires = (binary.steps_are_in_order, binary.binary_convolutions_read_steps)
    ensures = (
        contract.well_formed,
        binary.steps_are_in_order,
        binary.binary_convolutions_read_steps,
        binary.accumulators_are_compared_as_integers,
        contract.nothing_is_dead,
    )

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        defined: dict[relax.Var, relax.Expr] = {}

        def visit(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            new = value
            if op_name(value) == "abc.step":
                new = in_integers(value, defined)
            expr = emit(builder, new, hint(var))
            defined[expr] = new
            return expr

        return rebuild(mod, visit)


def in_integers(call: relax.Call, defined: Definitions) -> relax.Call:
    """The step of an accumulator, compared as one; any other as it is."""
    exact = integer_form(defined.get(call.args[0]), defined)
    if exact is None:
        return call  # case 2
    whole = np.stack([exact.threshold(t) for t in steps_of(call).thresholds]).astype(np.int32)
    # case 1
    return make("count_step", [call.args[0], const(whole), *call.args[2:], call.args[1]])
