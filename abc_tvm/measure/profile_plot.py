"""The plot of ``abc-tvm profile --plot``: a roofline, and the time of each kernel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from abc_tvm.measure.plots import colours, labels, plain, save_figure
from abc_tvm.measure.profile import Profile, Row

MOST_BARS = 60
"""More kernels than this are drawn as the slowest so many."""


def save_profile(profile: Profile, path: str | os.PathLike[str], title: str) -> None:
    """Draw a profile.

    Raises:
        UserError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    bars = min(len(profile.rows), MOST_BARS)
    figure = Figure(figsize=(13, max(5.0, 0.2 * bars + 1.5)), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_roofline(left, profile)
    draw_times(right, profile.rows, profile.rest_ms)
    run = f"whole run {profile.run.median_ms:.3f} ms, kernels {profile.kernels_ms:.3f} ms"
    figure.suptitle(f"{plain(title)}: {run}, {profile.threads} thread(s)")
    save_figure(figure, path)


def draw_roofline(axes: Any, profile: Profile) -> None:
    """Multiply-adds per byte against GMAC/s, with what the machine can do as lines above."""
    rows = [row for row in profile.rows if row.gmacs is not None and row.bytes]
    across = [row.macs / row.bytes for row in rows] or [1.0]
    low, high = min(across) / 4, max(across) * 4
    known = colours()
    line = np.geomspace(low, high, 64)
    for gbs, name, style in (
        (profile.limits.cache_gbs, "level 2 cache", "--"),
        (profile.limits.memory_gbs, "memory", ":"),
    ):
        axes.plot(
            line, line * gbs, style, color="black", linewidth=1, label=f"{name}, {gbs:.0f} GB/s"
        )
    for peak in profile.limits.peaks:
        axes.axhline(peak.gmacs, color=known[peak.kind], linewidth=1)
        text = f"{peak.name}: {peak.gmacs:.0f} GMAC/s"
        axes.annotate(text, (low * 1.1, peak.gmacs), color=known[peak.kind], va="bottom", size=8)
    for kind in dict.fromkeys(row.kernel.kind for row in rows):
        own = [row for row in rows if row.kernel.kind == kind]
        axes.scatter(
            [row.macs / row.bytes for row in own],
            [row.gmacs for row in own],
            s=[20 + 300 * row.times.median_ms / profile.run.median_ms for row in own],
            color=known[kind],
            alpha=0.6,
            label=f"{labels()[kind]}, area: time",
        )
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    rates = [row.gmacs or 0.0 for row in rows] + [peak.gmacs for peak in profile.limits.peaks]
    axes.set_ylim(min(rates, default=1) / 2, max(rates, default=1) * 2.5)
    axes.set_xlabel("multiply-adds (binary ones on bits) per byte read or written")
    axes.set_ylabel("GMAC/s, median")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right", fontsize=8)


def draw_times(axes: Any, rows: Sequence[Row], rest_ms: float) -> None:
    """A bar for each kernel, in the order of the run, and one for the rest."""
    shown = [rows[place] for place in slowest(rows)]
    names = [plain(short(row.kernel.name)) for row in shown] + ["rest: virtual machine, in and out"]
    widths = [row.times.median_ms * 1e3 for row in shown] + [max(rest_ms, 0.0) * 1e3]
    shades = [colours()[row.kernel.kind] for row in shown] + ["#d9d9d9"]
    places = range(len(names))
    axes.barh(places, widths, color=shades)
    for place, row in zip(places, shown, strict=False):
        share = "" if row.of_peak is None else f" {row.of_peak:.0%}"
        axes.annotate(share, (row.times.median_ms * 1e3, place), va="center", size=7)
    axes.set_yticks(places, names, fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.01)
    axes.set_xlabel("median µs; beside the bar: share of the machine's peak")


def slowest(rows: Sequence[Row], most: int = MOST_BARS) -> list[int]:
    """Places of the ``most`` slowest kernels, in the order of the run."""
    return sorted(sorted(range(len(rows)), key=lambda i: -rows[i].times.median_ms)[:most])


def short(name: str, most: int = 34) -> str:
    """A name that fits beside a bar: its end tells layers apart."""
    return name if len(name) <= most else "…" + name[1 - most :]
