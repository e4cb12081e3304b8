"""Codes that were moved between the step and the layer: what stands where, by the move's tables.

Of a layer whose input is put together of several steps each is checked for itself: of elements
that come from another one nothing is said (NaN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_graph import RelaxGraph, array, dimensions, operator
from abc_tvm.checks.graphs.relax_ops import ints

MOVES = ("abc.move_bitserial", "abc.move_int8")


VIEW = "view"
"""The name of how a tensor lies that is another one, reshaped or transposed."""


@dataclass(frozen=True)
class MovedPart:
    """``call`` moves what the layer reads; this is about its source ``which``.

    ``before``: a move that made that source of others, of which it is about one.
    """

    call: relax.Call
    which: int
    before: MovedPart | None = None

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Row, column and channel of every element, int64 ``[3, H, W, C]``, and its source."""
        rows, columns, channels, source = (array(a).astype(np.int64) for a in self.call.args[-4:])
        if source.ndim == 1:
            source, channels = source[None, None], channels[:, None, None]
        shape = (rows.shape[-1], columns.shape[-1], source.shape[-1])
        source = np.broadcast_to(source, shape)
        line, pixel, _ = np.indices(shape)
        at = [rows[source, axis, line] + columns[source, axis, pixel] for axis in range(3)]
        return np.stack(at) + channels, source

    def place(self, x: np.ndarray, fill: np.ndarray) -> np.ndarray:
        """``x [B, h, w, c]`` as it lies after the move; ``fill [C]`` where nothing is moved to."""
        if self.before is not None:
            if self.before.filled():
                raise NotChecked("a move that fills, and another one behind it")
            x = self.before.place(x, np.zeros(1))
        (y, column, channel), source = self.places()
        outside = (y < 0) | (column < 0) | (channel < 0)
        inside = (source == self.which) & ~outside
        height, width, count = x.shape[1:]
        if np.any((y >= height) & inside) or np.any((column >= width) & inside):
            raise IndexError("a move reads behind the image")
        if np.any((channel >= count) & inside):
            raise IndexError("a move reads behind the channels")
        moved = x[
            :, np.where(inside, y, 0), np.where(inside, column, 0), np.where(inside, channel, 0)
        ]
        shown = np.where(inside, moved.astype(np.float64), np.nan)
        return np.asarray(np.where(outside, np.broadcast_to(fill, shown.shape[1:]), shown))

    def filled(self) -> bool:
        """Whether something stands there that was not moved."""
        return bool((self.places()[0] < 0).any())


def moved_parts(graph: RelaxGraph, call: relax.Call) -> list[tuple[relax.Expr, MovedPart]]:
    """What a move of codes is made of, through moves before it, and how each part lies."""
    parts: list[tuple[relax.Expr, MovedPart]] = []
    for which, leaf in enumerate(call.args[:-4]):
        before = graph.value.get(leaf)
        if before is None or operator(before) != operator(call):
            parts.append((leaf, MovedPart(call, which)))
            continue
        if int(before.attrs["layout_groups"]) != 1:
            raise NotChecked("codes in groups are moved")
        parts += [
            (inner, replace(MovedPart(call, which), before=part))
            for inner, part in moved_parts(graph, before)
        ]
    return parts


def copies_of(graph: RelaxGraph, root: relax.Var) -> tuple[relax.Var, int]:
    """The tensor whose channels stand behind one another in ``root``, and how often.

    Raises:
        NotChecked: ``root`` is another move of floats.
    """
    call = graph.value.get(root)
    if call is None or operator(call) != "abc.move":
        return root, 1
    (source,) = call.args[:-4]
    _, height, width, channels = dimensions(source)
    count = int(dimensions(root)[3] or 0) // int(channels or 1)
    (y, x, i), _ = MovedPart(call, 0).places()
    wanted = np.indices((int(height or 0), int(width or 0), int(channels or 0)))
    if not all(
        np.array_equal(a, np.tile(b, count)) for a, b in zip((y, x, i), wanted, strict=True)
    ):
        raise NotChecked("its root is moved in another way than by copies")
    return source, count


Way = Callable[[np.ndarray], np.ndarray]
View = tuple[relax.Var, Way, Way]
"""A tensor, how an array of the root becomes one of it, and back."""


def behind(graph: RelaxGraph, root: relax.Var) -> list[View]:
    """``root`` and the tensors of which it is another view: reshaped or transposed."""
    views: list[View] = [(root, _same, _same)]
    while True:
        var, there, back = views[-1]
        call = graph.value.get(var)
        if call is None or operator(call) not in ("reshape", "permute_dims"):
            return views
        source = call.args[0]
        if not isinstance(source, relax.Var):
            return views
        if operator(call) == "permute_dims":
            axes = ints(call.attrs.axes) if call.attrs.axes is not None else None
            rank = len(dimensions(source))
            order = list(axes or reversed(range(rank)))
            if order[0] != 0:
                return views
            undo = [order.index(a) for a in range(rank)]
            views.append((source, _turned(there, undo), _first_turned(back, order)))
            continue
        shapes = [tuple(int(d or 0) for d in dimensions(v)[1:]) for v in (source, var)]
        if any(0 in s for s in shapes) or np.prod(shapes[0]) != np.prod(shapes[1]):
            return views
        views.append((source, _shaped(there, shapes[0]), _first_shaped(back, shapes[1])))


def _turned(way: Way, axes: list[int]) -> Way:
    return lambda x: way(x).transpose(axes)


def _first_turned(way: Way, axes: list[int]) -> Way:
    return lambda x: way(x.transpose(axes))


def _shaped(way: Way, shape: tuple[int, ...]) -> Way:
    return lambda x: way(x).reshape(-1, *shape)


def _first_shaped(way: Way, shape: tuple[int, ...]) -> Way:
    return lambda x: way(x.reshape(-1, *shape))


def _same(x: np.ndarray) -> np.ndarray:
    return x
