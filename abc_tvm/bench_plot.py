"""The bar chart of ``abc-tvm bench --plot``."""

from __future__ import annotations

import io
import os

from abc_tvm.bench import Comparison
from abc_tvm.errors import MissingDependencyError, UserError
from abc_tvm.files import check_writable, write_atomically


def check_plot(path: str | os.PathLike[str]) -> None:
    """Refuse a plot that cannot be made, before anything is measured.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        UserError: The name does not end in .png, or its folder is missing.
    """
    if not os.fspath(path).endswith(".png"):
        raise UserError(f"{os.fspath(path)}: plots are PNG files; give a name that ends in .png")
    check_writable(path)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib is not installed, and --plot draws with it: pip install 'abc-tvm[bench]'"
        ) from error


def save_plot(comparison: Comparison, path: str | os.PathLike[str], title: str) -> None:
    """Draw the median times as bars.

    Raises:
        UserError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.6 * len(comparison.results) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = [f"{r.engine} ({r.network})" for r in comparison.results]
    bars = axes.barh(names, [r.times.median_ms for r in comparison.results])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)  # room for the numbers beside the bars
    axes.set_xlabel(f"median ms, {comparison.threads} thread(s)")
    axes.set_title(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, buffer.getvalue())
