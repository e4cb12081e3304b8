"""A move of images as tables: which source, row, column and channel each element comes from.

``out[b, h, w, c] = x_k[b, y, x, i]`` with ``k = source[c]`` and ``(y, x, i)`` the sum of what row,
column and channel say: slices, shuffles, transposes, resizing, space to depth and back, flattening
and concatenation of channels are of this form. The tables are as long as the axes, not as the
image. Where channels lie otherwise in every row (concatenation along rows), column or pixel
(reshaping across pixels), the table of channels says so row by row, column by column or both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abc_tvm.relay_passes.analysis.moves.index_maps import FILL

OUTSIDE = -(1 << 20)
"""A part of a coordinate that makes it negative: what stands there is the fill."""


MOST_PLACES = 1 << 16
"""Elements of a table that is longer than the axes: 1 MB, in a kernel that is read by one layer."""


@dataclass(frozen=True)
class Move:
    """``rows`` int32 ``[K, 3, H]``, ``columns`` int32 ``[K, 3, W]``, ``channels`` int32 ``[3, C]``:
    their sum is row, column and channel in source ``source`` int32 ``[C]``. Where a coordinate is
    negative the fill stands.

    Or ``channels`` are ``[3, 1 or H, 1 or W, C]`` and ``source`` is ``[1 or H, 1 or W, C]``.
    """

    rows: np.ndarray
    columns: np.ndarray
    channels: np.ndarray
    source: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the result."""
        return self.rows.shape[2], self.columns.shape[2], self.source.shape[-1]

    @property
    def by_axes(self) -> bool:
        """Whether channels lie in one way in all pixels."""
        return self.source.ndim == 1

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """As operators take them."""
        return self.rows, self.columns, self.channels, self.source

    @property
    def filled(self) -> bool:
        """Whether something stands there that was not moved."""
        parts = (self.rows, self.columns, self.channels)
        return any(bool((part < OUTSIDE // 2).any()) for part in parts)

    def places(self) -> np.ndarray:
        """int64 ``[4, H, W, C]``: source, row, column and channel of every element."""
        height, width, _ = self.shape
        source = np.broadcast_to(self.source, self.shape)
        y, x = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
        at = np.stack([self.rows[source, i, y] + self.columns[source, i, x] for i in range(3)])
        lanes = self.channels.reshape(3, *([1, 1] if self.by_axes else []), *self.source.shape)
        return np.concatenate([source[None], at + lanes]).astype(np.int64)


def as_move(index: np.ndarray, dims: Sequence[tuple[int, int, int]]) -> Move | None:
    """The tables of int64 ``[H, W, C]``: flat indices in images, one behind the other.

    ``dims``: height, width and channels of each image. ``None``: no tables say so, or such as
    have more than :data:`MOST_PLACES` elements.
    """
    move = _by_axes(index, dims)
    height, width, channels = index.shape
    for rows, columns in ((height, 1), (1, width), (height, width)):
        if move is not None or rows * columns * channels > MOST_PLACES:
            continue
        # Each row (or column) as channels of its own in an image of one.
        turned = index.swapaxes(0, 1) if columns == 1 else index
        flat = turned.reshape(height // rows, width // columns, rows * columns * channels)
        move = _by_axes(flat, dims)
        if move is not None:
            move = _in_pixels(move, (height, width, channels), rows, columns)
    return move


def _in_pixels(flat: Move, shape: tuple[int, int, int], rows: int, columns: int) -> Move:
    """A move whose channels are those of ``rows`` and ``columns``, as one of images of a shape."""
    height, width, channels = shape
    source, table = flat.source, flat.channels.copy()
    tables = []
    for lines, whole, length in ((flat.rows, rows, height), (flat.columns, columns, width)):
        if whole > 1:
            table += lines[source, :, 0].T
            lines = np.zeros((len(lines), 3, length), np.int32)
        tables.append(np.broadcast_to(lines, (len(lines), 3, length)))
    size = (rows, columns, channels)
    return Move(
        np.ascontiguousarray(tables[0]),
        np.ascontiguousarray(tables[1]),
        table.reshape(3, *size),
        source.reshape(size),
    )


def _by_axes(index: np.ndarray, dims: Sequence[tuple[int, int, int]]) -> Move | None:
    """The tables that are as long as the axes."""
    height, width, channels = index.shape
    ends = np.cumsum([h * w * c for h, w, c in dims])
    starts = ends - [h * w * c for h, w, c in dims]
    source = np.zeros(channels, np.int32)
    rows = np.full((len(dims), 3, height), OUTSIDE, np.int32)
    columns = np.zeros((len(dims), 3, width), np.int32)
    table = np.full((3, channels), OUTSIDE, np.int32)
    owner = np.searchsorted(ends, index, side="right")
    owner = np.where(index == FILL, -1, owner)
    first = owner.reshape(-1, channels).max(0)
    if np.any((owner != first) & (owner != -1)):
        return None
    source[:] = np.maximum(first, 0)
    for k, (_, w, c) in enumerate(dims):
        mine = np.nonzero(first == k)[0]
        if len(mine) == 0:
            continue
        inside = index[:, :, mine] != FILL
        flat = np.where(inside, index[:, :, mine] - starts[k], 0)
        at = np.stack([flat // (w * c), flat // c % w, flat % c])
        h0, w0, c0 = (int(n[0]) for n in np.nonzero(inside))
        base = at[:, h0, w0, c0]
        rows[k] = np.where(inside[:, w0, c0], at[:, :, w0, c0], OUTSIDE)
        columns[k] = np.where(inside[h0, :, c0], at[:, h0, :, c0] - base[:, None], OUTSIDE)
        table[:, mine] = np.where(inside[h0, w0], at[:, h0, w0] - base[:, None], OUTSIDE)
    move = Move(rows, columns, table, source)
    _, y, x, i = move.places()
    sizes = np.array(dims, np.int64)[source]
    # Coordinates behind the end of an axis would reach the next row, if at all.
    inside = bool(np.all((y < sizes[:, 0]) & (x < sizes[:, 1]) & (i < sizes[:, 2])))
    return move if inside and np.array_equal(flat_index(move, dims), index) else None


def flat_index(move: Move, dims: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """int64 ``[H, W, C]``: what :func:`as_move` reads."""
    source, y, x, i = move.places()
    sizes = np.array(dims, np.int64)[source]
    starts = np.cumsum([0, *(h * w * c for h, w, c in dims)])[:-1][source]
    flat = starts + (y * sizes[..., 1] + x) * sizes[..., 2] + i
    return np.where((y < 0) | (x < 0) | (i < 0), FILL, flat)


def copied(dims: tuple[int, int, int], copies: int) -> tuple[np.ndarray, ...]:
    """The tables that put the channels of one image behind one another several times."""
    height, width, channels = dims
    rows, columns = np.zeros((1, 3, height), np.int32), np.zeros((1, 3, width), np.int32)
    table = np.zeros((3, channels * copies), np.int32)
    rows[0, 0], columns[0, 1] = np.arange(height), np.arange(width)
    table[2] = np.tile(np.arange(channels, dtype=np.int32), copies)
    return rows, columns, table, np.zeros(channels * copies, np.int32)


def put_together(
    move: Move, dims: Sequence[tuple[int, int, int]], unit: int
) -> tuple[Move, Move] | None:
    """A move of several images as two: their channels one behind the other, then a move of one.

    ``None`` where there is one image, or they differ in height and width, or the channels of one
    fill no whole number of ``unit``, in which the first move would have to part them; and where
    channels lie differently from pixel to pixel.
    """
    height, width, _ = dims[0]
    widths = [c for _, _, c in dims]
    if (
        not move.by_axes
        or len(dims) < 2
        or any(d[:2] != (height, width) or d[2] % unit for d in dims)
    ):
        return None
    starts = np.cumsum([0, *widths]).astype(np.int32)
    rows = np.zeros((len(dims), 3, height), np.int32)
    columns = np.zeros((len(dims), 3, width), np.int32)
    rows[:, 0], columns[:, 1] = np.arange(height), np.arange(width)
    table = np.zeros((3, starts[-1]), np.int32)
    table[2] = np.concatenate([np.arange(w) for w in widths])
    source = np.repeat(np.arange(len(dims)), widths).astype(np.int32)
    first = Move(rows, columns, table, source)
    # Rows and columns may move each source in its own way; where they do not, one table is enough.
    used = np.unique(move.source)
    if any(
        not np.array_equal(part[k], part[used[0]])
        for part in (move.rows[:, :2], move.columns[:, :2])
        for k in used
    ):
        return None
    shift = np.zeros(len(dims), np.int32)
    for k in used:
        shift[k] = move.rows[k, 2, 0] - move.rows[used[0], 2, 0]
        same = move.rows[k, 2] - shift[k] == move.rows[used[0], 2]
        outside = move.rows[k, 2] < OUTSIDE // 2
        if not np.all(same | outside) or not np.array_equal(
            move.columns[k, 2], move.columns[used[0], 2]
        ):
            return None
    channels = move.channels.copy()
    channels[2] += starts[:-1][move.source] + shift[move.source]
    one = Move(move.rows[used[:1]], move.columns[used[:1]], channels, np.zeros_like(move.source))
    return first, one
