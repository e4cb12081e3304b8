"""``abc-tvm targets``: the devices to compile for."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

import click
from rich.table import Table

from abc_tvm.cli import options
from abc_tvm.cli.console import print_json, tables
from abc_tvm.errors import TargetError


@click.command()
@options.as_json
def targets(as_json: bool) -> None:
    """List the devices to compile for."""
    from abc_tvm.targets import load, names

    devices = [load(name) for name in names()]
    # What cannot be detected is no device.
    with contextlib.suppress(TargetError):
        devices.insert(0, load("native"))
    with contextlib.suppress(TargetError):
        devices.insert(1, load("cuda"))
    table = Table()
    for column in ("target", "description", "cpu", "instruction set", "cores", "runs here"):
        table.add_column(column)
    rows = []
    for device in devices:
        here = device.runs_here()
        rows.append({**asdict(device), "features": list(device.features), "runs_here": here})
        cells = (device.name, device.description, device.cpu, device.isa, str(device.cores))
        table.add_row(*cells, "yes" if here else "no")
    tables(as_json).print(table)
    if as_json:
        print_json({"targets": rows})
