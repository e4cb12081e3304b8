"""One run of a compiled network, compared with onnxruntime stretch by stretch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from abc_tvm.checks.verify.bits import LayerBits
from abc_tvm.checks.verify.choices import ChosenIndices, choices
from abc_tvm.checks.verify.reads import Arrays, Read, Round, read_points
from abc_tvm.checks.verify.reference import Rounding, continued, inputs_of, with_outputs
from abc_tvm.checks.verify.taps import Points, tolerance
from abc_tvm.engines.onnx_engine import OnnxEngine
from abc_tvm.report import Report

ROUNDING = 1e-4
"""Largest difference, relative to the largest output, that float32 rounding may explain."""

MOST_DRIFT = 0.7
"""Outputs of unrelated networks are about 1.4 apart: nothing near that passes."""

DRIFT = 0.1
"""What ``bench`` allows an engine whose bits it cannot see."""

ROUNDED = 0.05
ROUNDED_FLIPS = 0.01
"""Of networks that the user lets be rounded to bytes."""


@dataclass
class Tally:
    """What one round has found."""

    report: Report
    faults: list[str] = field(default_factory=list)
    rows: dict[str, LayerBits] = field(default_factory=dict)
    unchecked: set[str] = field(default_factory=set)
    max_abs_error: float = 0.0
    relative_error: float = 0.0
    forced_error: float = 0.0
    drift: float = 0.0
    agreement: float = 0.0
    images: int = 0
    values: int = 0

    @property
    def failed(self) -> bool:
        """Whether anything is wrong so far."""
        return bool(self.faults)


def compare_round(
    one: Round,
    report: Report,
    standard: onnx.ModelProto,
    points: Points,
    reference: OnnxEngine,
) -> Tally:
    """Compare one run."""
    tally = Tally(report)
    outputs = {name: one.outputs[name] for name in one.names}
    if not _end_to_end(tally, one, outputs, reference):
        return tally
    reads = _reads(tally, one, points, standard)
    given: dict[str, np.ndarray] = {}
    for read in reads:
        given.update({name: array for name, array in read.given.items() if name not in given})
    tally.values += sum(read.index.size for read in reads)
    tally.values += sum(array.size for array in (*one.arrays.values(), *outputs.values()))
    compared = {**given, **outputs}
    limits = {name: _limit(one.wanted[name]) for name in outputs}
    for read in reads:
        limits.update({n: tolerance(v) for n, v in read.meaning.values.items()})
    expected = one.wanted
    off = _off(compared, expected, limits)
    if off:
        chosen = choices(standard, list(outputs))
        model = with_outputs(continued(standard, given), (c.tensor for c in chosen.values()))
        fed = inputs_of(one.arrays, given)
        expected = OnnxEngine(model, optimise=False).run(fed)
        off = _off(compared, expected, limits)
        forced = max(scaled_error(array, expected[name]) for name, array in outputs.items())
        tally.forced_error = max(tally.forced_error, forced)
    left = dict(off)
    if off and not report.rounded:
        weights = {name: one.wanted[name] for name in points.weights}
        judge = Rounding(model, fed, weights)
        left = _unexplained(off, compared, expected, limits, judge, chosen)
    for read in reads:
        _count(tally, read, given, expected, off, left, limits)
    for name, array in outputs.items():
        if tally.report.rounded:
            if scaled_error(array, expected[name]) > ROUNDED:
                tally.faults.append(
                    f"output {name!r} is {scaled_error(array, expected[name]):.2g} of its largest "
                    f"value from onnxruntime's on the same levels"
                )
        elif name in left:
            worst = float(difference(array, expected[name])[left[name]].max())
            tally.faults.append(
                f"output {name!r}: {int(left[name].sum())} of {array.size} values are up to "
                f"{worst:.3g} from onnxruntime's on the same levels"
            )
    return tally


def _unexplained(
    off: Arrays,
    compared: Arrays,
    expected: Arrays,
    limits: Mapping[str, float],
    judge: Rounding,
    chosen: Mapping[str, ChosenIndices],
) -> dict[str, np.ndarray]:
    """Where values that differ are not between those of moved roundings.

    Of indices that were ``chosen`` the values that they point at are asked.
    """
    left = dict(off)
    names = {*off, *(choice.tensor for name, choice in chosen.items() if name in off)}
    low = {name: expected[name].copy() for name in names}
    high = {name: expected[name].copy() for name in names}
    for run in judge.runs():
        for name in names:
            low[name] = np.fmin(low[name], run[name])
            high[name] = np.fmax(high[name], run[name])
        for name, mask in left.items():
            if name in chosen:
                source = chosen[name].tensor
                right = chosen[name].admits(compared[name], low[source], high[source])
            else:
                right = _between(compared[name], low[name], high[name], limits[name])
            left[name] = mask & ~right
        left = {name: mask for name, mask in left.items() if mask.any()}
        if not left:
            break
    return left


def _end_to_end(tally: Tally, one: Round, outputs: Arrays, reference: OnnxEngine) -> bool:
    """Errors from input to output; whether the outputs can be compared further."""
    for name, array in outputs.items():
        other = one.wanted[name]
        if array.shape != other.shape or array.dtype != other.dtype:
            tally.faults.append(
                f"output {name!r} is {array.dtype} {list(array.shape)}, onnxruntime's is "
                f"{other.dtype} {list(other.shape)}"
            )
            tally.max_abs_error = tally.relative_error = float("inf")
    first = one.names[0]
    rows = len(one.wanted[first]) if one.wanted[first].ndim else 1
    tally.images = rows
    if tally.failed:
        return False
    for name, array in outputs.items():
        other = one.wanted[name]
        error = float(difference(array, other).max(initial=0))
        tally.max_abs_error = max(tally.max_abs_error, error)
        tally.relative_error = max(tally.relative_error, relative_error(array, other))
    tally.agreement = _agreement(outputs[first], one.wanted[first])
    scaled = max(scaled_error(array, one.wanted[name]) for name, array in outputs.items())
    if scaled > ROUNDING:
        moved = reference.run({name: _next(array) for name, array in one.arrays.items()})
        drift = max(relative_error(moved[name], one.wanted[name]) for name in outputs)
        tally.drift = max(tally.drift, drift)
        real = {name: array for name, array in outputs.items() if array.dtype.kind == "f"}
        apart = max((relative_error(a, one.wanted[n]) for n, a in real.items()), default=0.0)
        if apart >= MOST_DRIFT:
            tally.faults.append(f"the relative error (2-norm) from input to output is {apart:.2g}")
    return True


def _reads(tally: Tally, one: Round, points: Points, standard: onnx.ModelProto) -> list[Read]:
    """What every point's layer has read."""
    if not one.levels:
        return []
    for name, array in zip(one.names, one.levels[: len(one.names)], strict=True):
        if scaled_error(array, one.outputs[name]) > ROUNDING:
            tally.faults.append(f"output {name!r} is not the same in two builds of the network")
    reads, unseen = read_points(one, points, standard, rounded=bool(tally.report.rounded))
    tally.unchecked |= unseen
    return reads


