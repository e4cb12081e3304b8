"""Which lowering a layer takes, as measured: which are in doubt, and who won.

The target's costs say what a layer takes in each lowering. Those within a factor
(:data:`.lowerings.doubt.DOUBT`) of the least are in doubt, and tuned: the layer's kernel as it is
fused where every such layer is lowered so. A network that mixes lowerings has other neighbours at
the seams (levels in the place of bits); their cost is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from abc_tvm.records.database import Database, LoweringTimes
from abc_tvm.records.records import best, typical
from abc_tvm.records.task import Task
from abc_tvm.relay_passes.context import Measured
from abc_tvm.relay_passes.lowerings.doubt import in_doubt
from abc_tvm.relay_passes.lowerings.table import FLOAT, lowering_of, names

from .network import Network


class _Every:
    """Records that want one lowering for the layers in doubt, and know nothing else."""

    def __init__(self, layers: set[str], wanted: str) -> None:
        self._layers = layers
        self._measured = Measured({**dict.fromkeys(names(), 1.0), wanted: 0.0})

    def choice(self, workload: Any) -> None:
        """No schedule."""

    def lowering(self, layer: str) -> Measured | None:
        return self._measured if layer in self._layers else None


@dataclass
class Contest:
    """The layers in doubt and the kernels that they take in each lowering, by their workloads.

    ``default`` are the kernels of the network as the target's costs have it, ``tasks`` those of the
    layers in doubt in every lowering. ``binarized``: some layer left float.
    """

    default: list[Task] = field(default_factory=list)
    kernels: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    binarized: bool = False


def contest(network: Network) -> Contest:
    """What has to be measured before each layer in doubt has a lowering."""
    default, rivals, taken = network.lowered(None)
    open_contest = Contest(default, binarized=any(word != FLOAT for word in taken.values()))
    doubtful = {
        layer: (both.key, words)
        for layer, both in rivals.items()
        if len(words := in_doubt(both.costs)) > 1
    }
    if network.lowering != "auto" or not doubtful:
        return open_contest
    known: set[str] = set()
    for word in names():
        wanted = {layer: key for layer, (key, words) in doubtful.items() if word in words}
        if not wanted:
            continue
        tasks = default
        if not all(taken[layer] == word for layer in wanted):
            tasks = network.tasks(_Every(set(wanted.values()), word))
        for task in tasks:
            if task.workload.problem.kind != lowering_of(word).kind:
                continue  # a kernel in front of the layer, or behind it, may have its name
            layers = [wanted[name] for name in task.names if name in wanted]
            for layer in layers:
                open_contest.kernels.setdefault(layer, {}).setdefault(word, []).append(task.key)
            if layers and task.key not in known:
                known.add(task.key)
                open_contest.tasks.append(task)
    return open_contest


def decide(measured: Contest, database: Database) -> int:
    """Record what each layer took in each lowering; returns how many have all their times."""
    times = {}
    for workload in database.workloads:
        record = best(r for r in database.records if r.workload == workload)
        if record is not None:
            times[workload] = typical(record.seconds)
    settled = 0
    for layer, kinds in measured.kernels.items():
        if not all(keys and all(key in times for key in keys) for keys in kinds.values()):
            continue
        taken = {
            kind: (sum(times[key] for key in keys), tuple(dict.fromkeys(keys)))
            for kind, keys in kinds.items()
        }
        database.add_lowering(LoweringTimes(layer, taken))
        settled += 1
    return settled
