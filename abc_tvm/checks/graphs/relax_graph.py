"""The Relax module after the pass ``encode``, read for the second opinion.

A reader of its own: it shares nothing with the passes but the operators' definitions (the table
at the top of ``relay_passes/ops.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax
from tvm.ir import GenericConst

from abc_tvm.checks.graphs.needed import needed
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_ops import TABLE, OpenShape, Value

ON_BITSERIAL, ON_INT8, FLOAT = "abc.bitserial_conv2d", "abc.int8_conv2d", "nn.conv2d"
LAYERS = (ON_BITSERIAL, ON_INT8, FLOAT)
ON_PRODUCT = "abc.bitserial_product"
PRODUCTS = (ON_PRODUCT, "matmul")

_ERRORS = (ArithmeticError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class RelaxLayer:
    """A convolution, dense layer or product: its variable and its call."""

    name: str
    var: relax.Var
    call: relax.Call
    kind: str

    @property
    def data(self) -> relax.Var:
        return self.call.args[0]


def operator(value: relax.Expr | None) -> str:
    """Operator without the ``relax.`` prefix; empty if the value is no operator's."""
    if isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op):
        return str(value.op.name).removeprefix("relax.")
    return ""


def array(value: relax.Expr) -> np.ndarray:
    """The array of a constant."""
    if not isinstance(value, GenericConst):
        raise NotChecked("a constant is computed")
    return np.asarray(value.value.numpy())


def dimensions(value: relax.Expr) -> tuple[int | None, ...]:
    """Shape of a tensor; ``None`` stands for a symbolic extent."""
    return tuple(int(d) if isinstance(d, tvm.tirx.IntImm) else None for d in value.ty.shape)


class RelaxGraph:
    """Bindings of ``main``, its layers, and the values of variables from given ones."""

    def __init__(self, module: tvm.IRModule) -> None:
        main = module["main"]
        self.params = list(main.params)
        self.order: list[tuple[relax.Var, relax.Expr]] = [
            (binding.var, binding.value) for block in main.body.blocks for binding in block.bindings
        ]
        self.value: dict[relax.Var, relax.Expr] = dict(self.order)
        self.at = {var: i for i, (var, _) in enumerate(self.order)}
        self.layers = self._named(LAYERS)
        self.products = self._named(PRODUCTS)

    def _named(self, operators: Collection[str]) -> list[RelaxLayer]:
        return [
            RelaxLayer(str(var.name), var, value, operator(value))
            for var, value in self.order
            if operator(value) in operators
        ]

    def reads(self, value: relax.Expr) -> list[relax.Var]:
        """Variables that an expression reads."""
        if isinstance(value, relax.Var):
            return [value]
        if isinstance(value, relax.TupleGetItem):
            return self.reads(value.tuple_value)
        parts = getattr(value, "args", None) or getattr(value, "fields", None) or []
        return [v for part in parts for v in self.reads(part)]

    def needed(self, wanted: Iterable[relax.Var], stop: Iterable[relax.Var]) -> list[int]:
        """Positions of the bindings that compute ``wanted`` from ``stop``, in order."""
        return needed(wanted, stop, self.at, lambda at: self.reads(self.order[at][1]))

    def evaluate(
        self, wanted: Iterable[relax.Var], given: Mapping[relax.Var, Value], lenient: bool = False
    ) -> dict[relax.Var, Value]:
        """Values of ``wanted`` from those ``given``; ``lenient``: unknown ones are left out.

        Raises:
            NotChecked: An operator is unknown, or a variable depends on what is not given.
        """
        values: dict[relax.Var, Value] = dict(given)
        for at in self.needed(wanted, given):
            var, value = self.order[at]
            try:
                values[var] = self._one(value, values)
            except NotChecked:
                if not lenient:
                    raise
        return values

    def _one(self, value: relax.Expr, values: Mapping[relax.Var, Value]) -> Value:
        if isinstance(value, relax.Var):
            if value not in values:
                raise NotChecked(f"it depends on {value.name}, which is not known")
            return values[value]
        if isinstance(value, GenericConst):
            return array(value)
        if isinstance(value, relax.ShapeExpr):
            return OpenShape(
                tuple(int(d) if isinstance(d, tvm.tirx.IntImm) else None for d in value.values)
            )
        if isinstance(value, relax.Tuple):
            return tuple(self._one(field, values) for field in value.fields)
        if isinstance(value, relax.TupleGetItem):
            return self._one(value.tuple_value, values)[value.index]
        if isinstance(value, tvm.tirx.IntImm | tvm.tirx.FloatImm):
            return value.value
        name = operator(value)
        if name not in TABLE:
            raise NotChecked(f"operator {name or type(value).__name__}")
        args = [self._one(arg, values) for arg in value.args]
        try:
            with np.errstate(all="ignore"):
                return TABLE[name](args, value.attrs)
        except _ERRORS as error:
            text = " ".join(str(error).split())[:80]
            raise NotChecked(f"operator {name}: {type(error).__name__}: {text}") from error
