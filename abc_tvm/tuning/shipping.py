"""Records that ship: ``python -m abc_tvm.tuning.shipping DIR`` makes them from tuned folders.

Of each workload the best record stays. Its module, which proves that a record is about this
computation, takes 0.1 to 0.2 MB as ``meta_schedule`` keeps it; all of a folder together are
compressed to a hundredth. ``layers/``, which holds weights, stays behind.
"""

from __future__ import annotations

import sys
from pathlib import Path

from abc_tvm.files import write_atomically
from abc_tvm.records.database import LOWERINGS, RECORDS, WORKLOADS, Database
from abc_tvm.records.manifest import Manifest
from abc_tvm.records.packed import SUFFIX, pack
from abc_tvm.records.records import SHIPPED, best

from .maintain import target_folders


def ship(folder: Path, output: Path) -> int:
    """Write what ships of one target's folder; returns how many workloads have a record.

    Raises ``RecordsError`` where the folder is damaged or ``output`` cannot be written.
    """
    database = Database(folder).read()
    manifest = Manifest.read(folder)
    if manifest is None:
        return 0
    shipped = {}
    for key in database.workloads:
        record = best(r for r in database.records if r.workload == key)
        if record is not None:
            shipped[key] = record
    output.mkdir(parents=True, exist_ok=True)
    manifest.settings = {}
    manifest.write(output)
    records = [record.line(number) + "\n" for number, record in enumerate(shipped.values())]
    lowerings = [lowering.line() + "\n" for lowering in database.lowerings.values()]
    write_atomically(
        output / (WORKLOADS + SUFFIX), pack({key: database.workloads[key] for key in shipped})
    )
    write_atomically(output / RECORDS, "".join(records).encode())
    write_atomically(output / LOWERINGS, "".join(lowerings).encode())
    return len(shipped)


def main(roots: list[str]) -> None:
    """Ship every target below the folders."""
    from abc_tvm import schedules

    shipped = Path(str(schedules.__file__)).parent / SHIPPED
    for folder in [f for root in roots for f in target_folders(Path(root))]:
        count = ship(folder, shipped / folder.name)
        print(f"{shipped / folder.name}: {count} workloads")


if __name__ == "__main__":
    main(sys.argv[1:])
