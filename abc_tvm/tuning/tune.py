"""``tune``: from a model and a folder to measured records. What the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abc_tvm.errors import RecordsError, TargetError
from abc_tvm.remote import read_address
from abc_tvm.schedules.space import has_space
from abc_tvm.targets import Device

from .database import Database
from .fleet import FleetRunner
from .local import LocalRunner
from .manifest import Manifest, folder_name
from .runner import Runner, Work
from .task import tasks_of
from .tuner import Budget, Tuner, Watch

if TYPE_CHECKING:
    from abc_tvm.stages import Model, Progress

Tell = Callable[[str], None]
DEFAULT_TRIALS = 32


def stored_settings(folder: str | Path, device: Device) -> dict[str, Any]:
    """The settings of the last run on a folder. Raises ``RecordsError`` where there was none."""
    own = Path(folder) / folder_name(device)
    manifest = Manifest.read(own)
    if manifest is None:
        raise RecordsError(f"{own}: nothing to continue; run tune without --continue first")
    return manifest.settings


@contextmanager
def tuner(
    model: Model,
    device: Device,
    folder: str | Path,
    settings: dict[str, Any],
    *,
    tell: Tell,
    watch: Watch = lambda _: None,
    progress: Progress | None = None,
) -> Iterator[Tuner]:
    """A tuner that holds its folder's lock; call ``run()`` on it.

    ``settings``: ``trials``, ``seconds``, ``seed``, ``threads``, ``batch``, ``lowering``, and
    for devices ``rpc``, ``rpc_tracker``, ``rpc_key``, ``rpc_timeout``; they are stored for
    ``--continue``.

    Raises:
        TargetError: This machine does not run code for the target, or it has no search space.
        DeviceError: There is no device at the address.
        RecordsError: The folder is damaged, or of another version.
    """
    if not has_space(device):
        raise TargetError(
            f"target {device.name}: there is no search space for {device.triple} yet; its "
            "default schedules are used without tuning"
        )
    address = read_address(*(settings.get(name) for name in ("rpc", "rpc_tracker", "rpc_key")))
    if address is None and not device.runs_here():
        raise TargetError(
            f"target {device.name}: this machine does not run its code; tune on the device itself, "
            "or through its RPC server (--rpc)"
        )
    if not device.runtime:
        raise TargetError(f"target {device.name}: TVM has no runtime for it to measure with")
    tasks = tasks_of(
        model,
        device,
        batch=settings["batch"],
        lowering=settings["lowering"],
        threads=int(settings["threads"]),
        progress=progress,
    )
    own = Path(folder) / folder_name(device)
    with Database(own, tell) as database:
        here = Manifest.here(device)
        if address is not None:
            here.machine = str(address)
        there = Manifest.read(own)
        if there is not None and (why := there.mismatch(here)):
            raise RecordsError(f"{own}: made for something else: {why}: give another folder")
        here.settings = dict(settings)
        here.write(own)
        budget = Budget(settings["trials"], settings["seconds"], seed=settings["seed"])
        work = Work(own, device, int(settings["threads"]))
        runner: Runner = LocalRunner(work)
        if address is not None:
            runner = FleetRunner(work, address, float(settings["rpc_timeout"]), tell)
        yield Tuner(tasks, device, database, budget, runner, watch)
