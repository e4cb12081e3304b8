"""Rebuild ``main`` binding by binding: the frame that every pass stands in.

TVM's own pattern rewriters give their callback no block builder and never match constants
(tried with 0.27), so passes here walk the bindings in order, and emit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tvm
import tvm_ffi
from tvm import relax
from tvm.ir import GenericConst

from abc_tvm.errors import UnsupportedError

Visit = Callable[[relax.BlockBuilder, relax.Var, relax.Expr], "relax.Expr | None"]
"""``visit(builder, old_var, new_value)`` returns an expression, or ``None`` to emit as is."""

Binding = tuple[relax.Var, relax.Expr]

Definitions = Mapping[relax.Var, relax.Expr]
"""Variable to bound value."""

Shape = tuple[int | relax.Expr, ...]
"""Extents of a tensor; one that is not known before a run is an expression of TVM's."""


def bindings(func: relax.Function) -> list[Binding]:
    """``(variable, value)`` of every binding, in order."""
    pairs: list[Binding] = []
    for block in func.body.blocks:
        for binding in block.bindings:
            if not isinstance(binding, relax.VarBinding):
                raise UnsupportedError(
                    f"the shape of {hint(binding.var)} is decided by the numbers of a run, "
                    "which is not supported; export the network with fixed shapes"
                )
            pairs.append((binding.var, binding.value))
    return pairs


def definitions(func: relax.Function) -> dict[relax.Var, relax.Expr]:
    """Variable to bound value."""
    return dict(bindings(func))


def op_name(value: object) -> str | None:
    """Operator name without the ``relax.`` prefix; ``None`` if not an operator call."""
    if isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op):
        return str(value.op.name).removeprefix("relax.")
    return None


def constant(value: object) -> np.ndarray | None:
    """The array of a constant expression, else ``None``."""
    return value.value.numpy() if isinstance(value, GenericConst) else None


def array_of(value: relax.Expr) -> np.ndarray:
    """The array of an expression that is a constant by construction."""
    array = constant(value)
    if array is None:
        raise TypeError(f"not a constant: {value}")
    return array


def shape_of(expr: relax.Expr) -> Shape:
    """Static dimensions as ``int``, symbolic ones as TVM expressions.

    Raises:
        UnsupportedError: Nothing is known of them, as where an open batch meets another extent.
    """
    dims = expr.ty.shape
    if dims is None:
        name = hint(expr) if isinstance(expr, relax.Var) else "a tensor"
        raise UnsupportedError(
            f"the shape of {name} is not known before the network runs; fix the batch (--batch), "
            "or export the network with fixed shapes"
        )
    return tuple(int(d) if isinstance(d, tvm.tirx.IntImm) else d for d in dims)


def dtype_of(expr: relax.Expr) -> str:
    """Element type of a tensor, as NumPy names it."""
    return str(expr.ty.dtype).rsplit(".", 1)[-1]


def const(array: np.ndarray) -> relax.Expr:
    """A constant expression of the array's own shape and type."""
    # ``ascontiguousarray`` would make one dimension of none, ``const`` alone 32 bits of 64.
    whole = np.asarray(array, order="C")
    return relax.const(whole, str(whole.dtype))


Content = tuple[object, ...]
"""What an expression is made of, comparable by value; see :func:`content`."""


def content(*parts: object) -> Content:
    """A key for memos: equal exactly where everything given is equal.

    Variables are themselves, constants and arrays their type, shape and bytes, lists and
    dictionaries what they hold. Python's dictionaries compare a key whole, beyond its hash.
    """
    return tuple(_content(part) for part in parts)


def _content(part: object) -> object:
    array = part if isinstance(part, np.ndarray) else constant(part)
    if array is not None:
        return (str(array.dtype), array.shape, array.tobytes())
    if isinstance(part, list | tuple):
        return content(*part)
    if isinstance(part, dict):
        return content(*sorted(part.items()))
    return part


def uses(func: relax.Function) -> dict[relax.Var, list[tuple[relax.Var | None, relax.Expr]]]:
    """For every variable, the bindings that read it. The result is read by ``None``."""
    readers: dict[relax.Var, list[tuple[relax.Var | None, relax.Expr]]] = {}
    for var, value in [*bindings(func), (None, func.body.body)]:
        for operand in operands(value):
            readers.setdefault(operand, []).append((var, value))
    return readers


def operands(value: relax.Expr) -> list[relax.Var]:
    """Variables that an expression reads, with repetitions."""
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, tvm.ir.Call):
        return [v for arg in value.args for v in operands(arg)]
    if isinstance(value, relax.Tuple):
        return [v for field in value.fields for v in operands(field)]
    if isinstance(value, relax.TupleGetItem):
        return operands(value.tuple_value)
    return []


def substitute(value: relax.Expr, env: Mapping[relax.Var, relax.Expr]) -> relax.Expr:
    """``value`` with variables replaced."""
    if isinstance(value, relax.Var):
        return env.get(value, value)
    if isinstance(value, tvm.ir.Call):
        args = [substitute(arg, env) for arg in value.args]
        return relax.Call(value.op, args, value.attrs, value.ty_args)
    if isinstance(value, relax.Tuple):
        return relax.Tuple([substitute(field, env) for field in value.fields])
    if isinstance(value, relax.TupleGetItem):
        return relax.TupleGetItem(substitute(value.tuple_value, env), value.index)
    return value


