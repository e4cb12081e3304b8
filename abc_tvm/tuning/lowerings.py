"""Bits, bytes or floats, layer by layer, as measured: which are in doubt, and who won.

The target's costs say what a layer takes in each kind of kernel. Kinds within a factor
(:data:`.choose_lowering.DOUBT`) of the least are in doubt, and tuned: the
layer's kernel as it is fused where every such layer is of this kind. A network that mixes kinds has
other neighbours at the seams (levels in the place of bits); their cost is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from abc_tvm.records.database import Database, Lowering
from abc_tvm.records.records import best, typical
from abc_tvm.records.task import Task
from abc_tvm.relay_passes.context import Measured
from abc_tvm.relay_passes.passes.choose_lowering import BITS, BYTES, FLOAT, in_doubt

from .network import Network

KINDS = (BITS, BYTES, FLOAT)


class _Every:
    """Records that want one kind of kernel for the layers in doubt, and know nothing else."""

    def __init__(self, layers: set[str], kind: str) -> None:
        self._layers, self._measured = layers, Measured({**dict.fromkeys(KINDS, 1.0), kind: 0.0})

    def choice(self, workload: Any) -> None:
        """No schedule."""

    def lowering(self, layer: str) -> Measured | None:
        return self._measured if layer in self._layers else None


@dataclass
class Contest:
    """The layers in doubt and the kernels that they take in each kind, by their workloads.

    ``default`` are the kernels of the network as the target's costs have it, ``tasks`` those of the
    layers in doubt in every kind.
    """

    default: list[Task] = field(default_factory=list)
    kernels: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)


def contest(network: Network) -> Contest:
    """What has to be measured before each layer in doubt has a lowering."""
    default, rivals = network.lowered(None)
    found = Contest(default)
    doubtful = {
        layer: (both.key, kinds)
        for layer, both in rivals.items()
        if len(kinds := in_doubt(both.costs)) > 1
    }
    if network.lowering != "auto" or not doubtful:
        return found
    already = {(name, task.workload.problem.kind) for task in default for name in task.names}
    known: set[str] = set()
    for kind in KINDS:
        wanted = {layer: key for layer, (key, kinds) in doubtful.items() if kind in kinds}
        if not wanted:
            continue
        tasks = default
        if not all((name, kind) in already for name in wanted):
            tasks = network.tasks(_Every(set(wanted.values()), kind))
        for task in tasks:
            if task.workload.problem.kind != kind:
                continue  # a kernel in front of the layer, or behind it, may have its name
            layers = [wanted[name] for name in task.names if name in wanted]
            for layer in layers:
                found.kernels.setdefault(layer, {}).setdefault(kind, []).append(task.key)
            if layers and task.key not in known:
                known.add(task.key)
                found.tasks.append(task)
    return found


def decide(found: Contest, database: Database) -> int:
    """Record what each layer took in each kind; returns how many layers have all their times."""
    times = {}
    for workload in database.workloads:
        record = best(r for r in database.records if r.workload == workload)
        if record is not None:
            times[workload] = typical(record.seconds)
    settled = 0
    for layer, kinds in found.kernels.items():
        if not all(keys and all(key in times for key in keys) for keys in kinds.values()):
            continue
        taken = {
            kind: (sum(times[key] for key in keys), tuple(dict.fromkeys(keys)))
            for kind, keys in kinds.items()
        }
        database.add_lowering(Lowering(layer, taken))
        settled += 1
    return settled
