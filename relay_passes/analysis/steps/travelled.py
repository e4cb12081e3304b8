"""Step functions whose values were moved between the step and what reads them.

Reshape, Transpose, Concat, Split, Slice, Gather, Resize, Pad and their like compute nothing, so
that codes may be moved in the place of levels. What a moved tensor holds is known by its *leaves*,
the step functions that its elements come from, and by an index that says which element stands
where; operators between moves change the levels of the leaves and move nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.moves.index_maps import FILL, static_shape
from abc_tvm.relay_passes.analysis.moves.move import Move, as_move
from abc_tvm.relay_passes.analysis.steps.constant_pieces import FLOAT_MAX, joined
from abc_tvm.relay_passes.analysis.steps.find_steps import common_form
from abc_tvm.relay_passes.analysis.steps.float_order import to_key
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep, StepFunction
from abc_tvm.relay_passes.rewrite import content

MOST_LEAVES = 16
"""Step functions that one moved tensor may be made of: a kernel reads them all."""


@dataclass(frozen=True)
class Leaf:
    """A step function of ``root``, max-pooled as ``pooled`` or its channels where that is given.

    ``nominal`` thresholds do not count ties. Its channels are the last axis, or, ``turned``, the
    second one: then it is read as an image whose axes are in another order. ``copies``: how often
    the channels of the root stand behind one another, each time with other thresholds, as in a
    thermometer code.
    """

    root: relax.Var
    steps: StepFunction
    nominal: int
    pooled: relax.Var | None = None
    turned: bool = False
    copies: int = 1

    @property
    def dims(self) -> tuple[int, int, int]:
        """Height, width and channels of the image."""
        height, width, channels = image_dims(static_shape(self.root), self.turned)
        if self.pooled is not None:  # of a pooled tensor it may be some channels
            _, height, width, _ = static_shape(self.pooled)
        return height, width, channels * self.copies

    @property
    def size(self) -> int:
        """Elements, of all images of a batch."""
        return static_shape(self.tensor)[0] * int(np.prod(self.dims))

    @property
    def tensor(self) -> relax.Var:
        """What has the elements of the leaf, in the place of levels."""
        return self.root if self.pooled is None else self.pooled


@dataclass(frozen=True)
class Travelled:
    """Levels of ``leaves``, which all have the same, as they lie after moves.

    ``index`` int64, of the moved tensor's shape: the flat index in the leaves, one behind the
    other, :data:`.index_maps.FILL` where the number ``fill`` stands.
    """

    leaves: tuple[Leaf, ...]
    index: np.ndarray
    fill: float | None = None

    @property
    def levels(self) -> np.ndarray:
        """float32 ``[N + 1]``."""
        return self.leaves[0].steps.levels

    @property
    def nominal(self) -> int:
        """The most thresholds of a leaf, ties not counted."""
        return max(leaf.nominal for leaf in self.leaves)

    def scaled(self, power: np.float32) -> Travelled:
        """The same with levels (and the fill) divided by a power of two."""
        leaves = (
            replace(leaf, steps=replace(leaf.steps, levels=leaf.steps.levels / power))
            for leaf in self.leaves
        )
        fill = None if self.fill is None else float(np.float32(self.fill) / power)
        return replace(self, leaves=tuple(leaves), fill=fill)

    def identity(self) -> bool:
        """Whether nothing was moved: one leaf, in its own order and shape."""
        leaf = self.leaves[0]
        shape = (static_shape(leaf.tensor)[0], *leaf.dims)
        if len(self.leaves) > 1 or leaf.copies > 1 or self.index.shape != shape:
            return False
        return np.array_equal(self.index.reshape(-1), np.arange(self.index.size))

    def move(self) -> Move:
        """The tables of the move.

        Raises:
            NotAStep: None say so, or images of a batch are mixed.
        """
        dims = [leaf.dims for leaf in self.leaves]
        sizes = [h * w * c for h, w, c in dims]
        batch = static_shape(self.leaves[0].tensor)[0]
        if any(static_shape(leaf.tensor)[0] != batch for leaf in self.leaves):
            raise NotAStep("the activation puts batches of several sizes together")
        if self.index.ndim != 4 or len(self.index) != batch:
            raise NotAStep("the activation moves values from image to image")
        starts = np.cumsum([0, *sizes])
        owner = np.searchsorted(starts[1:] * batch, self.index, side="right")
        owner = np.minimum(owner, len(sizes) - 1)
        size = np.array(sizes)[owner]
        own = self.index - starts[owner] * batch
        images = np.arange(batch).reshape(-1, 1, 1, 1)
        outside = self.index == FILL
        if np.any((own // size != images) & ~outside):
            raise NotAStep("the activation moves values from image to image")
        flat = np.where(outside, FILL, starts[owner] + own % size)
        if np.any(flat != flat[:1]):
            raise NotAStep("the activation moves values differently in every image")
        move = as_move(flat[0], dims)
        if move is None:
            raise NotAStep(
                "its input is a step function moved in a way that rows, columns and channels "
                "do not say one by one"
            )
        return move


def image_dims(shape: Sequence[int], turned: bool) -> tuple[int, int, int]:
    """Height, width and channels by which a tensor of any rank is read as an image.

    Its last axis are the channels, or the second one if ``turned``.
    """
    rest = list(shape[1:]) or [1]
    if turned:
        rest = [*rest[1:], rest[0]]
    *outer, last = rest
    return (int(np.prod(outer[:-1])), outer[-1], last) if outer else (1, 1, last)


def at_rest(leaf: Leaf) -> Travelled:
    """A leaf that nothing has moved yet."""
    shape = static_shape(leaf.tensor)
    if leaf.turned:
        shape = (shape[0], *shape[2:], shape[1])
    index = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    return Travelled((leaf,), np.moveaxis(index, -1, 1) if leaf.turned else index)


def together(
    parts: Sequence[Travelled], indices: Sequence[np.ndarray], fills: Sequence[float]
) -> Travelled:
    """What an operator moves from ``parts``, each as :func:`.index_maps.moved_indices` says.

    ``fills``: the numbers that it adds. Leaves get common levels.

    Raises:
        NotAStep: They have none, or too many, or a number is no level.
    """
    leaves = [leaf for part in parts for leaf in part.leaves]
    starts = np.cumsum([0, *(sum(leaf.size for leaf in part.leaves) for part in parts)])
    padded = False
    if len(parts) == 1 and indices[0].min(initial=0) != FILL:
        total = parts[0].index.reshape(-1)[indices[0]]
    else:
        total = np.full(indices[0].shape, FILL, np.int64)
        nothing = np.ones(total.shape, bool)
        for part, index, start in zip(parts, indices, starts[:-1], strict=True):
            there = index != FILL
            moved = part.index.reshape(-1)[index[there]]
            # A hole that the part had already is one of its fill.
            total[there] = np.where(moved == FILL, FILL, moved + start)
            nothing &= ~there
        padded = bool(nothing.any())
    numbers = {part.fill for part in parts if part.fill is not None}
    numbers |= set(fills) if padded else set()
    if len(numbers) > 1:
        raise NotAStep("the activation is padded with several numbers")
    leaves = common_levels(leaves, [leaf.steps.levels for leaf in leaves])
    fill = next(iter(numbers), None)
    if fill is not None and not np.any(leaves[0].steps.levels == np.float32(fill)):
        raise NotAStep(f"its input is padded with {fill:g}, which is no level of its step function")
    return _read_alone(_stacked(Travelled(tuple(leaves), total, fill)))


def pooled_behind(whole: Travelled, pooled: relax.Var) -> Travelled:
    """``whole`` max-pooled to ``pooled`` NHWC, where moves only put channels in another order.

    Each leaf is pooled for itself, and then moved.

    Raises:
        NotAStep: Something else was moved, or the maximum of levels is not that of their codes.
    """
    if whole.index.ndim != 4 or any(
        leaf.pooled is not None or leaf.turned or len(static_shape(leaf.root)) != 4
        for leaf in whole.leaves
    ):
        raise NotAStep("max-pooling of values that were moved, pooled or reshaped before")
    if not all(leaf.steps.rising for leaf in whole.leaves):
        raise NotAStep("max-pooling after levels that do not rise with the input")
    batch, height, width, channels = whole.index.shape
    _, rows, columns, _ = static_shape(pooled)
    image = np.arange(height * width).reshape(1, height, width, 1)
    images = np.arange(batch * rows * columns).reshape(batch, rows, columns)
    index = np.full((batch, rows, columns, channels), FILL, np.int64)
    start, begin = 0, 0
    for leaf in whole.leaves:
        count = leaf.dims[2]
        first = whole.index[0, 0, 0]
        mine = (first >= start) & (first < start + leaf.size)
        at = np.arange(batch).reshape(-1, 1, 1, 1) * height * width + image
        wanted = start + at * count + (first[mine] - start)
        same_size = leaf.dims[:2] == (height, width)
        if not same_size or not np.array_equal(whole.index[..., mine], wanted):
            raise NotAStep("max-pooling of rows and columns that were moved before")
        index[..., mine] = begin + images[..., None] * count + (first[mine] - start)
        start, begin = start + leaf.size, begin + batch * rows * columns * count
    if np.any(index == FILL):
        raise NotAStep("max-pooling of what was padded before")
    return replace(
        whole, leaves=tuple(replace(leaf, pooled=pooled) for leaf in whole.leaves), index=index
    )


def common_levels(leaves: Sequence[Leaf], values: Sequence[np.ndarray]) -> list[Leaf]:
    """The leaves with other values in the place of their levels, and one list of levels for all.

    Of a pooled leaf, codes are compared in the place of levels: values have to rise with them in
    every channel.

    ``values``: of each leaf float32 ``[N + 1]``, or ``[N + 1, C]`` where they differ by channel.

    Raises:
        NotAStep: No one list of levels fits all channels.
    """
    if all(np.array_equal(value, leaves[0].steps.levels) for value in values) and all(
        np.array_equal(leaf.steps.levels, leaves[0].steps.levels) for leaf in leaves
    ):
        return list(leaves)
    pieces = []
    for leaf, value in zip(leaves, values, strict=True):
        channels = leaf.steps.thresholds.shape[1]
        wide = np.broadcast_to(value.reshape(len(value), -1), (len(value), channels))
        pieces += [_pieces(leaf.steps, wide[:, c], c) for c in range(channels)]
    whole = common_form([(start[1:], value) for start, value in pieces])
    changed, at = [], 0
    for leaf in leaves:
        channels = leaf.steps.thresholds.shape[1]
        part = slice(at, at + channels)
        steps = StepFunction(whole.thresholds[:, part], whole.sense[part], whole.levels)
        counts = np.array([len(value) for _, value in pieces[part]])
        turned = np.any((steps.sense != leaf.steps.sense) & (counts > 1))
        if leaf.pooled is not None and (turned or not steps.rising):
            raise NotAStep("what follows max-pooling does not rise with its levels")
        nominal = min(leaf.nominal, len(whole.thresholds))
        changed.append(replace(leaf, steps=steps, nominal=nominal))
        at += channels
    return changed


def _pieces(steps: StepFunction, values: np.ndarray, c: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each value of one channel begins, as keys of floats, in the order of the input."""
    ordered = values if steps.sense[c] > 0 else values[::-1]
    lowest, highest = (int(to_key(np.asarray(v))) for v in (-FLOAT_MAX, FLOAT_MAX))
    with np.errstate(all="ignore"):
        keys = to_key(np.clip(steps.thresholds[:, c], -FLOAT_MAX, np.float32(np.inf)))
    keys = np.where(np.isposinf(steps.thresholds[:, c]), highest + 1, np.maximum(keys, lowest))
    start = np.concatenate([[lowest], keys])
    end = np.concatenate([start[1:], [highest + 1]])
    there = end > start
    return joined(start[there], ordered[there])


