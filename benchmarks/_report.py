"""What every benchmark script shares: arguments, the result files, the machine in them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from abc_tvm.errors import UserError
from abc_tvm.files import write_atomically
from abc_tvm.measure import facts
from abc_tvm.measure.plots import check_plot, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"


class BenchmarkReport:
    """The arguments of a script and the files that it writes, ``NAME.json`` and ``NAME.png``.

    Args:
        name: Of the script and its files.
        about: What it does; the first line is its help.
        add: Adds arguments of its own, found in ``arguments``.

    Raises what :func:`.plots.check_plot` does: nothing is measured that cannot be drawn.
    """

    def __init__(
        self, name: str, about: str, add: Callable[[argparse.ArgumentParser], None] | None = None
    ) -> None:
        parser = argparse.ArgumentParser(description=about.split("\n", 1)[0])
        if add is not None:
            add(parser)
        parser.add_argument("--quick", action="store_true", help="the short form: a rough look")
        parser.add_argument(
            "--out", type=Path, default=RESULTS, metavar="DIR", help=f"folder, by default {RESULTS}"
        )
        arguments = parser.parse_args()
        self.arguments = arguments
        self.name, self.quick, self.out = name, bool(arguments.quick), Path(arguments.out)
        self.console = Console(stderr=True, width=160)
        self.out.mkdir(parents=True, exist_ok=True)
        check_plot(self.out / f"{name}.png")

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table; the first column is text, the others are numbers."""
        table = Table(title=title)
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def title(self, text: str, threads: int | None = 1) -> str:
        """A title for a plot: what, where, with how many threads, when."""
        here = facts.here()
        on = "" if threads is None else f", {threads} thread{'s' if threads > 1 else ''}"
        return f"{text}\n{here['machine']}{on}, {here['date'][:10]}"

    def write(
        self, results: Any, figure: Figure | None = None, *, threads: Any = 1, **more: Any
    ) -> None:
        """Write the results with machine, date, versions and command, and the plot."""
        command = f"python benchmarks/{self.name}.py" + (" --quick" if self.quick else "")
        about = {"command": command, **facts.here(), "threads": threads, **more}
        text = json.dumps({**about, "results": results}, indent=1) + "\n"
        write_atomically(self.out / f"{self.name}.json", text.encode())
        if getattr(self.arguments, "json", False):
            print(text, end="")
        if figure is not None:
            save_figure(figure, self.out / f"{self.name}.png")
        self.console.print(f"wrote {self.out / self.name}.json")


def run(main: Any) -> None:
    """Run a script's ``main``; what a user can act on becomes one line and exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure as Made

    return Made(figsize=(width, height), layout="constrained")
