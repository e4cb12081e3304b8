"""``abc-tvm inspect``: how each layer would be compiled, and why."""

from __future__ import annotations

import click

from abc_tvm.cli import options
from abc_tvm.cli.console import layer_table, print_json, progress, summary, tables


@click.command()
@options.model
@options.target()
@options.lowering
@options.allow_int8
@options.check
@options.as_json
def inspect(
    model: str, target: str, lowering: str, allow_int8: float | None, check: bool, as_json: bool
) -> None:
    """Show how each layer of MODEL.onnx would be compiled, and why."""
    from abc_tvm import api

    with progress(f"inspect {model}"):
        report = api.inspect(model, target, lowering=lowering, allow_int8=allow_int8, check=check)
    console = tables(as_json)
    console.print(layer_table(report))
    console.print(summary(report))
    if as_json:
        print_json({"model": model, **report.json()})
