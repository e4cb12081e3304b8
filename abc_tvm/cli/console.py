"""Where things are printed: JSON and results on stdout, everything about the work on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from abc_tvm.errors import printable
from abc_tvm.relay_passes.lowerings.table import FLOAT, names
from abc_tvm.report import Report

_PLAIN_WIDTH = 200
"""Columns of a table that goes to a file or a pipe, so that nothing is cut."""


def print_json(value: dict[str, Any]) -> None:
    """The one JSON object of ``--json``. JSON has no NaN or infinity: they become null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def tables(as_json: bool) -> Console:
    """Console for tables: stdout, or stderr where stdout holds JSON."""
    return _console(sys.stderr if as_json else sys.stdout)


def errors() -> Console:
    """Console for what is said beside the results."""
    return _console(sys.stderr)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner that names the stage, on a terminal; nothing elsewhere."""
    console = errors()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(what) as status:
        yield lambda stage: status.update(f"{what}: {stage.replace('_', ' ')}")


def layer_table(report: Report) -> Table:
    """The layers of a network, one row each."""
    table = Table(title=f"{len(report)} layers, target {report.target}")
    for name in ("layer", "op", "weights", "MMAC", "M", "N", "lowering", "reason"):
        table.add_column(name, justify="right" if name in ("MMAC", "M", "N") else "left")
    for layer in report:
        table.add_row(
            layer.name,
            layer.op,
            "x".join(map(str, layer.shape)),
            f"{layer.macs / 1e6:.2f}",
            "-" if layer.M is None else str(layer.M),
            "-" if layer.N is None else str(layer.N),
            layer.lowering,
            layer.reason,
        )
    return table


def summary(report: Report) -> str:
    """One line: how much of a network runs in which lowering, and what its weights take."""
    facts = report.json()
    if not report.binarized:
        return "nothing is binarized: every layer is compiled in float (the reasons: inspect)"
    parts = []
    for lowering in (name for name in names() if name != FLOAT):
        if facts[f"{lowering}_layers"]:
            share = facts[f"{lowering}_macs"] / max(facts["macs"], 1)
            count = facts[f"{lowering}_layers"]
            parts.append(
                f"{count} of {len(report)} layers {lowering} ({share:.0%} of the multiply-adds)"
            )
    if report.rounded:
        worst = max(layer.error_bound or 0.0 for layer in report.rounded)
        parts.append(f"{len(report.rounded)} of them rounded, by at most {worst:.2%} of a sum")
    opinion = report.second_opinion
    if opinion is not None and opinion["unknown"]:
        parts.append(f"no second opinion on {len(opinion['unknown'])} of them (why: --json)")
    weights = (size(facts[name]) for name in ("weight_bytes", "float_weight_bytes"))
    return "{}; weights {}, in float32 {}".format(", ".join(parts), *weights)


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _console(stream: TextIO) -> Console:
    plain = not stream.isatty()
    return _Console(
        file=stream, width=_PLAIN_WIDTH if plain else None, highlight=False, markup=False
    )


class _Console(Console):
    """Prints names as they are read in any file, and tells of a reader that has gone."""

    def render_str(self, text: str, **options: Any) -> Text:
        lines = (printable(line) for line in text.split("\n"))
        return super().render_str("\n".join(lines), **options)

    def on_broken_pipe(self) -> None:
        # rich would leave the process, with exit code 1.
        raise BrokenPipeError


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