def _count(
    tally: Tally,
    read: Read,
    given: Arrays,
    expected: Arrays,
    off: Arrays,
    left: Arrays,
    limits: Mapping[str, float],
) -> None:
    """The row of a layer, and its fault."""
    flips = np.zeros(read.index.shape, np.int64)
    wrong = np.zeros(read.index.shape, bool)
    for name, array in read.given.items():
        if name in off:
            planes = np.ones(read.index.shape, np.int64)
            if len(read.given) == 1:
                planes = _planes(read, read.meaning.turned(name, expected[name]))
            flips += planes * read.meaning.turned(name, off[name])
        if name in left:
            wrong |= read.meaning.turned(name, left[name])
        apart = difference(array, given[name]) > limits[name]
        if apart.any():  # two codes of one tensor
            wrong |= read.meaning.turned(name, apart)
            flips += read.meaning.turned(name, apart)
    if read.point.item is None:
        if wrong.any() and not tally.report.rounded:
            tally.faults.append(
                f"the input of layer {read.point.layer!r}: {int(wrong.sum())} of {wrong.size} "
                f"values are not onnxruntime's"
            )
        return
    count = len(read.point.item.bits.weights)
    flips = np.minimum(flips, count)
    row = LayerBits(
        read.point.layer,
        count,
        read.index.size * count,
        int(flips.sum()),
        int(flips[wrong].sum()),
    )
    tally.rows[row.name] = _together(row, tally.rows.get(row.name))
    if tally.report.rounded:
        if row.flipped_bits > ROUNDED_FLIPS * row.checked_bits:
            tally.faults.append(
                f"the input of layer {row.name!r}: {row.flipped_bits} of {row.checked_bits} bits "
                f"are not onnxruntime's, more than rounding to bytes may flip"
            )
    elif row.unexplained_bits:
        tally.faults.append(
            f"the input of layer {row.name!r}: {row.unexplained_bits} of {row.checked_bits} bits "
            f"are not onnxruntime's, and rounding does not explain it"
        )


