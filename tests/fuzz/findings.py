"""What was found: counts, groups by cause, cases on disk, a table."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .case import Case
from .judge import Outcome

MOST_REFUSALS = 60


@dataclass
class Group:
    """Findings of one cause."""

    kind: str
    cause: str
    detail: str
    labels: list[str] = field(default_factory=list)
    case: str = ""


@dataclass
class Summary:
    """Counts of one run."""

    what: str
    seed: int
    seconds: float = 0.0
    first: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    groups: dict[tuple[str, str], Group] = field(default_factory=dict)

    def add(self, label: str, outcome: Outcome) -> bool:
        """Count it; whether it is the first finding of its cause."""
        self.counts[outcome.kind] += 1
        if outcome.kind == "refused":
            self.refusals[outcome.cause] += 1
        if not outcome.is_finding:
            return False
        key = (outcome.kind, outcome.cause)
        new = key not in self.groups
        self.groups.setdefault(key, Group(outcome.kind, outcome.cause, outcome.detail))
        self.groups[key].labels.append(label)
        return new

    @property
    def findings(self) -> int:
        return sum(len(group.labels) for group in self.groups.values())

    @property
    def tried(self) -> int:
        return sum(n for kind, n in self.counts.items() if kind != "invalid")

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "seed": self.seed,
            "first": self.first,
            "tried": self.tried,
            "seconds": round(self.seconds, 1),
            "per_second": round(self.tried / self.seconds, 2) if self.seconds else None,
            "counts": dict(self.counts),
            "refusals": dict(self.refusals.most_common()),
            "findings": [
                {**asdict(group), "labels": group.labels[:20], "times": len(group.labels)}
                for group in self.groups.values()
            ],
        }

    def table(self) -> str:
        """For people."""
        data = self.as_json()
        counts = ", ".join(f"{n} {kind}" for kind, n in sorted(self.counts.items()))
        head = f"{self.what}, seed {self.seed}, from {self.first}: {self.tried} tried in "
        lines = [f"{head}{self.seconds:.0f} s ({data['per_second']}/s): {counts}"]
        if self.refusals:
            lines.append("refused, by reason:")
            lines += [f"  {n:5d}  {why}" for why, n in self.refusals.most_common(MOST_REFUSALS)]
        for group in self.groups.values():
            labels = " ".join(group.labels[:6])
            lines.append(f"{group.kind} ×{len(group.labels)}: {group.cause} [{labels}]")
            lines.append(f"       {group.detail[:300]}")
            if group.case:
                lines.append(f"       {group.case}")
        return "\n".join(lines)


def operators_of(case: Case) -> str:
    """The operators of a reduced case: what like findings have in common."""
    return " ".join(sorted({node.op_type for node in case.model.graph.node}))


def write_case(case: Case, outcome: Outcome, folder: Path) -> Path:
    """``NAME.onnx``, ``NAME.npz`` and a line in ``cases.jsonl``; the model's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{outcome.kind}-{outcome.cause}-{operators_of(case)}"
    stem = re.sub(r"[^A-Za-z0-9]+", "_", text)[:60].strip("_").lower()
    tag = hashlib.sha256(case.model.SerializeToString()).hexdigest()[:6]
    path = folder / f"{stem}_{tag}.onnx"
    onnx.save(case.model, path)
    if case.expansions:
        onnx.save(case.standard, path.with_suffix(".standard.onnx"))
    np.savez(path.with_suffix(".npz"), **case.inputs)
    line = {
        "file": path.name,
        "label": case.label,
        "build": asdict(case.build),
        "exact": sorted(case.exact),
        "kind": outcome.kind,
        "cause": outcome.cause,
        "detail": outcome.detail,
        "nodes": [node.op_type for node in case.model.graph.node],
    }
    with (folder / "cases.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return path
