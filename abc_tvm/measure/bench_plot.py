"""The plot of ``abc-tvm bench --plot``: how much faster, and where each engine's time goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from abc_tvm.engines.engine import FLOAT, OURS
from abc_tvm.errors import UserError
from abc_tvm.measure.bench import Comparison
from abc_tvm.measure.plots import OTHER_COLOUR, OUR_COLOUR, colours, labels, plain, save_figure
from abc_tvm.measure.profile import Row
from abc_tvm.measure.profile_plot import MOST_BARS, short, slowest


def save_plot(comparison: Comparison, path: str | os.PathLike[str], title: str) -> None:
    """Draw the speed-ups, and a breakdown by layer where layers were timed.

    Raises:
        UserError: The file cannot be written; or no engine was timed.
    """
    from matplotlib.figure import Figure

    if not comparison.results:
        raise UserError(f"{os.fspath(path)}: no engine was timed: there is nothing to draw")
    ours = comparison.profiles.get(OURS)
    bars = 0 if ours is None else min(len(ours.rows), MOST_BARS)
    height = 0.7 * len(comparison.results) + 2.0
    if ours is None:
        figure = Figure(figsize=(8, height), layout="constrained")
        draw_speedups(figure.subplots(), comparison)
    else:
        below = 0.24 * bars + 1.5
        figure = Figure(figsize=(10, height + below), layout="constrained")
        upper, lower = figure.subplots(2, 1, height_ratios=[height, below])
        draw_speedups(upper, comparison)
        draw_layers(lower, comparison)
        known = lower.get_legend_handles_labels()
        figure.legend(*known, loc="outside lower center", ncols=4, fontsize=8)
    machine = comparison.device or comparison.json()["machine"]
    heading = plain(f"{title}\n{machine}")
    figure.suptitle(f"{heading}, {comparison.threads} thread(s)", fontsize=11)
    save_figure(figure, path)


def draw_speedups(axes: Any, comparison: Comparison) -> None:
    """A bar for each engine: the slowest opponent's time over its own."""
    results = comparison.results
    longest = max(r.times.median_ms for r in results)
    names = [f"{r.engine} ({r.network})" for r in results]
    shades = [OUR_COLOUR if r.engine == OURS else OTHER_COLOUR for r in results]
    ratios = [longest / r.times.median_ms for r in results]
    bars = axes.barh(names, ratios, color=shades)
    texts = []
    for result in results:
        ratio = comparison.speedup.get(result.engine)
        against = "" if ratio is None else f"; abc-tvm is {ratio:.2f}x as fast"
        texts.append(f"{result.times.median_ms:.3f} ms{against}")
    axes.bar_label(bars, texts, padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, max(ratios) * 1.6)
    axes.set_xlabel("times as fast as the slowest engine (medians)")


def draw_layers(axes: Any, comparison: Comparison) -> None:
    """Our kernels one by one; the float build's time of the same layer beside each."""
    ours = comparison.profiles[OURS]
    floats = comparison.profiles.get(FLOAT)
    other = {} if floats is None else same_layers(ours.rows, floats.rows)
    shown = slowest(ours.rows)
    rows = [ours.rows[i] for i in shown]
    for kind in dict.fromkeys(row.kernel.kind for row in rows):
        own = [(place, row) for place, row in enumerate(rows) if row.kernel.kind == kind]
        axes.barh(
            [place - 0.2 for place, _ in own],
            [row.times.median_ms * 1e3 for _, row in own],
            height=0.4,
            color=colours()[kind],
            label=f"abc-tvm: {labels()[kind]}",
        )
    pairs = [(place, other[i]) for place, i in enumerate(shown) if i in other]
    if pairs:
        axes.barh(
            [place + 0.2 for place, _ in pairs],
            [row.times.median_ms * 1e3 for _, row in pairs],
            height=0.4,
            color="#d6604d",
            label="tvm-float: the same layer",
        )
    axes.set_yticks(range(len(rows)), [plain(short(row.kernel.name)) for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("median µs inside a run")


def same_layers(ours: Sequence[Row], others: Sequence[Row]) -> dict[int, Row]:
    """Place in ``ours`` to the row of the same convolution in ``others``.

    Convolutions of a shape are the same in order (a shortcut may come before or after its branch);
    nothing is the same where one network has more of a shape.
    """
    left, right = _by_shape(ours), _by_shape(others)
    if {s: len(at_places) for s, at_places in left.items()} != {
        s: len(f) for s, f in right.items()
    }:
        return {}
    return {
        place: others[other]
        for shape, places in left.items()
        for place, other in zip(places, right[shape], strict=True)
    }


def _by_shape(rows: Sequence[Row]) -> dict[tuple[int, ...], list[int]]:
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if row.kernel.shape:
            by_shape.setdefault(row.kernel.shape, []).append(place)
    return by_shape
