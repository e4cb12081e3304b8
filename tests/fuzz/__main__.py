"""The fuzzer's command line.

    python -m tests.fuzz graphs    --seed S --time T [--count N] [--first I] [--out FOLDER]
    python -m tests.fuzz corrupt   …      damaged models
    python -m tests.fuzz artifacts …      damaged artifacts
    python -m tests.fuzz records   …      damaged tuning records
    python -m tests.fuzz again --out FOLDER      the cases of that folder once more

Case i of seed S is the same whatever the limits, so a count can be split: ``--first 5000
--count 5000`` is the second half of ``--count 10000``. Exit 1 if anything was found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path

from . import artifacts, corrupt, graph_task, records
from .findings import Summary
from .workers import SECONDS, Make, outcomes

KINDS: dict[str, Make] = {
    "graphs": graph_task.make,
    "corrupt": corrupt.make,
    "artifacts": artifacts.make,
    "records": records.make,
}


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.split("\n")[0]
    )
    parser.add_argument("what", choices=(*KINDS, "again"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time", type=float, default=60.0, help="seconds (default 60)")
    parser.add_argument("--count", type=int, help="cases at most")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--out", type=Path, help="folder for reduced cases")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no line for each new finding")
    given = parser.parse_args(arguments)
    if given.what == "again":
        return _again(given.out)
    summary = run(
        given.what,
        given.seed,
        seconds=given.time,
        count=given.count,
        first=given.first,
        out=given.out,
        processes=given.processes,
        tell=not given.quiet,
    )
    print(json.dumps(summary.as_json()) if given.json else summary.table())
    return 1 if summary.findings else 0


def run(
    what: str,
    seed: int,
    *,
    seconds: float,
    count: int | None = None,
    first: int = 0,
    out: Path | None = None,
    processes: int = 2,
    tell: bool = False,
) -> Summary:
    """Try cases for so long, or so many."""
    start = time.monotonic()
    summary = Summary(what, seed, first=first)
    numbers = itertools.count(first) if count is None else iter(range(first, first + count))
    found = outcomes(
        KINDS[what],
        (seed, None if out is None else str(out)),
        numbers,
        processes=processes,
        seconds=SECONDS,
        until=start + seconds,
    )
    for number, outcome in found:
        new = summary.add(f"{seed}-{number}", outcome)
        if new and tell:
            detail = outcome.detail[:400]
            print(f"{seed}-{number}: {outcome.kind}: {outcome.cause}: {detail}", file=sys.stderr)
    summary.seconds = time.monotonic() - start
    return summary


def _again(folder: Path) -> int:
    failed = 0
    os.environ["ABC_TVM_SECOND_OPINION"] = "error"  # as in the workers
    for name, outcome in graph_task.again(folder):
        failed += outcome.is_finding
        print(f"{outcome.kind:8} {name}: {outcome.cause} {outcome.detail[:200]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
