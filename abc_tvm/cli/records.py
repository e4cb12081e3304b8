"""``abc-tvm records``: list, merge and check folders of tuning records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from abc_tvm.cli import options
from abc_tvm.cli.console import print_json, tables
from abc_tvm.cli.streams import say

if TYPE_CHECKING:
    from abc_tvm.tuning.maintain import LoweringRow


@click.group()
def records() -> None:
    """Look after folders of tuning records."""


@records.command()
@click.argument("folder", metavar="DIR")
@options.as_json
def show(folder: str, as_json: bool) -> None:
    """List the workloads of DIR, the best choice of each, and each lowering of layers."""
    from abc_tvm.tuning.maintain import lowering_rows, rows

    kernels, layers = rows(Path(folder), say), lowering_rows(Path(folder), lambda _: None)
    table = Table(title=f"{len(kernels)} workloads")
    for name in ("target", "layers", "records", "failed", "best µs", "choice"):
        table.add_column(name)
    for row in kernels:
        facts = row.json()
        table.add_row(
            row.folder,
            ", ".join(row.names) or row.workload,
            str(row.records),
            str(row.failed),
            "" if facts["best_us"] is None else f"{facts['best_us']:.1f}",
            "" if row.best is None else str(row.best.choice),
        )
    console = tables(as_json)
    console.print(table)
    if layers:
        console.print(_lowerings(layers))
    if as_json:
        workloads, lowerings = [row.json() for row in kernels], [row.json() for row in layers]
        print_json({"folder": folder, "workloads": workloads, "lowerings": lowerings})


def _lowerings(rows: list[LoweringRow]) -> Table:
    """What each layer in doubt took in each kind of kernel."""
    from abc_tvm.relay_passes.lowerings.table import names

    table = Table(title=f"{len(rows)} layers measured in several kinds of kernel")
    for name in ("target", "layers", *(f"{kind} µs" for kind in names())):
        table.add_column(name, justify="right" if name.endswith("µs") else "left")
    for row in rows:
        facts = row.json()
        times = (f"{facts['us'][kind]:.1f}" if kind in facts["us"] else "" for kind in names())
        table.add_row(row.folder, ", ".join(row.names) or row.lowering.layer, *times)
    return table


@records.command()
@click.argument("sources", metavar="DIR...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="OUT", help="Folder that gets them all.")
@options.as_json
def merge(sources: tuple[str, ...], output: str, as_json: bool) -> None:
    """Add the records of each DIR to OUT, target by target."""
    from abc_tvm.tuning import maintain

    added = maintain.merge([Path(s) for s in sources], Path(output), say)
    tables(as_json).print(f"{output}: {added} new records")
    if as_json:
        print_json({"output": output, "added": added})


@records.command()
@click.argument("folder", metavar="DIR")
@options.target()
@options.as_json
def check(folder: str, target: str, as_json: bool) -> int:
    """Build every choice in DIR again and compare its results; exit code 1 if one is wrong.

    A choice that crashes or hangs is wrong, and the others are checked all the same.
    """
    from abc_tvm.compilation import device_of
    from abc_tvm.tuning import maintain

    findings = list(maintain.check(Path(folder), device_of(target), say))
    wrong = [f for f in findings if f.problem and f.checked]
    skipped = [f for f in findings if not f.checked]
    console = tables(as_json)
    for finding in (*wrong, *skipped):
        console.print(f"{finding.workload} {finding.choice}: {finding.problem}")
    right = len(findings) - len(wrong) - len(skipped)
    console.print(f"{right} choices right, {len(wrong)} wrong, {len(skipped)} not checked")
    if as_json:
        facts = {"right": right, "wrong": len(wrong), "not_checked": len(skipped)}
        print_json({"folder": folder, **facts, "problems": [vars(f) for f in (*wrong, *skipped)]})
    return 1 if wrong or skipped else 0
