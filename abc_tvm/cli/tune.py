"""``abc-tvm tune``: measure schedules of every layer and keep the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Group
from rich.live import Live
from rich.table import Table

from abc_tvm.cli import options
from abc_tvm.cli.console import errors, print_json, progress, tables
from abc_tvm.cli.streams import Stopped, say
from abc_tvm.errors import UserError

if TYPE_CHECKING:
    from abc_tvm.tuning.tune import NetworkTuner
    from abc_tvm.tuning.tuner import Progress


@click.command()
@options.model
@options.target(required=True)
@click.option("--trials", type=options.COUNT, metavar="N",
              help="Choices to measure for each distinct layer. [default: 32]")  # fmt: skip
@click.option("--seconds", type=options.Number(min=0, min_open=True), metavar="S",
              help="Stop the search after so long.")  # fmt: skip
@click.option("--records", required=True, metavar="DIR",
              help="Folder that gets the records, in a folder of the target.")  # fmt: skip
@click.option("--continue", "resume", is_flag=True,
              help="Go on with the settings of the last run on this folder.")  # fmt: skip
@click.option("--seed", type=int, help="Seed of the search. [default: 0]")
@click.option("--threads", type=options.COUNT, help="Threads of a kernel. [default: 1]")
@options.batch
@options.lowering
@options.allow_int8
@options.device
@options.as_json
def tune(
    model: str,
    target: str,
    trials: int | None,
    seconds: float | None,
    records: str,
    resume: bool,
    seed: int | None,
    threads: int | None,
    batch: int | None,
    lowering: str,
    allow_int8: float | None,
    rpc: str | None,
    rpc_tracker: str | None,
    rpc_key: str | None,
    rpc_timeout: float,
    as_json: bool,
) -> None:
    """Measure schedules for the layers of MODEL.onnx and keep them in DIR.

    On this machine, or with --rpc or --rpc-tracker on devices.
    """
    from abc_tvm.compilation import device_of
    from abc_tvm.tuning import tune as work

    device = device_of(target)
    devices = {"rpc": rpc, "rpc_tracker": rpc_tracker, "rpc_key": rpc_key}
    asked: dict[str, Any] = {
        "trials": trials, "seconds": seconds, "seed": seed, "threads": threads, "batch": batch,
        "lowering": lowering, "allow_int8": allow_int8, "rpc_timeout": rpc_timeout, **devices,
    }  # fmt: skip
    defaults = {"trials": work.DEFAULT_TRIALS, "seed": 0, "threads": 1}
    settings = {name: defaults.get(name, value) for name, value in asked.items()}
    if resume:
        settings |= work.stored_settings(records, device)
    if any(devices.values()):
        settings |= devices
    settings |= {name: asked[name] for name in asked if _given(name)}

    with _live() as watch, progress(f"tune {model}") as tell:
        opened = work.tuner(model, device, records, settings, tell=say, watch=watch, progress=tell)
        with opened as tuner:
            if not tuner.rows:
                raise UserError(
                    f"{model}: no layer has a schedule to choose, so there is nothing to tune; "
                    "compile it as it is (why: abc-tvm inspect)"
                )
            interrupted = False
            try:
                tuner.run()
            except KeyboardInterrupt:
                interrupted = True
    console = tables(as_json)
    console.print(_summary(tuner))
    if not tuner.binarized:
        console.print("nothing is binarized: what was tuned runs in float (the reasons: inspect)")
    if as_json:
        print_json(_json(model, target, records, settings, tuner, interrupted))
    if interrupted:
        say(f"interrupted; everything measured is in {records}: go on with --continue")
        raise Stopped


def _given(name: str) -> bool:
    """Whether the command line has the option."""
    return click.get_current_context().get_parameter_source(name) == ParameterSource.COMMANDLINE


@contextmanager
def _live() -> Iterator[Callable[[NetworkTuner], None]]:
    """Shows the table of tasks on a terminal; nothing elsewhere."""
    console = errors()
    if not console.is_terminal:
        yield lambda _: None
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield lambda tuner: live.update(_progress(tuner))


def _progress(tuner: NetworkTuner) -> Group:
    machines = [f"{m.name}: {m.measured} measured {m.doing}" for m in tuner.runner.machines]
    return Group(_tasks(tuner), *machines)


def _tasks(tuner: NetworkTuner) -> Table:
    eta = "?" if tuner.eta is None else f"{tuner.eta:.0f} s"
    table = Table(title=f"{tuner.measured} measured in {tuner.elapsed:.0f} s, {eta} left")
    for name in ("layer", "times", "best µs", "GMAC/s", "of peak", "trials left", ""):
        table.add_column(name, justify="left" if name in ("layer", "") else "right")
    for row in tuner.rows:
        rate = row.gmacs()
        table.add_row(
            row.task.name,
            str(row.task.count),
            "" if row.best is None else f"{row.best * 1e6:.1f}",
            "" if rate is None else f"{rate:.1f}",
            _percent(tuner.share(row)),
            str(row.left),
            row.note,
        )
    return table


def _summary(tuner: NetworkTuner) -> Table:
    table = Table(title=f"{tuner.measured} choices measured in {tuner.elapsed:.0f} s")
    columns = (
        "layer", "times", "choices", "default µs", "tuned µs", "gain", "GMAC/s", "of peak",
        "choice",
    )  # fmt: skip
    for name in columns:
        table.add_column(name, justify="left" if name in ("layer", "choice") else "right")
    for row in tuner.rows:
        before, after = _us(row.before), _us(row.after or row.best)
        gain = f"{row.before / row.after:.2f}x" if row.before and row.after else ""
        rate = row.gmacs()
        table.add_row(
            row.task.name,
            str(row.task.count),
            str(len(row.seen)),
            before,
            after,
            gain,
            "" if rate is None else f"{rate:.1f}",
            _percent(tuner.share(row)),
            "" if row.winner is None else str(row.winner),
        )
    totals = tuner.totals()
    if totals is not None:
        total, tuned = totals
        table.add_row("network", "", "", _us(total), _us(tuned), f"{total / tuned:.2f}x")
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _us(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:.1f}"


def _json(
    model: str,
    target: str,
    records: str,
    settings: dict[str, Any],
    tuner: NetworkTuner,
    interrupted: bool,
) -> dict[str, Any]:
    before, after = tuner.totals() or (None, None)
    return {
        "model": model,
        "target": target,
        "records": records,
        "settings": settings,
        "measured": tuner.measured,
        "seconds": tuner.elapsed,
        "interrupted": interrupted,
        "machines": {machine.name: machine.measured for machine in tuner.runner.machines},
        "default_us": None if before is None else before * 1e6,
        "tuned_us": None if after is None else after * 1e6,
        "peak_gmacs": tuner.peaks,
        "lowerings": tuner.lowerings(),
        "tasks": [{**_row(row), "of_peak": tuner.share(row)} for row in tuner.rows],
    }


def _row(row: Progress) -> dict[str, Any]:
    return {
        "layers": row.task.names,
        "workload": row.task.key,
        "macs": row.task.macs,
        "choices": len(row.seen),
        "default_us": None if row.before is None else row.before * 1e6,
        "tuned_us": None if row.best is None else row.best * 1e6,
        "gmacs": row.gmacs(),
        "choice": None if row.winner is None else row.winner.json(),
        "note": row.note,
    }
