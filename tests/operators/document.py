"""``docs/operators.md``, made of the table: ``python -m tests.operators --docs``."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import onnx

from tests.operators.cases import STORED
from tests.operators.judge import REFUSED, RIGHT
from tests.operators.table import Row

PATH = Path(__file__).resolve().parents[2] / "docs" / "operators.md"

_HEAD = """# Operators

Made by `python -m tests.operators --docs` from `tests/operators/table.tsv`, which has one line for
each of the operator tests that the onnx package carries (onnx {version}): what `abc_tvm.compile`
does with it, as `tests/operators` finds it. An operator with several outputs, types, opsets and
attributes has several tests. *Right* means the outputs' names, types, shapes and values, to the
tolerance of onnx's own runner (1e-3 of each value, and 1e-7). What is not right is refused, with
one line that names the node and the reason; nothing is wrong and nothing ends in a traceback.

Everywhere: tensors of bool, float16, float32, float64 and of integers of 8 to 64 bits keep their
type; bfloat16, float8, float4, 2- and 4-bit integers, text, sequences and optional values are
refused by name. float16 arithmetic computes in float32 and rounds. Shapes are fixed but for the
batch: what says *what to compute on* must be stored in the model, as exporters do; in these tests
such inputs are stored (`STORED` in `tests/operators/cases.py`: axes, shapes, sizes, pads, depth, k
and the like of {stored} operators, and the column `stored` of the table). Results whose size only a
run decides (NonZero, Unique, NonMaxSuppression) and random numbers are refused, and control flow.
Opsets 9 to {newest} are read, and older ones where ONNX's own converter raises them.

| set | right | refused | wrong | internal errors |
|---|---|---|---|---|
"""


def render(rows: dict[str, Row]) -> str:
    """The whole text."""
    text = _HEAD.format(
        version=onnx.__version__, newest=onnx.defs.onnx_opset_version(), stored=len(STORED)
    )
    text += "\n".join(_counts(rows)) + "\n"
    text += (
        "\n`node` holds one operator each, `expanded` the bodies that ONNX gives for some of them;"
        "\nin `NumPy's types` are those of both whose data NumPy can hold.\n"
        "\n| operator | state | right | refused |\n|---|---|---|---|\n"
    )
    return text + "\n".join(_operators(rows)) + "\n"


def _counts(rows: dict[str, Row]) -> list[str]:
    groups: dict[str, list[Row]] = {}
    for row in rows.values():
        expanded = "_expanded" in row.name
        groups.setdefault("expanded" if expanded else row.origin, []).append(row)
        if row.plain == "yes":
            groups.setdefault("NumPy's types", []).append(row)
    lines = []
    for name, members in groups.items():
        count = Counter(row.status for row in members)
        other = len(members) - count[RIGHT] - count[REFUSED]
        wrong = count["WRONG"]
        lines.append(f"| {name} | {count[RIGHT]} | {count[REFUSED]} | {wrong} | {other - wrong} |")
    return lines


def _operators(rows: dict[str, Row]) -> list[str]:
    groups: dict[str, list[Row]] = {}
    for row in rows.values():
        if row.operator:
            groups.setdefault(row.operator, []).append(row)
    lines = []
    for operator, members in sorted(groups.items()):
        right = sum(row.status == RIGHT for row in members)
        reasons = Counter(_plain(row.reason) for row in members if row.status != RIGHT)
        state = "supported" if right == len(members) else "partly" if right else "refused"
        why = "; ".join(f"{reason} ({n})" for reason, n in reasons.most_common())
        lines.append(f"| {operator} | {state} | {right} of {len(members)} | {why} |")
    return lines


def _plain(reason: str) -> str:
    """A reason without the names of this test's nodes and tensors."""
    typed = re.search(r"is of type (\w+)", reason)
    if typed:
        return typed[1]
    text = re.sub(r"^node '[^']*': operator \w+ ", "", reason)
    text = re.sub(r"^operator (\w+) \(node '[^']*'\) ", "", text)
    text = re.sub(r"^(tensor|input|output) '[^']*':? ", "", text)
    text = re.sub(r"; .*$", "", text)
    return text.replace("|", "\\|")[:160]
