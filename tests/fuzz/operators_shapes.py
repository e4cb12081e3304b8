"""Proposals: what moves, joins, selects and reduces."""

from __future__ import annotations

from typing import Any

import numpy as np

from .draft import Draft
from .onnx_node import RejectedError
from .values import Value


def _axis(d: Draft, x: Value, keep_batch: bool = True) -> int:
    """An axis, now and then counted from the end; not the batch where that is open."""
    first = 1 if keep_batch and d.open_batch else 0
    if x.rank <= first:
        raise RejectedError("no axis")
    axis = int(d.rng.integers(first, x.rank))
    return axis - x.rank if d.chance(0.3) else axis


def transpose(d: Draft) -> None:
    x = d.pick(lambda v: v.rank >= 2)
    if x.rank == 4 and d.chance(0.6):
        order = d.choose(([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2]))
    else:
        order = [int(n) for n in d.rng.permutation(x.rank)]
        if d.open_batch:
            order = [0, *(n for n in order if n)]
    d.op("Transpose", x, perm=order)


def reshape(d: Draft) -> None:
    x = d.pick(lambda v: v.rank >= 1)
    first = 0 if d.open_batch else x.shape[0]
    rest = int(np.prod(x.shape[1:]))
    forms = [[first, -1], [first, rest]]
    if rest % 2 == 0:
        forms += [[first, 2, rest // 2], [first, 2, -1], [first, rest // 2, 1, 2]]
    if x.rank == 4:
        forms += [[0, 0, -1], [first, x.shape[1], -1, 1], [first, x.shape[1], 1, -1]]
    if not d.open_batch:
        forms += [[-1], [1, -1]]
    d.op("Reshape", x, d.ints(*d.choose(forms)))


def flatten(d: Draft) -> None:
    x = d.pick(lambda v: v.rank >= 2)
    d.op("Flatten", x, axis=1 if d.open_batch or d.chance(0.7) else _axis(d, x))


def squeeze(d: Draft) -> None:
    if d.chance(0.5):
        x = d.pick(lambda v: 1 <= v.rank <= 4)
        d.op("Unsqueeze", x, d.ints(int(d.rng.integers(1, x.rank + 1))))
        return
    x = d.pick(lambda v: 1 in v.shape[1:])
    axes = [n for n, size in enumerate(x.shape) if size == 1 and n]
    d.op("Squeeze", x, d.ints(d.choose(axes)))


def shuffle(d: Draft) -> None:
    """A channel shuffle: reshape, transpose, reshape."""
    x = d.pick(lambda v: v.rank == 4 and v.shape[1] % 2 == 0 and v.dtype == "float32")
    n, c, h, w = (0 if d.open_batch else x.shape[0], *x.shape[1:])
    y = d.op("Reshape", x, d.ints(n, 2, c // 2, h, w))
    y = d.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    d.op("Reshape", y, d.ints(n, c, h, w))


def concat(d: Draft) -> None:
    x = d.pick(lambda v: v.rank >= 1)
    axis = _axis(d, x)
    place = axis % x.rank

    def fits(v: Value) -> bool:
        ranks = v.rank == x.rank and v.dtype == x.dtype
        return ranks and all(
            n == place or a == b for n, (a, b) in enumerate(zip(v.shape, x.shape, strict=True))
        )

    parts = [x, *(d.pick(fits) for _ in range(d.choose((1, 1, 2))))]
    d.op("Concat", *parts, axis=axis)


def split(d: Draft) -> None:
    x = d.pick(lambda v: v.rank >= 2 and max(v.shape[1:]) >= 2)
    axis = _axis(d, x)
    size = x.shape[axis]
    if size < 2:
        raise RejectedError("nothing to split")
    if size % 2 == 0 and d.chance(0.4):
        attributes: dict[str, Any] = {"num_outputs": 2} if d.opset >= 18 else {}
        d.ops("Split", x, outputs=2, axis=axis, **attributes)
    else:
        first = int(d.rng.integers(1, size))
        d.ops("Split", x, d.ints(first, size - first), outputs=2, axis=axis)


def slice_(d: Draft) -> None:
    x = d.pick(lambda v: v.rank >= 1)
    axis = _axis(d, x)
    size = x.shape[axis]
    start, end = sorted(int(n) for n in d.rng.integers(0, size + 1, 2))
    step = d.choose((1, 1, 1, 2))
    if d.chance(0.2):
        start, end, step = size - 1, -(10**6), -1
    elif d.chance(0.2):
        end = d.choose((2**31 - 1, 2**63 - 1, -1))
    parts = [d.ints(start), d.ints(end), d.ints(axis)]
    d.op("Slice", x, *parts, *([d.ints(step)] if step != 1 or d.chance(0.3) else []))


def gather(d: Draft) -> None:
    x = d.pick(lambda v: v.rank >= 1)
    axis = _axis(d, x)
    size = x.shape[axis]
    count = d.choose(((), (1,), (3,), (2, 2)))
    indices = d.rng.integers(-size if d.chance(0.3) else 0, size, count)
    if d.chance(0.15) and x.rank >= 2 and not d.open_batch:
        d.op("GatherElements", x, d.constant(d.rng.integers(0, size, x.shape), np.int64), axis=axis)
        return
    d.op("Gather", x, d.constant(indices, d.choose((np.int64, np.int64, np.int32))), axis=axis)


def pad(d: Draft) -> None:
    x = d.floats(2, 3, 4, 4)
    first = 1 if d.open_batch else d.choose((0, 1, min(2, x.rank - 1)))
    most = 2
    low = [0 if n < first else int(d.rng.integers(0, most + 1)) for n in range(x.rank)]
    high = [0 if n < first else int(d.rng.integers(0, most + 1)) for n in range(x.rank)]
    if d.chance(0.1):
        high[-1] = -1
    mode = d.choose(("constant",) * 5 + ("edge", "reflect") + (("wrap",) if d.opset >= 19 else ()))
    value = d.constant(d.choose((0.0, 1.0, -1.0, 0.5))) if mode == "constant" else None
    d.op("Pad", x, d.ints(*low, *high), value if d.chance(0.7) else None, mode=mode)


def expand(d: Draft) -> None:
    x = d.pick(lambda v: v.rank >= 2 and 1 in v.shape[1:])
    shape = [1 if n == 0 else (3 if size == 1 else size) for n, size in enumerate(x.shape)]
    if d.chance(0.5):
        d.op("Expand", x, d.ints(*shape))
    else:
        d.op("Tile", x, d.ints(*(1 if n == 0 else d.choose((1, 2)) for n in range(x.rank))))


def reduce(d: Draft) -> None:
    x = d.floats()
    if not x.rank:
        raise RejectedError("no axis")
    op_type = d.choose(
        ("ReduceMean", "ReduceMean", "ReduceSum", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1")
        + (
            ("ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd")
            if d.chance(0.3)
            else ()
        )
    )
    drawn = [_axis(d, x) for _ in range(d.choose((1, 1, 2)))]
    axes = sorted({axis % x.rank: axis for axis in drawn}.values())
    keep = {"keepdims": int(d.rng.integers(2))}
    as_input = d.opset >= 18 or op_type == "ReduceSum"
    if d.chance(0.1) and not d.open_batch:
        d.op(op_type, x, **keep)
    elif as_input:
        d.op(op_type, x, d.ints(*axes), **keep)
    else:
        d.op(op_type, x, axes=axes, **keep)


def arg_reduce(d: Draft) -> None:
    x = d.floats(2, 3, 4)
    attributes: dict[str, Any] = {"axis": _axis(d, x), "keepdims": int(d.rng.integers(2))}
    if d.chance(0.2):
        attributes["select_last_index"] = 1
    d.op(d.choose(("ArgMax", "ArgMin")), x, **attributes)


def top_k(d: Draft) -> None:
    x = d.floats(2, 3)
    axis = _axis(d, x)
    count = int(d.rng.integers(1, x.shape[axis] + 1))
    d.ops("TopK", x, d.ints(count), outputs=2, axis=axis, largest=int(d.rng.integers(2)))


def space(d: Draft) -> None:
    x = d.floats(4)
    if d.chance(0.5):
        if x.shape[1] % 4:
            raise RejectedError("channels")
        d.op("DepthToSpace", x, blocksize=2, mode=d.choose(("DCR", "CRD")))
    else:
        d.op("SpaceToDepth", x, blocksize=2)


def cumulate(d: Draft) -> None:
    x = d.floats(2, 3)
    axis = d.constant(_axis(d, x), np.int64)
    d.op("CumSum", x, axis, exclusive=int(d.rng.integers(2)), reverse=int(d.rng.integers(2)))


def computed_shape(d: Draft) -> None:
    """A reshape to a shape that the graph computes, as exporters write it."""
    x = d.pick(lambda v: v.rank >= 2 and v.dtype == "float32")
    shape = d.op("Shape", x)
    first = d.op("Gather", shape, d.ints(0), axis=0)
    target = d.op("Concat", first, d.ints(-1), axis=0)
    d.op("Reshape", x, target)
    for value in (shape, first, target):
        d.values.remove(value)


def one_hot(d: Draft) -> None:
    x = d.pick(lambda v: v.dtype == "int64" and v.rank >= 1 and int(v.array.min()) >= 0)
    d.op("OneHot", x, d.constant(6, np.int64), d.constant([0.0, 1.0]), axis=d.choose((-1, 1)))


def trilu(d: Draft) -> None:
    d.op("Trilu", d.floats(2, 3, 4), upper=int(d.rng.integers(2)))
