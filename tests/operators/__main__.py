"""Run the onnx package's operator tests: ``python -m tests.operators --help``."""

from __future__ import annotations

import argparse
import os

# Workers take their own case each, and TVM reads this once.
os.environ.setdefault("TVM_NUM_THREADS", "1")

import sys
import zlib
from collections import Counter
from pathlib import Path

from tests.operators import document, table
from tests.operators.cases import SETS, collect
from tests.operators.workers import run


def main() -> int:
    """Judge the chosen cases; ``--update`` rewrites the table, else differences are told."""
    parser = argparse.ArgumentParser(prog="python -m tests.operators", description=main.__doc__)
    parser.add_argument("pattern", nargs="*", help="parts of case names; none: all")
    parser.add_argument("--update", action="store_true", help="write table.tsv anew")
    parser.add_argument("--docs", action="store_true", help="write docs/operators.md anew")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--share", type=int, default=1, help="every Nth case, chosen by name")
    parser.add_argument("--whole", type=int, default=16, help="every Nth through a linked artifact")
    parser.add_argument("--out", type=Path, help="write the verdicts found to this file too")
    parser.add_argument("--loud", action="store_true", help="show what the workers print")
    args = parser.parse_args()
    if args.docs:
        document.PATH.write_text(document.render(table.read()), encoding="utf-8")
        return 0
    everything = collect()
    cases = [
        case
        for case in everything
        if (not args.pattern or any(part in case.name for part in args.pattern))
        and zlib.crc32(case.name.encode()) % args.share == 0
    ]
    known = table.read()
    found: dict[str, table.Row] = {}
    jobs = ((case, zlib.crc32(case.name.encode()) // 97 % args.whole == 0) for case in cases)
    for case, verdict in run(jobs, args.workers):
        row = table.row_of(case, verdict)
        found[case.name] = row
        was = known.get(case.name)
        if args.pattern or was is None or was.status != row.status:
            before = f" (was {was.status})" if was else ""
            print(f"{row.status:9}{case.name}{before}: {verdict.reason}", flush=True)
    for origin in SETS:
        count = Counter(r.status for r in found.values() if r.origin == origin)
        if count:
            print(origin, dict(sorted(count.items())))
    plain = [c.name for c in cases if c.plain and c.origin == "node"]
    print("plain node:", dict(Counter(found[name].status for name in plain)))
    if args.update:
        table.write({**known, **found}, {case.name for case in everything})
    if args.out:
        table.write(found, set(found), args.out)
    return int(any(row.status.isupper() for row in found.values()))


if __name__ == "__main__":
    sys.exit(main())