def hint(var: relax.Var) -> str:
    """Name of a variable; layers keep theirs through all passes."""
    return str(var.name)


class Builder(relax.BlockBuilder):
    """A block builder that keeps the names of layers free.

    Layers are known by the names of their variables, through all passes. What :meth:`emit` binds
    takes another name where a layer has it; :func:`emit` binds under the very name.
    """

    def __init__(self, kept: set[str]) -> None:
        super().__init__()
        self.taken = set(kept)
        self.counts: dict[str, int] = {}

    def emit(self, expr: relax.Expr, name_hint: str = "") -> relax.Var:
        base = name = name_hint or "lv"
        count = self.counts.get(base, 0)
        while name in self.taken:
            count += 1
            name = f"{base}{count}"
        self.counts[base] = count
        return self.emit_kept(expr, name)

    def emit_kept(self, expr: relax.Expr, name: str) -> relax.Var:
        """Bind under a name that was kept."""
        self.taken.add(name)
        return super().emit(expr, name)


def rebuild(mod: tvm.IRModule, visit: Visit) -> tvm.IRModule:
    """A module whose ``main`` has every binding passed through ``visit``; dead ones dropped.

    It is ``mod`` itself where that changes nothing.
    """
    func = mod["main"]
    builder = Builder({hint(var) for var, _ in bindings(func)})
    env: dict[relax.Var, relax.Expr] = {}
    with builder.function("main", list(func.params), attrs=dict(func.attrs or {})):
        with builder.dataflow():
            for var, value in bindings(func):
                new = substitute(value, env)
                replaced = visit(builder, var, new)
                expr = new if replaced is None else replaced
                env[var] = emit(builder, expr, hint(var))
            result = builder.emit_output(substitute(func.body.body, env))
        builder.emit_func_output(result)
    return unless_same(mod, drop_dead(completed(builder, mod)))


def completed(builder: relax.BlockBuilder, mod: tvm.IRModule) -> tvm.IRModule:
    """What ``builder`` made of ``main``, with the other functions of ``mod``."""
    out = builder.get()
    for gvar, other in mod.functions_items():
        if gvar.name_hint != "main":
            out.update_func(gvar, other)
    return out


def emit(builder: relax.BlockBuilder, expr: relax.Expr, name: str = "") -> relax.Expr:
    """Bind ``expr`` under its own name unless it is a variable or constant already."""
    if isinstance(expr, (relax.Var, GenericConst)):
        return expr
    if name and isinstance(builder, Builder):
        return builder.emit_kept(expr, name)
    return builder.emit(expr, name) if name else builder.emit(expr)


def drop_dead(mod: tvm.IRModule) -> tvm.IRModule:
    """``mod`` without bindings that nothing reads and functions that nothing calls."""
    return relax.transform.DeadCodeElimination(["main"])(mod)


def unless_same(before: tvm.IRModule, after: tvm.IRModule) -> tvm.IRModule:
    """``before`` itself if ``after`` differs from it in names of variables alone, else ``after``.

    So a pass says that it changed nothing. Constants and PrimFuncs are compared as objects: what
    was made anew is a change, whatever it holds.
    """
    functions = [{g.name_hint: f for g, f in m.functions_items()} for m in (before, after)]
    same = functions[0].keys() == functions[1].keys() and all(
        _same_function(function, functions[1][name]) for name, function in functions[0].items()
    )
    return before if same else after


def _same_function(before: tvm.ir.BaseFunc, after: tvm.ir.BaseFunc) -> bool:
    """Whether the same operations follow one another on the same values.

    ``a = b`` is none, but for the binding of the result.
    """
    if not (isinstance(before, relax.Function) and isinstance(after, relax.Function)):
        return _same_object(before, after)
    if not tvm_ffi.structural_equal(before.attrs, after.attrs):
        return False
    place: dict[relax.Var, tuple[int, int]] = {}  # what a variable holds: a parameter or a result

    def operations(func: relax.Function) -> list[relax.Expr]:
        place.update({param: (0, i) for i, param in enumerate(func.params)})
        values: list[relax.Expr] = []
        for var, value in bindings(func):
            if isinstance(value, relax.Var) and not var.same_as(func.body.body):
                place[var] = place[value]
            else:
                place[var] = (1, len(values))
                values.append(value)
        return [*values, func.body.body]

    def same(a: relax.Expr, b: relax.Expr) -> bool:
        if isinstance(a, relax.Var) and isinstance(b, relax.Var):
            return place[a] == place[b]
        if isinstance(a, tvm.ir.Call) and isinstance(b, tvm.ir.Call):
            named = _same_object(a.op, b.op) and all_same(a.args, b.args)
            return named and tvm_ffi.structural_equal((a.attrs, *a.ty_args), (b.attrs, *b.ty_args))
        if isinstance(a, relax.Tuple) and isinstance(b, relax.Tuple):
            return all_same(a.fields, b.fields)
        if isinstance(a, relax.TupleGetItem) and isinstance(b, relax.TupleGetItem):
            return a.index == b.index and same(a.tuple_value, b.tuple_value)
        return _same_object(a, b)

    def all_same(a: Sequence[relax.Expr], b: Sequence[relax.Expr]) -> bool:
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))

    return all_same(operations(before), operations(after))


def _same_object(a: tvm_ffi.Object, b: tvm_ffi.Object) -> bool:
    """Whether two of TVM's objects are one."""
    return bool(a.same_as(b))
