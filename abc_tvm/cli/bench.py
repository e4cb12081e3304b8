"""``abc-tvm bench``: the compiled network beside other engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from abc_tvm.cli import options
from abc_tvm.cli.console import print_json, progress, summary, tables

if TYPE_CHECKING:
    from abc_tvm.measure.bench import Comparison
    from abc_tvm.measure.timing import Times

EXIT_DISAGREES = 1

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
    help="Comma-separated: tvm-float, onnxruntime, onnxruntime-int8, torch. "
    "[default: onnxruntime; on a remote device tvm-float, which alone runs there]",
)
@click.option(
    "--float-model",
    metavar="FLOAT.onnx",
    help="An ordinary float network of the same architecture for the other engines to run.",
)
@click.option("--threads", type=options.COUNT, default=1, show_default=True,
              help="Threads, and processors, of every engine.")  # fmt: skip
@click.option("--repeat", type=options.COUNT, default=20, show_default=True,
              help="Measurements of each engine, taken in turns.")  # fmt: skip
@click.option("--batch", type=options.COUNT, default=1, show_default=True,
              help="Images of one run, where the model leaves the batch open.")  # fmt: skip
@options.lowering
@options.allow_int8
@options.records
@click.option("--per-layer", is_flag=True, help="Time each kernel of ours and of tvm-float too.")
@click.option("--plot", metavar="OUT.png", help="Draw speed-ups and the time of each layer.")
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
    records: str | None,
    per_layer: bool,
    plot: str | None,
    rpc: str | None,
    rpc_tracker: str | None,
    rpc_key: str | None,
    rpc_timeout: float,
    as_json: bool,
) -> int:
    """Time MODEL.onnx, compiled, beside other engines, here or on a remote device.

    Outputs are compared first: an engine whose outputs differ is not timed, and the exit code is 1.
    """
    from abc_tvm import remote
    from abc_tvm.cli.profile import kernel_table
    from abc_tvm.measure import bench as work
    from abc_tvm.measure.plots import check_plot
    from abc_tvm.measure.profile import shares

    if plot is not None:
        check_plot(plot, [model] if float_model is None else [model, float_model])
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
            layers = per_layer or plot is not None
            outcome = work.bench(model, target, records=records, layers=layers, **settings)
        else:
            from abc_tvm.remote.bench import bench as remote_bench

            if records is not None or per_layer:
                raise click.UsageError("--records and --per-layer are for this machine, not --rpc")

            outcome = remote_bench(model, target, address, timeout=rpc_timeout, **settings)
    if plot is not None and outcome.results:
        from abc_tvm.measure.bench_plot import save_plot

        save_plot(outcome, plot, Path(model).name)
    console = tables(as_json)
    for refusal in outcome.refused:
        console.print(refusal.reason, soft_wrap=True)
    if outcome.results:
        console.print(_times(outcome))
    if outcome.clock is not None:
        console.print(_clock(outcome.clock))
    for engine, profile in outcome.profiles.items():
        if per_layer:
            console.print(kernel_table(profile, engine))
        for kind, share in shares(profile.rows):
            console.print(_share(engine, kind, share), soft_wrap=True)
    if records is not None:
        console.print(_tuned(outcome), soft_wrap=True)
    console.print(summary(outcome.report))
    if outcome.straw_man:
        console.print(STRAW_MAN, soft_wrap=True)
    if as_json:
        print_json({"model": model, "float_model": float_model, **outcome.json()})
    return EXIT_DISAGREES if outcome.refused else 0


def _times(outcome: Comparison) -> Table:
    where = "" if outcome.device is None else f", on {outcome.device}"
    table = Table(title=f"{outcome.threads} thread(s), engines in turns{where}")
    columns = (
        "engine",
        "network",
        "median ms",
        "least ms",
        "p90 ms",
        "error",
        "abc-tvm is faster by",
    )
    for name in columns:
        table.add_column(name, justify="left" if name in ("engine", "network") else "right")
    errors = {
        (agreement.engine, agreement.network): agreement.error for agreement in outcome.agreements
    }
    for result in outcome.results:
        times = result.times
        ratio = outcome.speedup.get(result.engine)
        error = errors.get((result.engine, result.network))
        table.add_row(
            result.engine,
            result.network,
            f"{times.median_ms:.3f}",
            f"{times.min_ms:.3f}",
            f"{times.p90_ms:.3f}",
            "not checked" if error is None else f"{error:.1e}",
            "" if ratio is None else f"{ratio:.2f}x",
        )
    return table


def _clock(clock: Times) -> str:
    return (
        f"clock: a fixed loop in the same turns took {clock.min_ms:.3f} to {clock.p90_ms:.3f} ms "
        f"(least to 90th percentile, {clock.spread:.0%} apart)"
    )


def _share(engine: str, kind: str, share: dict[str, Any]) -> str:
    return (
        f"{engine}, layers in {kind}: {share['of_peak']:.0%} of the machine's peak, the least "
        f"{share['least']:.0%} ({share['least_layer']})"
    )


def _tuned(outcome: Comparison) -> str:
    counts = ", ".join(f"{count} of {name}" for name, count in outcome.tuned.items())
    line = f"kernels from tuning records: {counts}"
    if outcome.tuned.get("tvm-float") == 0:
        line += "; for a fair float build tune that too: abc-tvm tune --lowering float"
    return line
