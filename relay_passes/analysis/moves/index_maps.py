"""Where every element of a moved tensor comes from, found by moving numbers.

A tensor of consecutive integers is sent through the operator; what arrives says which element
stands where. Of operators whose meaning NumPy has this is NumPy's. Any other that reads one float
tensor (resizing, padding by edges, functions of the importer) is run by TVM on integers as floats,
and then on the same integers in another order: if the second result is the first one in that
order, it has moved them and computed nothing.

An open batch counts as :data:`BATCH` images.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from abc_tvm.errors import UnsupportedError
from abc_tvm.relay_passes.analysis.padding import Functions, padding_of
from abc_tvm.relay_passes.rewrite import Definitions, constant, dtype_of, op_name
from abc_tvm.relay_passes.rewrite import shape_of as shape_with_batch

BATCH = 2
"""Images that stand for an open batch, so that mixing of images shows."""

FILL = -1
"""The index of what stands where nothing was moved to: padding by a number."""

MOST_ELEMENTS = 1 << 24
"""Up to here every integer is a float32."""


def static_shape(expr: relax.Expr) -> tuple[int, ...]:
    """Extents, with :data:`BATCH` in the place of what is open."""
    return tuple(_extent(d) for d in shape_with_batch(expr))


def _extent(extent: int | relax.Expr) -> int:
    if isinstance(extent, int):
        return extent
    if isinstance(extent, tirx.Var):
        return BATCH
    if isinstance(extent, tirx.IntImm):
        return int(extent.value)
    name = type(extent).__name__
    if name == "Cast":
        return _extent(extent.value)
    if name not in _ARITHMETIC:
        raise UnsupportedError(f"an extent is {extent}; fix the batch (--batch)")
    return _ARITHMETIC[name](_extent(extent.a), _extent(extent.b))


_ARITHMETIC: Mapping[str, Callable[[int, int], int]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "FloorDiv": operator.floordiv,
    "FloorMod": operator.mod,
    "Min": min,
    "Max": max,
}


def moved_indices(
    var: relax.Var, defined: Definitions, functions: Functions, fills: list[float]
) -> tuple[list[relax.Var], list[np.ndarray]] | None:
    """The tensors that an operator moves, and the index of each as it lies behind it.

    ``var`` is bound to the operator; for each tensor that it reads there is an int64 array of the
    shape of ``var``: the flat index in that tensor, or :data:`FILL` where none of its elements
    stands. Numbers that it pads by are added to ``fills``. ``None``: it moves nothing, or computes,
    or fits some sizes of an open batch alone.
    """
    try:
        return _moved(var, defined, functions, fills)
    except ValueError:  # NumPy's, of shapes that do not fit each other
        return None


def _moved(
    var: relax.Var, defined: Definitions, functions: Functions, fills: list[float]
) -> tuple[list[relax.Var], list[np.ndarray]] | None:
    call = defined.get(var)
    if isinstance(call, relax.TupleGetItem):
        return _split(call, var, defined)
    name = op_name(call)
    if call is None or not hasattr(var.ty, "shape") or dtype_of(var) not in ("float32", "bool"):
        return None
    if name == "concat":
        return _concat(call, var, defined)
    if name is None:
        return None
    if name in _NUMPY and isinstance(call.args[0], relax.Var):
        moved = _NUMPY[name](call, _numbers(call.args[0]), var)
        return None if moved is None else ([call.args[0]], [moved])
    padding = padding_of(call, functions)
    if padding is not None:
        data = call.args[0] if name == "nn.pad" else call.args[1].fields[0]
        fills.append(padding.value)
        wide = np.pad(_numbers(data), padding.widths, constant_values=FILL)
        return [data], [wide]
    if name in _RUN or name == "call_tir":
        return _ran(call, name, functions)
    return None


def _numbers(data: relax.Expr) -> np.ndarray:
    shape = static_shape(data)
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)


def _concat(
    call: relax.Call, var: relax.Var, defined: Definitions
) -> tuple[list[relax.Var], list[np.ndarray]] | None:
    tensors = call.args[0]
    if isinstance(tensors, relax.Var):
        tensors = defined.get(tensors)
    if not isinstance(tensors, relax.Tuple):
        return None
    fields = list(tensors.fields)
    if any(not isinstance(f, relax.Var) for f in fields):
        return None
    axis = int(call.attrs.axis or 0)
    numbers = [_numbers(f) for f in fields]
    indices = []
    for i in range(len(fields)):
        parts = [n if j == i else np.full_like(n, FILL) for j, n in enumerate(numbers)]
        indices.append(np.concatenate(parts, axis))
    return fields, indices


def _split(
    item: relax.TupleGetItem, var: relax.Var, defined: Definitions
) -> tuple[list[relax.Var], list[np.ndarray]] | None:
    call = defined.get(item.tuple_value)
    if call is None or op_name(call) != "split" or not isinstance(call.args[0], relax.Var):
        return None
    where = call.attrs.indices_or_sections
    axis, numbers = int(call.attrs.axis), _numbers(call.args[0])
    parts: int | list[int] = (
        int(where) if isinstance(where, int | tirx.IntImm) else [int(n) for n in where]
    )
    if isinstance(parts, int):
        # TVM makes parts of one size, and the last as large as is left.
        size = -(-numbers.shape[axis] // parts)
        parts = [size * k for k in range(1, parts)]
    return [call.args[0]], [np.split(numbers, parts, axis)[int(item.index)]]


def _transposed(call: relax.Call, x: np.ndarray, var: relax.Var) -> np.ndarray:
    axes = call.attrs.axes
    return x.transpose(None if axes is None else [int(a) for a in axes])


def _reshaped(call: relax.Call, x: np.ndarray, var: relax.Var) -> np.ndarray:
    return x.reshape(static_shape(var))


def _broadcast(call: relax.Call, x: np.ndarray, var: relax.Var) -> np.ndarray:
    return np.broadcast_to(x, static_shape(var))


def _taken(call: relax.Call, x: np.ndarray, var: relax.Var) -> np.ndarray | None:
    index = constant(call.args[1])
    if index is None:
        return None
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    extent = x.size if axis is None else x.shape[axis]
    if np.any((index < 0) | (index >= extent)):  # TVM would read outside
        return None
    return np.take(x, index, axis)


def _sliced(call: relax.Call, x: np.ndarray, var: relax.Var) -> np.ndarray:
    axes, begin, end, *strides = ([int(v) for v in _numbers_of(a)] for a in call.args[1:])
    cut = [slice(None)] * x.ndim
    for i, axis in enumerate(axes):
        stride = strides[0][i] if strides else 1
        stop: int | None = end[i]
        if stride < 0 and end[i] < -x.shape[axis]:
            stop = None
        cut[axis] = slice(begin[i], stop, stride)
    return x[tuple(cut)]


def _numbers_of(arg: relax.Expr) -> list[Any]:
    array = constant(arg)
    if array is not None:
        return list(array.reshape(-1))
    fields = arg.fields if hasattr(arg, "fields") else arg.values
    return [f.value if hasattr(f, "value") else f for f in fields]


def _flipped(call: relax.Call, x: np.ndarray, var: relax.Var) -> np.ndarray:
    return np.flip(x, int(call.attrs.axis))


def _tiled(call: relax.Call, x: np.ndarray, var: relax.Var) -> np.ndarray:
    return np.tile(x, [int(n) for n in call.attrs.repeats])


def _repeated(call: relax.Call, x: np.ndarray, var: relax.Var) -> np.ndarray:
    axis = call.attrs.axis
    return np.repeat(x, int(call.attrs.repeats), None if axis is None else int(axis))


_NUMPY: Mapping[str, Callable[[relax.Call, np.ndarray, relax.Var], np.ndarray | None]] = {
    "permute_dims": _transposed,
    "reshape": _reshaped,
    "squeeze": _reshaped,
    "expand_dims": _reshaped,
    "flatten": _reshaped,
    "broadcast_to": _broadcast,
    "take": _taken,
    "strided_slice": _sliced,
    "flip": _flipped,
    "tile": _tiled,
    "repeat": _repeated,
}

_RUN = ("image.resize2d", "nn.pad", "nn.pixel_shuffle", "layout_transform")

MAY_MOVE = frozenset({*_NUMPY, *_RUN, "concat", "call_tir"})
"""Operators that are asked whether they move."""


def _ran(
    call: relax.Call, name: str, functions: Functions
) -> tuple[list[relax.Var], list[np.ndarray]] | None:
    args = list(call.args[1].fields) if name == "call_tir" else [call.args[0]]
    if len(args) != 1 or not isinstance(args[0], relax.Var) or dtype_of(args[0]) != "float32":
        return None
    if name == "image.resize2d" and str(call.attrs.method) != "nearest_neighbor":
        return None
    shape = static_shape(args[0])
    count = int(np.prod(shape))
    if count > MOST_ELEMENTS:
        return None
    run = _program(call, name, shape, functions)
    numbers = np.arange(count, dtype=np.float32)
    order = np.random.default_rng(0).permutation(count).astype(np.float32)
    first, second = (run(x.reshape(shape)) for x in (numbers, order))
    index = first.astype(np.int64)
    if not np.array_equal(index, first) or index.min() < 0 or index.max() >= count:
        return None
    return (args, [index]) if np.array_equal(order[index], second) else None


def _program(
    call: relax.Call, name: str, shape: Sequence[int], functions: Functions
) -> Callable[[np.ndarray], np.ndarray]:
    """The operator alone, on a tensor of fixed extents, compiled for this machine."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(list(shape), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            if name == "call_tir":
                gvar = builder.add_func(functions[call.args[0]], "move")
                result = relax.call_tir(
                    gvar, [x], relax.TensorType(list(static_shape_of(call)), "float32")
                )
            else:
                result = relax.Call(call.op, [x, *call.args[1:]], call.attrs, call.ty_args)
            out = builder.emit_output(builder.emit(result))
        builder.emit_func_output(out)
    executable = tvm.compile(builder.get(), target="llvm")
    machine = relax.VirtualMachine(executable, tvm.cpu())
    return lambda array: machine["main"](tvm.runtime.tensor(array)).numpy()


def static_shape_of(call: relax.Call) -> tuple[int, ...]:
    """Extents of what a ``call_tir`` returns."""
    return tuple(_extent(int(d) if isinstance(d, tirx.IntImm) else d) for d in call.ty.shape)
