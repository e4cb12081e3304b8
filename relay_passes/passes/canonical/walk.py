"""The walk that the rewrites share: where every value of the old graph lies in the new one.

Every binding is visited once, in order. A rewrite takes ``(walk, var, call)`` with the old
variable and its call, emits through ``walk.to``, and returns where the value lies; or ``None``
where it has nothing to say of this call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.image_flow import rank_of, read_as_nchw
from abc_tvm.relay_passes.analysis.layout import Placed, Value
from abc_tvm.relay_passes.analysis.padding import Functions
from abc_tvm.relay_passes.passes.canonical.conversions import Conversions
from abc_tvm.relay_passes.rewrite import (
    bindings,
    constant,
    definitions,
    dtype_of,
    hint,
    shape_of,
    uses,
)


class LayerNames:
    """The names that layers get, each kind's in the order of the graph."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = names
        self.counts = dict.fromkeys(names, 0)

    def next(self, kind: str) -> str:
        """The name of the next layer of a kind; ``kind_i`` where none was given."""
        i, names = self.counts[kind], self.names[kind]
        self.counts[kind] += 1
        name = names[i] if i < len(names) else f"{kind}_{i}"
        # A variable called so would take the function's name away.
        return "main_" if name == "main" else name


class Walk:
    """One walk over ``func``; ``rewrite`` writes one call.

    ``tuples`` holds the fields of variables that are tuples, ``dense`` the names of layers that
    were products of matrices. ``functions`` are those of the module. ``repeated`` are old variables
    that were asked for the smaller tensor that they repeat.
    """

    def __init__(
        self,
        builder: relax.BlockBuilder,
        func: relax.Function,
        names: LayerNames,
        rewrite: Rewrite,
        functions: Functions,
    ) -> None:
        self.func = func
        self.functions = functions
        self.names = names
        self.rewrite = rewrite
        self.to = Conversions(builder)
        self.env: dict[relax.Var, Value] = {}
        self.tuples: dict[relax.Var, list[Value]] = {}
        self.dense: set[str] = set()
        self.repeated: dict[relax.Var, relax.Expr | None] = {}
        self.wanted = read_as_nchw(func)
        self.readers = uses(func)
        self.defined = definitions(func)

    def run(self) -> relax.Expr:
        """Visit all bindings; the new result."""
        for param in self.func.params:
            self.env[param] = self.settled(param, Placed(param))
        for var, value in bindings(self.func):
            if isinstance(value, relax.Tuple):
                self.tuples[var] = [self.get(f) for f in value.fields]
            elif isinstance(value, relax.TupleGetItem):
                if value.tuple_value in self.tuples:
                    self.env[var] = self.tuples[value.tuple_value][value.index]
                else:
                    source = relax.TupleGetItem(self.plain(value.tuple_value), value.index)
                    self.env[var] = Placed(self.to.op(source))
            elif isinstance(value, tvm.ir.Call):
                rewritten = self.rewrite(self, var, value)
                written = self.unchanged(var, value) if rewritten is None else rewritten
                self.env[var] = self.settled(var, written)
            else:
                self.env[var] = self.get(value)
        return self.plain(self.func.body.body)

    def settled(self, var: relax.Var, value: Value) -> Value:
        """``value``, turned round at its source where a layer wants it so."""
        if not isinstance(value, Placed) or value.kind != "plain" or value.native:
            return value
        if var in self.wanted and rank_of(value.expr) == 4 and constant(value.expr) is None:
            return Placed(self.to.nhwc(value), "nhwc")
        return value

    def unchanged(self, var: relax.Var, call: relax.Call) -> Value:
        """The operator as the graph has it, on the graph's own tensors."""
        args = [self.plain(a) for a in call.args]
        return Placed(self.to.op(relax.Call(call.op, args, call.attrs, call.ty_args), hint(var)))

    def get(self, expr: relax.Expr) -> Value:
        """Where the value of an old expression lies."""
        return self.env[expr] if expr in self.env else Placed(expr)

    def fields(self, expr: relax.Expr) -> list[Value]:
        """Where the fields of an old tuple lie; none if they are not known."""
        if isinstance(expr, relax.Tuple):
            return [self.get(f) for f in expr.fields]
        return self.tuples.get(expr, [])

    def array(self, expr: relax.Expr) -> np.ndarray | None:
        """The value of an old expression, if it is a constant by now."""
        value = self.get(expr)
        return constant(value.expr) if isinstance(value, Placed) else None

    def tensor(self, expr: relax.Expr) -> Placed:
        """Where an old expression lies, as one tensor."""
        return self.one(self.get(expr))

    def one(self, value: Value) -> Placed:
        """One tensor: stacked slices are put together."""
        if isinstance(value, Placed):
            return value
        axis = value.axis
        plain = [self.to.plain(v) for v in value.slices]
        if value.carried and axis == 0:
            return Placed(self.to.op(relax.op.concat(plain, 0)))
        parts = [self.to.op(relax.op.expand_dims(x, axis)) for x in plain]
        whole = self.to.op(relax.op.concat(parts, axis))
        if value.carried:
            batch, *rest = shape_of(plain[0])
            whole = self.to.op(relax.op.reshape(whole, (batch * len(plain), *rest)))
        return Placed(whole)

    def plain(self, expr: relax.Expr) -> relax.Expr:
        """The graph's own tensor or tuple of an old expression."""
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.plain(f) for f in expr.fields])
        if expr in self.tuples:
            return relax.Tuple([self.to.plain(self.one(v)) for v in self.tuples[expr]])
        if isinstance(expr, relax.Var):
            return self.to.plain(self.tensor(expr))
        return expr


Rewrite = Callable[[Walk, relax.Var, relax.Call], Value | None]
"""``rewrite(walk, old_var, old_call)``: where the value lies now, or ``None``."""


def reads_float32(call: relax.Call) -> bool:
    """Whether an operator reads float32; layers of other types stay as the graph has them."""
    return dtype_of(call.args[0]) == "float32"


def stored_integers(walk: Walk, arg: relax.Expr) -> list[int] | None:
    """Integers that an operator takes as a tuple, a shape or a stored tensor; else ``None``."""
    fields = getattr(arg, "fields", None) or getattr(arg, "values", None)
    if fields is None:
        array = walk.array(arg)
        return None if array is None else [int(n) for n in array.reshape(-1)]
    numbers = [getattr(f, "value", None) for f in fields]
    return None if None in numbers else [int(n) for n in numbers if n is not None]
