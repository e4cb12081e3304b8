"""Pool the bits of a step, and not the floats before it.

A rising step commutes with the maximum: ``step(max_pool(g(y)))`` becomes
``step'(max_pool(q(y)))``, where ``q`` counts the thresholds that ``g(y)`` passes and ``step'``
turns the count into the level (and turns it round in channels with a negative scale). ``q`` is
found by evaluating ``g``, so that bias, scale and ReLU before the pooling fold as well.

Of every ``abc.step`` of a max-pool:

1. ``y`` is the deepest tensor of the same image of whose channels ``q`` is a step function.
2. It stays where pooled floats are read by something else as well.
3. It stays where the pool reads levels already, as this pass leaves it.
4. It stays where ``q`` is a step function of no tensor.

Example: ``step(max_pool(relu(y)), [2])`` becomes ``step(max_pool(step(y, [2])), [0.5])``.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.pointwise import Bounds
from abc_tvm.relay_passes.analysis.steps.chain_bounds import Chain, Constants, chain_between
from abc_tvm.relay_passes.analysis.steps.chains import roots
from abc_tvm.relay_passes.analysis.steps.find_steps import find_steps
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep, StepFunction, steps_of
from abc_tvm.relay_passes.contracts import binary, contract
from abc_tvm.relay_passes.ops import LEVELS, make
from abc_tvm.relay_passes.rewrite import (
    const,
    definitions,
    emit,
    hint,
    op_name,
    rebuild,
    shape_of,
    substitute,
    uses,
)


class FoldPools(contract.Rewrite):
    """Max-pools that steps alone read pool counts of thresholds."""

    requires = (binary.steps_are_in_order, binary.binary_convolutions_read_steps)
    ensures = (
        contract.well_formed,
        binary.steps_are_in_order,
        binary.binary_convolutions_read_steps,
        contract.nothing_is_dead,
    )

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        self.defined = definitions(mod["main"])
        self.readers = uses(mod["main"])
        self.env: dict[relax.Var, relax.Var] = {}

        def visit(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            swapped = None
            if op_name(value) == "abc.step":
                swapped = self.swap(builder, self.defined[var])
            self.env[var] = emit(builder, value if swapped is None else swapped, hint(var))
            return self.env[var]

        return rebuild(mod, visit)

    def swap(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Call | None:
        """``step'(max_pool(q(y)))`` for a step, or ``None`` where it stays."""
        pooled = call.args[0]
        pool: relax.Call = self.defined.get(pooled)
        if op_name(pool) != "nn.max_pool2d":
            return None
        if any(op_name(reader) != "abc.step" for _, reader in self.readers[pooled]):
            return None  # case 2
        if op_name(self.defined.get(pool.args[0])) in LEVELS:
            return None  # case 3
        steps = steps_of(call)
        counted = self.count(pool.args[0], steps)
        if counted is None:
            return None  # case 4
        root, count = counted
        source = self.env.get(root, root)
        args = [source, const(count.thresholds), const(count.sense), const(count.levels)]
        raw = builder.emit(make("step", args), "count")
        again = builder.emit(substitute(pool, {pool.args[0]: raw}), "pooled")
        n, channels = steps.thresholds.shape
        halves = np.repeat(np.arange(n, dtype=np.float32)[:, None] + np.float32(0.5), channels, 1)
        return make("step", [again, const(halves), call.args[2], call.args[3]])

    def count(self, data: relax.Var, steps: StepFunction) -> tuple[relax.Var, StepFunction] | None:
        """The deepest root behind ``data``, and the count of thresholds passed as its function."""
        n, channels = steps.thresholds.shape
        levels = np.arange(n + 1, dtype=np.float32)
        for root, chain in roots(self.defined, data):  # case 1
            if len(shape_of(root)) != 4 or shape_of(root)[1:] != shape_of(data)[1:]:
                continue
            try:
                counting = _counting(chain_between(root, chain, data), steps.thresholds)
                return root, find_steps(counting, channels, levels=levels)
            except NotAStep:
                continue
        return None


def _counting(chain: Chain, thresholds: np.ndarray) -> Chain:
    """How many ``thresholds [N, C]`` the result of a chain passes."""

    def run(x: Bounds, constants: Constants) -> Bounds:
        low, high = chain.run(x, constants)
        at = constants["thresholds"]
        return _passed(low, at), _passed(high, at)

    return Chain(run, {**chain.constants, "thresholds": thresholds})


def _passed(x: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    count = np.zeros(x.shape, np.float32)
    for t in thresholds:
        count += x >= t
    return count