def _together(row: LayerBits, other: LayerBits | None) -> LayerBits:
    """The row of a product: what it reads on both sides."""
    if other is None:
        return row
    return LayerBits(
        row.name,
        max(row.planes, other.planes),
        row.checked_bits + other.checked_bits,
        row.flipped_bits + other.flipped_bits,
        row.unexplained_bits + other.unexplained_bits,
    )


def _planes(read: Read, levels_index: np.ndarray) -> np.ndarray:
    """Planes in which the levels of onnxruntime differ from those read."""
    item = read.point.item
    if item is None:
        return np.ones(read.index.shape, np.int64)
    (values,) = read.meaning.values.values()
    nearest = np.zeros(levels_index.shape, np.int64)
    closest = np.full(levels_index.shape, np.inf)
    for number, value in enumerate(values):
        away = np.abs(levels_index - value)
        nearest = np.where(away < closest, number, nearest)
        closest = np.minimum(away, closest)
    patterns = item.bits.patterns.astype(np.int64)
    planes = np.zeros(levels_index.shape, np.int64)
    for plane in range(patterns.shape[1]):
        planes += patterns[nearest, plane] != patterns[read.index, plane]
    return np.where(closest > tolerance(values), patterns.shape[1], np.maximum(planes, 1))


def _limit(array: np.ndarray) -> float:
    if array.dtype.kind not in "fc":
        return 0.0
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    return ROUNDING * float(finite.max(initial=0))


def _off(compared: Arrays, expected: Arrays, limits: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Where tensors differ, of those that do."""
    masks = {
        name: difference(array, expected[name]) > limits[name] for name, array in compared.items()
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def _between(value: np.ndarray, low: np.ndarray, high: np.ndarray, limit: float) -> np.ndarray:
    wide, below, above = (a.astype(np.float64) for a in (value, low, high))
    return (wide >= below - limit) & (wide <= above + limit)


def _next(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float32:
        return array
    return np.asarray(np.nextafter(array, np.float32(np.inf)))  # of no dimension too


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute differences float64; 0 where both are the same number, infinity or NaN."""
    if a.shape != b.shape:
        return np.array([np.inf])
    with np.errstate(invalid="ignore"):
        difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    # Of what is not the same: integers beyond 2^53 may be one float64.
    difference = np.where(np.isnan(difference), np.inf, np.where(difference == 0, 1.0, difference))
    same = (a == b) | ((a != a) & (b != b))
    return np.where(same, 0.0, difference)


def scaled_error(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference relative to the largest value of ``b``."""
    largest = float(np.abs(b[np.isfinite(b)].astype(np.float64)).max(initial=0))
    worst = float(difference(a, b).max(initial=0))
    return 0.0 if worst == 0 else worst / max(largest, 1e-30)


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """2-norm of the difference over that of ``b``."""
    worst = float(np.linalg.norm(difference(a, b)))
    finite = b[np.isfinite(b)].astype(np.float64)
    return 0.0 if worst == 0 else worst / max(float(np.linalg.norm(finite)), 1e-30)


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of images whose largest output has the same index."""
    if a.shape != b.shape or b.size == 0:
        return 0.0
    rows = b.shape[0] if b.ndim > 1 else 1
    same = a.reshape(rows, -1).argmax(1) == b.reshape(rows, -1).argmax(1)
    return float(same.mean())
