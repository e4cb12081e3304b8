"""``abc-tvm verify``: the compiled network against onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from abc_tvm.cli import options
from abc_tvm.cli.arrays import read_arrays
from abc_tvm.cli.console import print_json, progress, tables

if TYPE_CHECKING:
    from abc_tvm.checks.verify.network import Verification

EXIT_MISMATCH = 1


@click.command()
@options.model
@options.target()
@click.option("-i", "--input", "source", metavar="IN.npz", help="Inputs; keys are their names.")
@click.option("--per-layer", is_flag=True, help="Show the flipped bits before each layer.")
@options.batch
@options.lowering
@options.allow_int8
@options.as_json
def verify(
    model: str,
    target: str,
    source: str | None,
    per_layer: bool,
    batch: int | None,
    lowering: str,
    allow_int8: float | None,
    as_json: bool,
) -> int:
    """Compile MODEL.onnx and compare it with onnxruntime. Exit code 1 if they differ.

    Both run on the same inputs, random ones unless given; onnxruntime without graph
    optimisations. The activation bits before each binarized layer, and the outputs, are compared
    with those that onnxruntime computes when it continues from the compiled network's own bits.
    """
    from abc_tvm.checks.verify import network as check

    inputs = None if source is None else read_arrays(source)
    with progress(f"verify {model}") as tell:
        outcome = check.verify(
            model,
            target,
            inputs=inputs,
            batch=batch,
            lowering=lowering,
            allow_int8=allow_int8,
            progress=tell,
        )
    console = tables(as_json)
    if per_layer:
        console.print(_layers(outcome))
    if outcome.note:
        console.print(outcome.note, soft_wrap=True)
    for fault in outcome.faults:
        console.print(fault, soft_wrap=True, markup=False, highlight=False)
    if outcome.unchecked_layers:
        layers = ", ".join(outcome.unchecked_layers)
        console.print(
            f"levels that the ONNX graph does not have, not compared: {layers}",
            soft_wrap=True,
            markup=False,
        )
    console.print(
        f"{'passed' if outcome.passed else 'FAILED'}: largest error "
        f"{outcome.max_abs_error:.3g} (relative, 2-norm: {outcome.relative_error:.3g}), same "
        f"argmax in {outcome.argmax_agreement:.0%} of {outcome.images} images, "
        f"{outcome.flipped_bits} of {outcome.checked_bits} activation bits flipped",
        soft_wrap=True,
    )
    if as_json:
        print_json({"model": model, **outcome.json()})
    return 0 if outcome.passed else EXIT_MISMATCH


def _layers(outcome: Verification) -> Table:
    table = Table(title="activation bits: the kernels' own, and onnxruntime's on those before")
    for name in ("before layer", "planes", "bits", "flipped", "unexplained", "rate"):
        table.add_column(name, justify="left" if name == "before layer" else "right")
    for row in outcome.layers:
        rate = row.flipped_bits / max(row.checked_bits, 1)
        cells = (row.planes, row.checked_bits, row.flipped_bits, row.unexplained_bits)
        table.add_row(row.name, *(str(c) for c in cells), f"{rate:.1e}" if rate else "0")
    return table
