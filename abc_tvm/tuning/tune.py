"""``tune``: from a model and a folder to measured records. What the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abc_tvm.errors import RecordsError, TargetError
from abc_tvm.measure import peaks
from abc_tvm.records.database import Database
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.records import RecordSet
from abc_tvm.records.task import Task
from abc_tvm.remote import read_address
from abc_tvm.schedules.families import family_of
from abc_tvm.targets import Device
from abc_tvm.tuning.workers.fleet import FleetRunner
from abc_tvm.tuning.workers.local import LocalRunner
from abc_tvm.tuning.workers.runner import Runner, Work

from .lowerings import Contest, contest, decide
from .network import Network
from .tuner import Budget, Progress, Tuner

if TYPE_CHECKING:
    from abc_tvm import stages
    from abc_tvm.stages import Model

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
    watch: Callable[[NetworkTuner], None] = lambda _: None,
    progress: stages.Progress | None = None,
) -> Iterator[NetworkTuner]:
    """A tuner that holds its folder's lock; call ``run()`` on it.

    ``settings``: ``trials``, ``seconds``, ``seed``, ``threads``, ``batch``, ``lowering``,
    ``allow_int8``, and for devices ``rpc``, ``rpc_tracker``, ``rpc_key``, ``rpc_timeout``; they
    are stored for ``--continue``.

    Raises:
        TargetError: This machine does not run code for the target, or it has no search space.
        DeviceError: There is no device at the address.
        RecordsError: The folder is damaged, or of another version.
    """
    if not family_of(device).tunable:
        raise TargetError(
            f"target {device.name}: the family {device.isa} has no search space; its default "
            "schedules are used without tuning"
        )
    address = read_address(*(settings.get(name) for name in ("rpc", "rpc_tracker", "rpc_key")))
    if address is not None and device.gpu is not None:
        raise TargetError(
            f"target {device.name}: a GPU is tuned on its own machine: leave out --rpc"
        )
    if device.gpu is not None and not device.runs_here():
        raise TargetError(
            f"target {device.name}: there is no such GPU here; tune on the machine that has it"
        )
    if address is None and not device.runs_here():
        raise TargetError(
            f"target {device.name}: this machine does not run its code; tune on the device itself, "
            "or through its RPC server (--rpc)"
        )
    if not device.runtime:
        raise TargetError(f"target {device.name}: TVM has no runtime for it to measure with")
    own = Path(folder) / folder_name(device)
    work = Work(own, device, int(settings["threads"]))
    with ExitStack() as stack:
        local = LocalRunner(work)
        if address is None:
            stack.enter_context(local)  # its processes start while the network is read
        network = Network(
            model,
            device,
            batch=settings["batch"],
            lowering=settings["lowering"],
            allow_int8=settings.get("allow_int8"),
            threads=int(settings["threads"]),
            progress=progress,
        )
        rivals = contest(network)
        database = stack.enter_context(Database(own, tell))
        here = Manifest.here(device)
        if address is not None:
            here.machine = str(address)
        there = Manifest.read(own)
        if there is not None and (why := there.mismatch(here)):
            raise RecordsError(f"{own}: made for something else: {why}: give another folder")
        here.settings = dict(settings)
        here.write(own)
        budget = Budget(settings["trials"], settings["seconds"], seed=settings["seed"])
        best: dict[str, float | None] = dict.fromkeys(peaks.KINDS)
        runner: Runner = local
        if address is None:
            local.wait_until_ready()
            best = peaks.measure(device)
        else:
            runner = FleetRunner(
                work, address, float(settings["rpc_timeout"]), tell, suspects=database.add_suspect
            )
        yield NetworkTuner(network, rivals, device, database, budget, runner, best, watch)


class NetworkTuner(Tuner):
    """Tunes the kernels of a network: first those of the layers in doubt, in every form."""

    def __init__(
        self,
        network: Network,
        rivals: Contest,
        device: Device,
        database: Database,
        budget: Budget,
        runner: Runner,
        best: dict[str, float | None],
        watch: Callable[[NetworkTuner], None],
    ) -> None:
        self.network, self.rivals = network, rivals
        tasks = {task.key: task for task in (*rivals.default, *rivals.tasks)}
        super().__init__(
            list(tasks.values()), device, database, budget, runner, lambda _: watch(self)
        )
        self.final: list[Task] = rivals.default
        self.peaks = best
        self.binarized = rivals.binarized

    def run(self) -> None:
        """As :meth:`Tuner.run`; then what the layers in doubt have become, if that is new."""
        super().run()
        if not decide(self.rivals, self.database):
            return
        self.final = self.network.tasks(RecordSet(self.device, [self.database]))
        known = {row.task.key for row in self.rows}
        more = [task for task in self.final if task.key not in known]
        if more and not self.out_of_time():
            self.rows += [self._progress(task) for task in more]
            super().run()

    def totals(self) -> tuple[float, float] | None:
        """Seconds of all kernels of the network, default and tuned; ``None`` before the end."""
        rows = {row.task.key: row for row in self.rows}
        if any(task.key not in rows for task in self.final):
            return None
        before = [(rows[task.key].before, task.count) for task in self.rivals.default]
        after = [(rows[task.key].after, task.count) for task in self.final]
        if any(seconds is None for seconds, _ in (*before, *after)):
            return None
        first, last = (sum((s or 0.0) * n for s, n in pairs) for pairs in (before, after))
        return first, last

    def share(self, row: Progress) -> float | None:
        """Of the machine's peak for the kind of arithmetic, on the threads that the kernel has."""
        rate = row.gmacs()
        if rate is None:
            return None
        peak = self.peaks.get(row.task.workload.problem.kind)
        return rate / peak / self.network.threads if peak else None

    def lowerings(self) -> dict[str, dict[str, float]]:
        """Seconds of each layer in doubt by kind of kernel, as far as they are known."""
        recorded = self.database.lowerings
        return {
            layer: {kind: seconds for kind, (seconds, _) in recorded[layer].kinds.items()}
            for layer in self.rivals.kernels
            if layer in recorded
        }
