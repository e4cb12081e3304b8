"""Fold what lies between an accumulator and the next step function into its thresholds.

Pooling. ``step(max_pool(g(y)))`` pools the bits instead of the floats: a rising step commutes
with the maximum, so it becomes ``step'(max_pool(q(y)))``, where ``q`` counts the thresholds that
``g(y)`` passes and ``step'`` turns the count into the level (and turns it round in channels with a
negative scale). ``q`` is found by evaluating ``g``, so bias, scale, ReLU before the pooling fold as
well. Refused where the pooled floats are needed for something else.

Accumulators. A step on a convolution whose value is a function of one integer (see
:mod:`.accumulator`) compares that integer: ``abc.count_step(x, T int32, sense, levels, t)`` with
``T`` the smallest accumulator at which the float comparison holds, exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.step_function import (
    Chain,
    NotAStep,
    StepFunction,
    find_steps,
    steps_of,
)
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.passes.recognise_activations import evaluator, integer_form, roots
from abc_tvm.relay_passes.rewrite import (
    bindings,
    const,
    emit,
    hint,
    op_name,
    rebuild,
    shape_of,
    substitute,
    uses,
)


class FoldThresholds:
    """See the module's text."""

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        return _Counts()(_Pools()(mod))


class _Pools:
    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        func = mod["main"]
        self.defined = dict(bindings(func))
        self.readers = uses(func)
        self.env: dict[Any, Any] = {}

        def visit(builder: relax.BlockBuilder, var: Any, value: Any) -> Any:
            new = self.swap(builder, self.defined[var]) if op_name(value) == "abc.step" else None
            self.env[var] = emit(builder, value if new is None else new, hint(var))
            return self.env[var]

        return rebuild(mod, visit)

    def swap(self, builder: Any, call: Any) -> Any:
        pooled = call.args[0]
        pool: Any = self.defined.get(pooled)
        if op_name(pool) != "nn.max_pool2d":
            return None
        if any(op_name(reader) != "abc.step" for _, reader in self.readers[pooled]):
            return None
        if op_name(self.defined.get(pool.args[0])) in ("abc.step", "abc.count_step"):
            return None
        steps = steps_of(call)
        inner = self.counting(pool.args[0], steps)
        if inner is None:
            return None
        root, count = inner
        source = self.env.get(root, root)
        args = [source, const(count.thresholds), const(count.sense), const(count.levels)]
        raw = builder.emit(make("step", args), "count")
        again = builder.emit(substitute(pool, {pool.args[0]: raw}), "pooled")
        n, channels = steps.thresholds.shape
        halves = np.repeat(np.arange(n, dtype=np.float32)[:, None] + np.float32(0.5), channels, 1)
        return make("step", [again, const(halves), call.args[2], call.args[3]])

    def counting(self, data: Any, steps: StepFunction) -> tuple[Any, StepFunction] | None:
        """Deepest root behind ``data``, and the count of thresholds passed as its function."""
        n, channels = steps.thresholds.shape
        for root, rest in roots(self.defined, data):
            if len(shape_of(root)) != 4 or shape_of(root)[1:] != shape_of(data)[1:]:
                continue
            try:
                chain = evaluator(rest, root, data)

                def evaluate(x: Any, constants: Any, chain: Chain = chain) -> Any:
                    low, high = chain.run(x, constants)
                    at = constants["thresholds"]
                    return _passed(low, at), _passed(high, at)

                constants = {**chain.constants, "thresholds": steps.thresholds}
                counts = np.arange(n + 1, dtype=np.float32)
                return root, find_steps(Chain(evaluate, constants), channels, levels=counts)
            except NotAStep:
                continue
        return None


def _passed(x: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    total = np.zeros(x.shape, np.float32)
    for t in thresholds:
        total += x >= t
    return total


class _Counts:
    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        defined: dict[Any, Any] = {}

        def visit(builder: relax.BlockBuilder, var: Any, value: Any) -> Any:
            new = self.count(value, defined) if op_name(value) == "abc.step" else value
            expr = emit(builder, new, hint(var))
            defined[expr] = new
            return expr

        return rebuild(mod, visit)

    def count(self, call: Any, defined: dict[Any, Any]) -> Any:
        exact = integer_form(defined.get(call.args[0]), defined)
        if exact is None:
            return call
        steps = steps_of(call)
        whole = np.stack([exact.threshold(t) for t in steps.thresholds]).astype(np.int32)
        return make("count_step", [call.args[0], const(whole), *call.args[2:], call.args[1]])
