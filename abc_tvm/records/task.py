"""What is tuned: the distinct fused layers of a network, each with how often it occurs."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from abc_tvm.errors import RecordsError, one_line
from abc_tvm.files import read_regular, write_atomically
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.problem import SUMS
from abc_tvm.schedules.space import Space
from abc_tvm.targets import Device

if TYPE_CHECKING:
    import tvm
    from tvm import relax, tirx

    from abc_tvm.relay_passes.workload import Workload

MOST_BYTES = 1 << 30
"""Of a fused function's JSON form, its constants included."""

_NO_MODULE = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, RecursionError)
"""What TVM and its readers raise on a text that is no module."""

LAYERS = "layers"
"""Folder with the fused function of each workload, to build and check its records again."""


@dataclass
class Task:
    """One distinct kernel. ``count`` is how often the network runs it."""

    key: str
    module: tvm.IRModule
    workload: Workload
    space: Space
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
        """Multiply-accumulates of one call, every pair of planes counted; 0 without a sum."""
        problem = self.workload.problem
        if problem.kind not in SUMS:
            return 0
        window = problem.window
        batch = window.batch if isinstance(window.batch, int) else 1
        return window.macs * problem.pairs * batch


def module_of(func: tirx.PrimFunc) -> tvm.IRModule:
    """A plain PrimFunc as the module that a record is about."""
    import tvm

    return tvm.IRModule({"main": func.with_attr("global_symbol", "main")})


def workload_key(module: tvm.IRModule) -> str:
    """Structural hash, as meta_schedule takes it."""
    import tvm_ffi

    # The hash is an unsigned number in meta_schedule's files.
    return str(tvm_ffi.structural_hash(module) % 2**64)


def dump_module(module: tvm.IRModule) -> str:
    """The module as meta_schedule keeps it."""
    from tvm.s_tir.meta_schedule.database import Workload as Stored

    return str(Stored(module).as_json()[1])


def load_module(text: str, where: object) -> tvm.IRModule:
    """The module of :func:`dump_module`.

    Raises ``RecordsError`` for anything else; ``where`` names the file and the workload.
    """
    import tvm
    from tvm.s_tir.meta_schedule.database import Workload as Stored

    try:
        module = Stored.from_json(["", text]).mod
    except _NO_MODULE as error:
        raise RecordsError(
            f"{where}: damaged (TVM cannot read the module): restore the file, or remove the folder"
        ) from error
    if not isinstance(module, tvm.IRModule):
        raise RecordsError(
            f"{where}: damaged (it is no module): restore the file, or remove the folder"
        )
    return module


def make_task(function: relax.Function, device: Device, threads: int) -> Task | None:
    """The task of a fused function; ``None`` where there is nothing to choose."""
    from abc_tvm.relay_passes.workload import workload_of

    workload = workload_of(function, device)
    if workload is None:
        return None
    space = family_of(device).space(device, workload.problem, threads)
    if space is None:
        return None
    module = module_of(workload.func)
    return Task(workload_key(module), module, workload, space)


# ---- fused functions on the disk -----------------------------------------------------------


def save_layer(folder: Path, task: Task) -> None:
    """Keep the fused function beside the records, constants included."""
    import tvm

    path = _layer_file(folder, task.key)
    if path.exists():
        return
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise RecordsError(f"{path.parent}: cannot be made: {error.strerror}") from error
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
    from abc_tvm.relay_passes.lowerings.table import know_operators

    know_operators()
    path = _layer_file(folder, key)
    if not path.exists():
        return None
    try:
        value = json.loads(read_regular(path, RecordsError))
        text = ops.in_new_names(_inflated(base64.b64decode(value["function"])).decode())
        names = [str(name) for name in value["names"]]
        function = tvm.ir.load_json(text)
    except (*_NO_MODULE, zlib.error) as error:
        raise RecordsError(f"{path}: damaged ({one_line(str(error))}): remove the file") from error
    if not isinstance(function, tvm.relax.Function):
        raise RecordsError(f"{path}: damaged (it holds no function): remove the file")
    task = make_task(function, device, threads)
    if task is None or task.key != key:
        raise RecordsError(f"{path}: is not the layer that its name says: remove the file")
    task.names = names
    return task


def _inflated(data: bytes) -> bytes:
    """Raises ``ValueError`` where it would be far more than a network's constants are."""
    stream = zlib.decompressobj()
    text = stream.decompress(data, MOST_BYTES)
    if stream.unconsumed_tail:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    return text + stream.flush()


def _layer_file(folder: Path, key: str) -> Path:
    return folder / LAYERS / f"{key}.json"