def _stacked(whole: Travelled) -> Travelled:
    """Leaves of one root become one leaf, whose channels stand behind one another."""
    same: dict[object, list[int]] = {}
    for k, leaf in enumerate(whole.leaves):
        key = (leaf.root, leaf.pooled, leaf.turned) if leaf.pooled is None else k
        same.setdefault(key, []).append(k)
    if all(len(group) == 1 for group in same.values()):
        return whole
    starts = np.cumsum([0, *(leaf.size for leaf in whole.leaves)])
    index = np.full_like(whole.index, FILL)
    leaves: list[Leaf] = []
    begin = 0
    for group in same.values():
        parts = [whole.leaves[k] for k in group]
        widths = [part.dims[2] for part in parts]
        total, before = sum(widths), 0
        for k, width in zip(group, widths, strict=True):
            mine = (whole.index >= starts[k]) & (whole.index < starts[k + 1])
            own = whole.index[mine] - starts[k]
            index[mine] = begin + own // width * total + before + own % width
            before += width
        thresholds = np.concatenate([part.steps.thresholds for part in parts], 1)
        sense = np.concatenate([part.steps.sense for part in parts])
        steps = StepFunction(thresholds, sense, parts[0].steps.levels)
        copies, nominal = sum(p.copies for p in parts), max(p.nominal for p in parts)
        leaves.append(replace(parts[0], steps=steps, nominal=nominal, copies=copies))
        begin += leaves[-1].size
    return replace(whole, leaves=tuple(leaves), index=index)


