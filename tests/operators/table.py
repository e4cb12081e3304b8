"""The table of what becomes of each case: ``table.tsv``, one line each."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

import onnx

from tests.operators.cases import SETS, Case
from tests.operators.judge import Verdict

PATH = Path(__file__).with_name("table.tsv")
HEADER = ("set", "name", "operator", "plain", "status", "stored", "reason")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        origin: The set that the case is of.
        name: The case's name.
        operator: The operators that it tests; none for bodies of functions and other sets.
        plain: ``yes`` where NumPy has the types of all its data.
        status: ``right`` or ``refused``; anything else is a fault.
        stored: Inputs that are initializers here, as exported networks have them.
        reason: Why it is refused, without the words that every refusal begins with.
    """

    origin: str
    name: str
    operator: str
    plain: str
    status: str
    stored: str
    reason: str


def row_of(case: Case, verdict: Verdict) -> Row:
    """The line of a verdict."""
    reason = verdict.reason.removeprefix("model: ").replace("\t", " ")
    return Row(
        case.origin,
        case.name,
        _operator(case),
        "yes" if case.plain and case.origin == "node" else "",
        verdict.status,
        ",".join(case.stored),
        reason,
    )


def read(path: Path = PATH) -> dict[str, Row]:
    """The rows by name; none where there is no table."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    rows = [Row(*line.split("\t")) for line in lines]
    return {row.name: row for row in rows}


def write(rows: dict[str, Row], keep: set[str], path: Path = PATH) -> None:
    """Write the rows whose names are in ``keep``."""
    chosen = [row for name, row in rows.items() if name in keep]
    chosen.sort(key=lambda row: (SETS.index(row.origin), row.name))
    lines = ["\t".join(HEADER), *("\t".join(astuple(row)) for row in chosen)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _operator(case: Case) -> str:
    """The operator under test: that of the only node, or of the form that is not expanded."""
    nodes = onnx.ModelProto.FromString(case.model).graph.node
    if case.expanded or case.origin != "node":
        return ""
    kinds = [node.op_type for node in nodes if node.op_type != "Constant"]
    return kinds[0] if len(set(kinds)) == 1 else ",".join(dict.fromkeys(kinds))
