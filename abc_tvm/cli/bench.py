"""``abc-tvm bench``: the compiled network beside other engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from abc_tvm.cli import options
from abc_tvm.cli.console import print_json, progress, summary, tables

if TYPE_CHECKING:
    from abc_tvm.bench import Comparison

STRAW_MAN = (
    "onnxruntime runs every one of the M·N convolutions that the graph spells out: time an "
    "ordinary float network of this architecture instead with --float-model"
)


@click.command()
@options.model
@options.target()
@click.option(
    "--against",
    metavar="ENGINES",
    help="Comma-separated: tvm-float, onnxruntime, onnxruntime-int8. "
    "[default: onnxruntime; on a remote device tvm-float, which alone runs there]",
)
@click.option(
    "--float-model",
    metavar="FLOAT.onnx",
    help="An ordinary float network of the same architecture for the other engines to run.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True,
              help="Threads, and processors, of every engine.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(min=1), default=20, show_default=True,
              help="Measurements of each engine, taken in turns.")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True,
              help="Images of one run, where the model leaves the batch open.")  # fmt: skip
@options.lowering
@options.allow_int8
@click.option("--plot", metavar="OUT.png", help="Draw the times as a bar chart.")
@options.device
@options.as_json
def bench(
    model: str,
    target: str,
    against: str | None,
    float_model: str | None,
    threads: int,
    repeat: int,
    batch: int,
    lowering: str,
    allow_int8: float | None,
    plot: str | None,
    rpc: str | None,
    rpc_tracker: str | None,
    rpc_key: str | None,
    rpc_timeout: float,
    as_json: bool,
) -> None:
    """Time MODEL.onnx, compiled, beside other engines, here or on a remote device."""
    from abc_tvm import bench as work
    from abc_tvm import remote
    from abc_tvm.bench_plot import check_plot, save_plot

    if plot is not None:
        check_plot(plot)
    address = remote.read_address(rpc, rpc_tracker, rpc_key)
    if against is None:
        against = "onnxruntime" if address is None else "tvm-float"
    engines = [name.strip() for name in against.split(",") if name.strip()]
    with progress(f"bench {model}") as tell:
        settings: dict[str, Any] = {
            "against": engines,
            "float_model": float_model,
            "batch": batch,
            "threads": threads,
            "repeat": repeat,
            "lowering": lowering,
            "allow_int8": allow_int8,
            "progress": tell,
        }
        if address is None:
            outcome = work.bench(model, target, **settings)
        else:
            from abc_tvm.remote.bench import bench as remote_bench

            outcome = remote_bench(model, target, address, timeout=rpc_timeout, **settings)
    if plot is not None:
        save_plot(outcome, plot, model)
    console = tables(as_json)
    console.print(_times(outcome))
    console.print(summary(outcome.report))
    if outcome.straw_man:
        console.print(STRAW_MAN, soft_wrap=True)
    if as_json:
        print_json({"model": model, "float_model": float_model, **outcome.json()})


def _times(outcome: Comparison) -> Table:
    where = "" if outcome.device is None else f", on {outcome.device}"
    table = Table(title=f"{outcome.threads} thread(s), engines in turns{where}")
    for name in ("engine", "network", "median ms", "least ms", "abc-tvm is faster by"):
        table.add_column(name, justify="left" if name in ("engine", "network") else "right")
    for result in outcome.results:
        times = result.times
        ratio = outcome.speedup.get(result.engine)
        table.add_row(
            result.engine,
            result.network,
            f"{times.median_ms:.3f}",
            f"{times.min_ms:.3f}",
            "" if ratio is None else f"{ratio:.2f}x",
        )
    return table
