"""Imported Relax to the form that recognition reads.

* NCHW becomes NHWC (weights OHWI); Transposes cancel.
* A dense layer becomes a 1x1 convolution on ``[B, 1, 1, F]``; on a flattened image, a
  convolution as large as the image, so that packed bits never move.
* Batch normalisation becomes Multiply and Add with ``scale = gamma / sqrt(var + eps)`` and
  ``shift = beta - mean * scale`` in float32, the order in which onnxruntime computes it.
* Stacked bases (Unsqueeze, Concat, ReduceSum over the new axis) become single ones.
* Constants are folded.

Example: ``permute_dims(sign(permute_dims(x, NHWC)), NCHW) -> conv2d NCHW`` becomes
``conv2d(sign(x))`` in NHWC with no permutation left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.passes.layout import Layout, Placed, Stacked, Value, place_constant
from abc_tvm.relay_passes.passes.layout_ops import LayoutOps
from abc_tvm.relay_passes.rewrite import (
    Builder,
    array_of,
    bindings,
    completed,
    const,
    constant,
    drop_dead,
    dtype_of,
    hint,
    op_name,
    operands,
    shape_of,
)


class Canonicalise:
    """See the module's text. The names are of layers, in graph order.

    ``dense`` are those of the layers that were products of matrices, once the pass ran.
    """

    def __init__(self, conv_names: list[str] | None = None, dense_names: list[str] | None = None):
        self.conv_names = list(conv_names or [])
        self.dense_names = list(dense_names or [])
        self.dense: set[str] = set()

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        func = mod["main"]
        builder = Builder({*self.conv_names, *self.dense_names})
        with builder.function("main", list(func.params), attrs=dict(func.attrs or {})):
            with builder.dataflow():
                walk = _Walk(builder, func, self.conv_names, self.dense_names)
                result = builder.emit_output(walk.run())
                self.dense |= walk.dense
            builder.emit_func_output(result)
        return drop_dead(completed(builder, mod))


class _Walk(LayoutOps):
    def __init__(self, builder: Any, func: Any, conv_names: list[str], dense_names: list[str]):
        self.func = func
        self.to = Layout(builder)
        self.env: dict[Any, Value] = {}
        self.tuples: dict[Any, list[Value]] = {}
        self.conv_names, self.dense_names = conv_names, dense_names
        self.counts = {"conv": 0, "dense": 0}
        self.dense: set[str] = set()
        self.wanted = _wanted_nhwc(func)

    def run(self) -> Any:
        for param in self.func.params:
            self.env[param] = self.settle(param, Placed(param))
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
                self.env[var] = self.settle(var, self.call(var, value))
            else:
                self.env[var] = self.get(value)
        return self.output(self.func.body.body)

    def output(self, body: Any) -> Any:
        if isinstance(body, relax.Tuple):
            return relax.Tuple([self.output(f) for f in body.fields])
        if body in self.tuples:
            return relax.Tuple([self.to.plain(self.real(v)) for v in self.tuples[body]])
        return self.plain(body)

    def settle(self, var: Any, value: Value) -> Value:
        """Turn a tensor round at its source where a convolution wants it so."""
        if not isinstance(value, Placed) or value.kind != "plain" or value.native:
            return value
        if var in self.wanted and _rank(value.expr) == 4 and constant(value.expr) is None:
            return Placed(self.to.nhwc(value), "nhwc")
        return value

    def get(self, expr: Any) -> Value:
        return self.env[expr] if expr in self.env else Placed(expr)

    def real(self, value: Value) -> Placed:
        if isinstance(value, Placed):
            return value
        axis = value.axis
        parts = [self.to.op(relax.op.expand_dims(self.to.plain(v), axis)) for v in value.slices]
        return Placed(self.to.op(relax.op.concat(parts, axis)))

    def plain(self, expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.plain(f) for f in expr.fields])
        if expr in self.tuples:
            return relax.Tuple([self.to.plain(self.real(v)) for v in self.tuples[expr]])
        if isinstance(expr, relax.Var):
            return self.to.plain(self.real(self.get(expr)))
        return expr

    # ---- one operator ------------------------------------------------------------------

    def call(self, var: Any, call: Any) -> Value:
        name = op_name(call)
        if name == "call_tir":
            name = _elementwise_tir(call)
            if name is not None:
                call = getattr(relax.op, name)(*call.args[1].fields)
        folded = self.folded(name, call)
        if folded is not None:
            return Placed(const(folded.astype(dtype_of(var))))
        if name in ("nn.prelu", "nn.leakyrelu") and dtype_of(call.args[0]) == "float32":
            slope = self.slope(name, call)
            if slope is not None:
                return self.prelu(self.get(call.args[0]), slope)
        elif name is not None and name in pointwise.TABLE:
            return self.pointwise(name, call, [self.get(a) for a in call.args])
        handler = getattr(self, "on_" + (name or "").replace(".", "_"), None)
        result = handler(var, call) if handler is not None else None
        return result if result is not None else self.fallback(var, call)

    def fallback(self, var: Any, call: Any) -> Value:
        args = [self.plain(a) for a in call.args]
        return Placed(self.to.op(relax.Call(call.op, args, call.attrs, call.ty_args), hint(var)))

    def folded(self, name: str | None, call: Any) -> np.ndarray | None:
        args: list[Any] = []
        for arg in call.args:
            value = self.get(arg) if isinstance(arg, relax.Var) else Placed(arg)
            array = constant(value.expr) if isinstance(value, Placed) else None
            if array is None and not isinstance(arg, relax.ShapeExpr):
                return None
            args.append(array)
        if name in pointwise.TABLE:
            return _evaluated(name, call, args)
        if name == "isnan":
            return np.isnan(args[0])
        if name == "permute_dims":
            axes = call.attrs.axes
            return args[0].transpose(None if axes is None else [int(a) for a in axes])
        if name == "reshape":
            return args[0].reshape([int(d) for d in call.args[1].values])
        if name in ("squeeze", "expand_dims"):
            return args[0].reshape(shape_of(self.to.builder.normalize(call)))
        return None

    def pointwise(self, name: str, call: Any, args: list[Value]) -> Value:
        stacked = next((a for a in args if isinstance(a, Stacked)), None)
        if stacked is not None:
            return self.pointwise_stacked(name, call, args, stacked)
        placed = [a for a in args if isinstance(a, Placed)]
        arrays = [constant(a.expr) for a in placed]
        if all(array is not None for array in arrays):
            return Placed(const(_evaluated(name, call, arrays)))
        kinds = {a.kind for a in placed if constant(a.expr) is None}
        rank = max(_graph_rank(a) for a in placed)
        kind = "plain"
        if rank == 4 and "nhwc" in kinds:
            kind = "nhwc"
        elif rank != 2:
            pass
        elif len(kinds) == 1 and kinds <= {"flat_chw", "flat_hwc"}:
            kind = kinds.pop()
        elif kinds - {"plain"} or self.batched(placed):
            kind = "dense"
        like = next((shape_of(a.expr) for a in placed if a.kind == kind), ())
        operands = [self.operand(a, kind, like) for a in placed]
        native = kind == "plain" and any(a.native for a in placed)
        expr = relax.Call(call.op, operands, call.attrs, call.ty_args)
        return Placed(self.to.op(expr), kind, native)

    def slope(self, name: str, call: Any) -> np.ndarray | None:
        """Slope below zero, shaped to broadcast in the graph's own layout."""
        if name == "nn.leakyrelu":
            return np.array(call.attrs.alpha, np.float32)
        array = constant(self.get(call.args[1]).expr)  # type: ignore[union-attr]
        rank = len(shape_of(call.args[0]))
        if array is None or array.size == 1:
            return None if array is None else array.reshape(())
        axis = int(call.attrs.axis) % rank
        return array.reshape([-1 if i == axis else 1 for i in range(rank)])

    def prelu(self, value: Value, slope: np.ndarray) -> Value:
        """``max(x, 0) + slope * min(x, 0)``: the same floats, without an axis."""
        zero = Placed(const(np.zeros((), np.float32)))
        above = self.apply("maximum", value, zero)
        below = self.apply("minimum", value, zero)
        return self.apply("add", above, self.apply("multiply", below, Placed(const(slope))))

    def apply(self, name: str, *args: Value) -> Value:
        call = relax.Call(tvm.ir.Op.get(f"relax.{name}"), [])
        return self.pointwise(name, call, list(args))

    def batched(self, placed: list[Placed]) -> bool:
        return all(constant(a.expr) is not None or len(shape_of(a.expr)) == 2 for a in placed)

    def operand(self, value: Placed, kind: str, like: tuple[Any, ...]) -> Any:
        array = constant(value.expr)
        if kind == "plain":
            return self.to.plain(value)
        if array is not None:
            return const(place_constant(array, kind, like))
        if kind == "dense":
            if len(shape_of(self_plain := value.expr)) < 2:
                return self_plain
            return self.to.dense(value)
        if kind == "nhwc":
            if value.kind != "nhwc":
                value = Placed(self.to.plain(value))
            dims = shape_of(value.expr)
            if len(dims) < 4:
                wide = relax.op.reshape(value.expr, (1,) * (4 - len(dims)) + dims)
                value = Placed(self.to.op(wide))
            return self.to.nhwc(value)
        return value.expr

    def pointwise_stacked(self, name: str, call: Any, args: list[Value], stacked: Stacked) -> Value:
        axis, rank = stacked.axis, stacked.rank
        count = len(stacked.slices)
        for a in args:
            array = constant(a.expr) if isinstance(a, Placed) else None
            if isinstance(a, Stacked):
                if a.axis != axis:
                    return self.pointwise(name, call, [self.real(v) for v in args])
                count = max(count, len(a.slices))
            elif array is None:
                return self.pointwise(name, call, [self.real(v) for v in args])
            else:
                full = array.reshape((1,) * (rank - array.ndim) + array.shape)
                count = max(count, full.shape[axis])
        out = []
        for i in range(count):
            one: list[Value] = []
            for a in args:
                if isinstance(a, Stacked):
                    one.append(a.slices[i if len(a.slices) > 1 else 0])
                    continue
                array = array_of(a.expr)
                full = array.reshape((1,) * (rank - array.ndim) + array.shape)
                one.append(Placed(const(full.take(i if full.shape[axis] > 1 else 0, axis))))
            out.append(self.pointwise(name, call, one))
        return Stacked(tuple(v for v in out if isinstance(v, Placed)), axis, rank)


