"""Candidates a second of a fleet of RPC servers on this machine: one, two and three of them.

Servers: 0 is `tune` without devices, whose child processes, one a core, build side by side and
measure in turn.

    python benchmarks/fleet.py [--quick] [--json OUT.json] [--delays 0,10]

Everything (tuner, builds, servers) shares this machine's cores, so servers without a delay only
show what the builds leave. With a delay every message between tuner and server takes so many
milliseconds longer, as it does to a device behind a network: then a server's candidate takes time
but no core, as on a device of its own. The rate counts from the moment when all servers have
joined.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _fleet_servers import KEY, fleet
from rich.console import Console
from rich.table import Table

from abc_tvm import zoo
from abc_tvm.measure import facts
from abc_tvm.targets import load
from abc_tvm.tuning.tune import tuner
from abc_tvm.tuning.tuner import Tuner

SERVERS = (0, 1, 2, 3)


def main() -> int:
    """Measure, print a table on stderr, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="8 seconds each instead of 20")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--delays", default="0,10", help="milliseconds, with commas")
    arguments = parser.parse_args()
    seconds = 8.0 if arguments.quick else 20.0
    console = Console(stderr=True)
    rows = []
    for delay in map(float, arguments.delays.split(",")):
        for count in SERVERS[1:] if delay else SERVERS:
            with console.status(f"{count} server(s), {delay:g} ms"):
                rows.append(measure(count, delay, seconds))
    _show(console, rows)
    if arguments.json is not None:
        cores = len(os.sched_getaffinity(0))
        about = {"command": "python benchmarks/fleet.py", **facts.here(), "cores": cores}
        text = json.dumps({**about, "rows": rows}, indent=1) + "\n"
        arguments.json.write_text(text, encoding="utf-8")
    return 0


def measure(count: int, delay_ms: float, seconds: float) -> dict[str, Any]:
    """Candidates a second of ``count`` servers, over ``seconds``."""
    model = zoo.build("resnet8", 1, 1, batch=1)
    settings: dict[str, Any] = {
        "trials": 10_000, "seconds": 600.0, "seed": 0, "threads": 1, "batch": None,
        "lowering": "bitserial", "rpc_timeout": 30.0,
    }  # fmt: skip
    joined: list[float] = []
    begun: list[tuple[float, int]] = []

    def heard(text: str) -> None:
        if text.endswith("joins"):
            joined.append(time.monotonic())

    def watch(run: Tuner) -> None:
        if len(joined) < count:
            return
        begun.append((time.monotonic(), run.measured))
        if begun[-1][0] - begun[0][0] >= seconds:
            raise KeyboardInterrupt

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if count:
            tracker = stack.enter_context(fleet(count, delay_ms, folder))
            settings |= {"rpc_tracker": tracker, "rpc_key": KEY}
        records, here = folder / "records", load("native")
        opened = tuner(model, here, records, settings, tell=heard, watch=watch)
        run = stack.enter_context(opened)
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        run.run()
    (start, before), (end, after) = begun[0], begun[-1]
    measured = [machine.measured for machine in run.runner.machines]
    return {
        "servers": count,
        "delay_ms": delay_ms,
        "candidates": after - before,
        "seconds": end - start,
        "per_second": (after - before) / (end - start),
        "by_server": measured,
    }


def _show(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"Tuning by a fleet: {facts.machine_name()}")
    for column in ("delay ms", "servers", "candidates", "a second", "x one server"):
        table.add_column(column, justify="right")
    one = rows[0]["per_second"]
    for row in rows:
        one = row["per_second"] if row["servers"] == 1 else one
        table.add_row(
            f"{row['delay_ms']:g}",
            str(row["servers"]),
            str(row["candidates"]),
            f"{row['per_second']:.1f}",
            f"{row['per_second'] / one:.2f}" if row["servers"] else "",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
