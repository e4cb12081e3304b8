"""What is tuned: the distinct fused layers of a network, each with how often it occurs."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abc_tvm.errors import RecordsError
from abc_tvm.files import write_atomically
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.cuda.space import CudaSpace, problem_of
from abc_tvm.schedules.space import Space
from abc_tvm.targets import Device

if TYPE_CHECKING:
    from abc_tvm.relay_passes.workload import Workload
    from abc_tvm.stages import Model, Progress

LAYERS = "layers"
"""Folder with the fused function of each workload, to build and check its records again."""


@dataclass
class Task:
    """One distinct kernel. ``count`` is how often the network runs it."""

    key: str
    module: Any
    workload: Workload
    space: Space | CudaSpace
    names: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return max(1, len(self.names))

    @property
    def name(self) -> str:
        return self.names[0] if self.names else self.key

    @property
    def default(self) -> Choice:
        return self.space.default()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one call, every pair of planes counted."""
        window = self.workload.layer.window
        batch = window.batch if isinstance(window.batch, int) else 1
        return window.macs * self.workload.layer.pairs * batch


def module_of(func: Any) -> Any:
    """A plain PrimFunc as the module that a record is about."""
    import tvm

    return tvm.IRModule({"main": func.with_attr("global_symbol", "main")})


def workload_key(module: Any) -> str:
    """Structural hash, as meta_schedule takes it."""
    import tvm_ffi

    # The hash is an unsigned number in meta_schedule's files.
    return str(tvm_ffi.structural_hash(module) % 2**64)


def dump_module(module: Any) -> str:
    """The module as meta_schedule keeps it."""
    from tvm.s_tir.meta_schedule.database import Workload as Stored

    return str(Stored(module).as_json()[1])


def load_module(text: str) -> Any:
    """The module of :func:`dump_module`."""
    from tvm.s_tir.meta_schedule.database import Workload as Stored

    return Stored.from_json(["", text]).mod


def make_task(function: Any, device: Device, threads: int) -> Task | None:
    """The task of a fused function; ``None`` where there is nothing to choose."""
    from abc_tvm.relay_passes.workload import workload_of

    workload = workload_of(function, device)
    if workload is None:
        return None
    layer = workload.layer
    space: Space | CudaSpace
    if device.gpu is not None:
        asked = problem_of(workload.func, layer.window, layer.blocking, layer.kind)
        space = CudaSpace(device, asked)
    else:
        space = Space(device, layer.window, layer.blocking, layer.pairs, layer.kind, threads)
    module = module_of(workload.func)
    return Task(workload_key(module), module, workload, space)


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
    from abc_tvm import stages

    context = stages.make_context(device, lowering)
    imported = stages.import_model(model, batch)
    order = imported.passes(context)
    fused = [name for name, _ in order].index("fuse") + 1
    module = stages.apply(imported, order[:fused], progress=progress)
    found: dict[str, Task] = {}
    for name, function in _groups(module):
        task = make_task(function, device, threads)
        if task is not None:
            found.setdefault(task.key, task).names.append(name)
    return list(found.values())


def _groups(module: Any) -> Iterator[tuple[str, Any]]:
    """Calls of fused functions in ``main``, in order."""
    from tvm.ir import Call

    from abc_tvm.relay_passes.fuse import GROUP
    from abc_tvm.relay_passes.rewrite import bindings

    functions = {
        gvar: function
        for gvar, function in module.functions_items()
        if GROUP in (getattr(function, "attrs", None) or {})
    }
    for _, value in bindings(module["main"]):
        if isinstance(value, Call) and value.op in functions:
            function = functions[value.op]
            yield str(function.attrs["layer"]), function


# ---- fused functions on the disk -----------------------------------------------------------


def save_layer(folder: Path, task: Task) -> None:
    """Keep the fused function beside the records, constants included."""
    import tvm

    path = _layer_file(folder, task.key)
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    text = tvm.ir.save_json(task.workload.function)
    data = {
        "names": task.names,
        "function": base64.b64encode(zlib.compress(text.encode())).decode(),
    }
    write_atomically(path, json.dumps(data).encode(), RecordsError)


def load_layer(folder: Path, key: str, device: Device, threads: int = 1) -> Task | None:
    """The task of a workload; ``None`` where its function was not kept.

    Raises ``RecordsError`` where what was kept is something else.
    """
    import tvm

    from abc_tvm.relay_passes import ops

    ops.register()

    path = _layer_file(folder, key)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        text = zlib.decompress(base64.b64decode(value["function"])).decode()
        names = [str(name) for name in value["names"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, zlib.error) as error:
        raise RecordsError(f"{path}: damaged ({error}): remove the file") from error
    task = make_task(tvm.ir.load_json(text), device, threads)
    if task is None or task.key != key:
        raise RecordsError(f"{path}: is not the layer that its name says: remove the file")
    task.names = names
    return task


def _layer_file(folder: Path, key: str) -> Path:
    return folder / LAYERS / f"{key}.json"