def _evaluated(name: str, call: Any, args: list[Any]) -> np.ndarray:
    """An element-wise operator on constants."""
    row = pointwise.TABLE[name]
    with np.errstate(all="ignore"):
        return np.asarray(row.numpy(*args, **pointwise.attributes(name, call)))


def _elementwise_tir(call: Any) -> str | None:
    """The importer spells Clip as ``call_tir(maximum)`` and ``call_tir(minimum)``."""
    name = str(call.args[0].name_hint).rstrip("0123456789")
    fields = getattr(call.args[1], "fields", [])
    return name if name in ("maximum", "minimum") and len(fields) == 2 else None


_KEEPING = ("broadcast_to", "stack", "concat", "sum", "mean", "expand_dims", "squeeze", "reshape")
"""Operators between bases that keep the image's place (see :class:`.layout.Stacked`)."""


def _wanted_nhwc(func: Any) -> set[Any]:
    """Tensors that flow, element by element, into an NCHW convolution or pool."""
    wanted: set[Any] = set()
    for var, value in reversed(bindings(func)):
        name = op_name(value)
        if isinstance(value, relax.TupleGetItem) and var in wanted:
            wanted.add(value.tuple_value)
        if name in ("nn.conv2d", "nn.max_pool2d", "nn.avg_pool2d"):
            if "NCHW" in (getattr(value.attrs, a, "") for a in ("data_layout", "layout")):
                wanted.add(value.args[0])
        elif var in wanted and (name in pointwise.TABLE or name in _PASSING):
            wanted.update(a for a in operands(value) if _rank(a) in (4, 5))
    return wanted


_PASSING = (*_KEEPING, "call_tir", "nn.batch_norm", "nn.prelu", "nn.leakyrelu", None)


def _graph_rank(value: Placed) -> int:
    """Number of dimensions that the tensor has in the graph, whatever its layout here."""
    if value.kind == "plain":
        return len(shape_of(value.expr))
    return 4 if value.kind == "nhwc" else 2


def _rank(expr: Any) -> int:
    return len(shape_of(expr)) if hasattr(expr.ty, "shape") else 0
