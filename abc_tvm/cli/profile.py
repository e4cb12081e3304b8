"""``abc-tvm profile``: where the time of a compiled network goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from abc_tvm.cli import options
from abc_tvm.cli.console import print_json, progress, summary, tables

if TYPE_CHECKING:
    from abc_tvm.measure.profile import Profile


@click.command()
@options.model
@options.target()
@click.option("--threads", type=options.COUNT, default=1, show_default=True,
              help="Threads, and processors, of a run.")  # fmt: skip
@click.option("--repeat", type=options.COUNT, default=20, show_default=True,
              help="Runs that are timed.")  # fmt: skip
@click.option("--batch", type=options.COUNT, default=1, show_default=True,
              help="Images of one run, where the model leaves the batch open.")  # fmt: skip
@options.lowering
@options.allow_int8
@options.records
@click.option("--plot", metavar="OUT.png", help="Draw a roofline and the time of each kernel.")
@options.as_json
def profile(
    model: str,
    target: str,
    threads: int,
    repeat: int,
    batch: int,
    lowering: str,
    allow_int8: float | None,
    records: str | None,
    plot: str | None,
    as_json: bool,
) -> None:
    """Time every kernel of MODEL.onnx inside real runs, against what this machine can do."""
    from abc_tvm.measure import profile as work
    from abc_tvm.measure.plots import check_plot

    if plot is not None:
        check_plot(plot, [model])
    with progress(f"profile {model}") as tell:
        outcome = work.profile(
            model, target, batch=batch, threads=threads, repeat=repeat, lowering=lowering,
            allow_int8=allow_int8, records=records, progress=tell,
        )  # fmt: skip
    if plot is not None:
        from abc_tvm.measure.profile_plot import save_profile

        save_profile(outcome, plot, Path(model).name)
    console = tables(as_json)
    console.print(kernel_table(outcome))
    console.print(limits_line(outcome), soft_wrap=True)
    console.print(summary(outcome.plan.artifact.report))
    if as_json:
        print_json({"model": model, **outcome.json()})


def kernel_table(outcome: Profile, engine: str = "abc-tvm") -> Table:
    """One row a kernel, then their sum, the rest, and the whole run."""
    kernels = f"{engine}: {len(outcome.rows)} kernels"
    table = Table(title=f"{kernels}, {outcome.threads} thread(s), medians")
    for name in ("kernel", "lowering", "M", "N", "weights", "µs", "of run", "GMAC/s", "of peak",
                 "kB", "MAC/byte"):  # fmt: skip
        left = name in ("kernel", "lowering", "weights")
        table.add_column(name, justify="left" if left else "right")
    whole = outcome.run.median_ms
    for row in outcome.rows:
        kernel = row.kernel
        table.add_row(
            kernel.name,
            kernel.lowering,
            "" if kernel.M is None else str(kernel.M),
            "" if kernel.N is None else str(kernel.N),
            "x".join(map(str, kernel.shape)),
            f"{row.times.median_ms * 1e3:.1f}",
            f"{row.times.median_ms / whole:.1%}",
            "" if row.gmacs is None else f"{row.gmacs:.1f}",
            "" if row.of_peak is None else f"{row.of_peak:.0%}",
            f"{row.bytes / 1e3:.1f}",
            f"{row.macs / row.bytes:.1f}" if row.macs and row.bytes else "",
        )
    table.add_section()
    for name, ms in (
        ("all kernels", outcome.kernels_ms),
        ("rest: virtual machine, inputs, outputs", outcome.rest_ms),
        ("whole run", whole),
    ):
        cells = [""] * 4 + [f"{ms * 1e3:.1f}", f"{ms / whole:.1%}"]
        table.add_row(name, *cells)
    return table


def limits_line(outcome: Profile) -> str:
    """One line: the machine's peaks that shares are of."""
    limits = outcome.limits
    peaks = "; ".join(f"{peak.name} {peak.gmacs:.0f} GMAC/s" for peak in limits.peaks)
    copies = f"copies {limits.cache_gbs:.0f} GB/s in cache, {limits.memory_gbs:.0f} in memory"
    return f"measured on this machine: {peaks or 'no peak known for this processor'}; {copies}"