def _read_alone(whole: Travelled) -> Travelled:
    """Without leaves that nothing reads, and equal ones once."""
    if len(whole.leaves) == 1:
        if whole.index.max(initial=FILL) == FILL:
            raise NotAStep("nothing of the activation is left by what moves it")
        return whole
    sizes = [leaf.size for leaf in whole.leaves]
    starts = np.cumsum([0, *sizes])
    outside = whole.index == FILL
    owner = np.minimum(
        np.searchsorted(starts[1:], whole.index, side="right"), len(whole.leaves) - 1
    )
    used = set(np.nonzero(np.bincount(owner[~outside], minlength=len(sizes)))[0].tolist())
    kept: dict[object, int] = {}
    leaves: list[Leaf] = []
    begin, moved = 0, np.zeros(len(whole.leaves), np.int64)
    for k, leaf in enumerate(whole.leaves):
        if k not in used:
            continue
        steps = leaf.steps
        key = content(
            leaf.tensor, leaf.root, leaf.turned, leaf.copies, steps.thresholds, steps.sense
        )
        if key not in kept:
            kept[key] = begin
            leaves.append(leaf)
            begin += sizes[k]
        moved[k] = kept[key] - starts[k]
    if not leaves:
        raise NotAStep("nothing of the activation is left by what moves it")
    if len(leaves) > MOST_LEAVES:
        raise NotAStep(
            f"its input is put together of {len(leaves)} step functions; up to {MOST_LEAVES} "
            "can be moved as codes"
        )
    return replace(
        whole, leaves=tuple(leaves), index=np.where(outside, FILL, whole.index + moved[owner])
    )


def channels_read(whole: Travelled) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every element that is no fill: its leaf, the channel there, and the channel it stands in.

    int64, one for each, without repetitions.
    """
    first = whole.index[:1]
    sizes = [leaf.size for leaf in whole.leaves]
    starts = np.cumsum([0, *sizes])
    owner = np.searchsorted(starts[1:], first, side="right")
    there = first != FILL
    owner = np.minimum(owner, len(sizes) - 1)
    counts = np.array([leaf.dims[2] for leaf in whole.leaves], np.int64)
    inner = (first - starts[owner]) % counts[owner]
    outer = np.broadcast_to(np.arange(first.shape[-1]), first.shape)
    rows = np.unique(np.stack([owner[there], inner[there], outer[there]], 1), axis=0)
    return rows[:, 0], rows[:, 1], rows[:, 2]
