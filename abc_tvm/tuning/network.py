"""A network and its kernels, as they are tuned: read once, lowered as often as records change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from abc_tvm.compilation import Compilation
from abc_tvm.records.task import Task, make_task
from abc_tvm.targets import Device

if TYPE_CHECKING:
    from abc_tvm.relay_passes.context import Records, Rivals
    from abc_tvm.stages import Model, Progress


class Network:
    """A network, read once, whose layers can be lowered in several ways."""

    def __init__(
        self,
        model: Model,
        device: Device,
        *,
        batch: int | None = None,
        lowering: str = "auto",
        allow_int8: float | None = None,
        threads: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self.lowering, self.threads, self.allow_int8 = lowering, threads, allow_int8
        self.whole = Compilation(model, device, batch=batch, lowering=lowering, progress=progress)

    def tasks(self, records: Records | None = None) -> list[Task]:
        """The distinct kernels in the order of their first use, lowered as ``records`` say."""
        return self.lowered(records)[0]

    def lowered(
        self, records: Records | None
    ) -> tuple[list[Task], dict[str, Rivals], dict[str, str]]:
        """The distinct kernels; what there was to choose between, and what was taken, by layer."""
        from abc_tvm.relay_passes.pipeline import Phase

        again = self.whole.again(Phase.RECOGNISED, allow_int8=self.allow_int8, records=records)
        module = again.until(Phase.FUSED)
        tasks: dict[str, Task] = {}
        for name, function in _groups(module):
            task = make_task(function, self.whole.device, self.threads)
            if task is not None:
                tasks.setdefault(task.key, task).names.append(name)
        taken = {name: layer.lowering for name, layer in again.context.layers.items()}
        return list(tasks.values()), again.context.rivals, taken


def tasks_of(
    model: Model,
    device: Device,
    *,
    batch: int | None = None,
    lowering: str = "auto",
    threads: int = 1,
    progress: Progress | None = None,
) -> list[Task]:
    """The distinct kernels of a network, in the order of their first use."""
    network = Network(
        model, device, batch=batch, lowering=lowering, threads=threads, progress=progress
    )
    return network.tasks()


def _groups(module: Any) -> Iterator[tuple[str, Any]]:
    """Calls of fused functions and pooling and padding on bits in ``main``, in order."""
    from tvm.ir import Call

    from abc_tvm.relay_passes.emit.frame import GROUP
    from abc_tvm.relay_passes.emit.pooling import alone
    from abc_tvm.relay_passes.lowerings.table import between
    from abc_tvm.relay_passes.rewrite import bindings, hint, op_name

    apart = between()
    functions = {
        gvar: function
        for gvar, function in module.functions_items()
        if GROUP in (getattr(function, "attrs", None) or {})
    }
    for var, value in bindings(module["main"]):
        if op_name(value) in apart:
            yield hint(var), alone(value, hint(var))
        elif isinstance(value, Call) and value.op in functions:
            function = functions[value.op]
            yield str(function.attrs["layer"]), function
