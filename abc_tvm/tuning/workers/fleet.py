"""Measure on devices behind TVM's RPC: one, or all that a tracker lends.

Candidates are built here, by :mod:`.builders`, and go to whichever device is free. Each device has
a child process (:mod:`.device_worker`), so that one that falls silent costs that process alone.
With a tracker one more process always waits for the next device: so whatever joins later, or comes
back, is taken in.

A device that dies is dropped and its candidate measured elsewhere. A candidate that two devices
died at counts as failed as soon as a third proves that it lives, by running the layer's plain
loops: where all die together, no candidate is to blame. No device for :data:`GRACE_S` is an error.
Each death is written down (:mod:`.suspects`) and counts in later runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from abc_tvm.errors import DeviceError
from abc_tvm.records.suspects import LOSSES, Suspect
from abc_tvm.remote.address import Address
from abc_tvm.remote.tracker import tracker
from abc_tvm.remote.watchdog import Death, Helper, HelperRefusal, Silence
from abc_tvm.tuning.interrupt import ctrl_c_waits
from abc_tvm.tuning.workers.builders import Builders, Order
from abc_tvm.tuning.workers.local import WORKER
from abc_tvm.tuning.workers.package import Package
from abc_tvm.tuning.workers.runner import START_S, Job, JobOutcome, MeasuringMachine, Work

GRACE_S = 5.0
"""Seconds that a run goes on waiting for a device when the last one has died."""

RETRY_S = 1.0
"""Seconds between attempts to reach a device."""

DEVICE_WORKER = "abc_tvm.tuning.workers.device_worker"
Tell = Callable[[str], None]
Suspects = Callable[[Suspect], None]


@dataclass
class _Run:
    """A job on its way: built, and then measured by a member."""

    job: Job
    packages: list[Package] = field(default_factory=list)
    losses: int = 0
    reason: str = ""


@dataclass
class _Member:
    """A device, or the process that waits for one while ``machine`` is ``None``.

    ``layer`` is the task whose plain loops the device has run.
    """

    helper: Helper
    machine: MeasuringMachine | None = None
    layer: str = ""
    run: _Run | None = None
    measuring: bool = False

    @property
    def idle(self) -> bool:
        return self.machine is not None and self.run is None


class FleetRunner:
    """A :class:`abc_tvm.tuning.workers.runner.Runner` of the devices at an address.

    ``seconds`` is how long a device may be silent in any step. ``suspects`` hears of each
    candidate that a device dies at, before the device is dropped.
    """

    def __init__(
        self,
        work: Work,
        address: Address,
        seconds: float,
        tell: Tell,
        builder: str = WORKER,
        suspects: Suspects = lambda _: None,
    ) -> None:
        self._suspects = suspects
        self._work, self._address, self._seconds, self._tell = work, address, seconds, tell
        self._builders = Builders(work, len(os.sched_getaffinity(0)), builder)
        self._members: list[_Member] = []
        self._unbuilt: dict[Order, _Run] = {}
        self._built: list[_Run] = []
        self._references: dict[str, Package] = {}
        self._known: dict[str, MeasuringMachine] = {}
        self._told: set[str] = set()
        self._reason = ""
        self._retry_at = 0.0
        self._alone_since: float | None = None

    def __enter__(self) -> FleetRunner:
        count = 0
        if self._address.key is not None:
            with tracker(self._address, self._seconds) as there:
                count = there.count()
        self._builders.start()
        for _ in range(max(1, count)):
            self._enlist()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.helper.close()
        self._builders.close()
        # Nothing of this visit is left for the next one.
        self._members.clear()
        self._unbuilt.clear()
        self._built.clear()
        self._retry_at, self._alone_since = 0.0, None

    @property
    def slots(self) -> int:
        """One job for each device, and one for each process that builds."""
        return self._connected + self._builders.count

    @property
    def machines(self) -> list[MeasuringMachine]:
        """All devices that have been there."""
        return list(self._known.values())

    @property
    def _connected(self) -> int:
        return sum(m.machine is not None for m in self._members)

    def submit(self, job: Job) -> None:
        """See :class:`abc_tvm.tuning.workers.runner.Runner`."""
        plain = () if job.workload in self._references else (None,)
        order = Order(job.workload, (*plain, *job.choices))
        reason = job.deaths[-1] if job.deaths else ""
        self._unbuilt[order] = _Run(job, losses=len(job.deaths), reason=reason)
        self._builders.order(order)

    def wait(self) -> list[JobOutcome]:
        """See :class:`abc_tvm.tuning.workers.runner.Runner`."""
        done: list[JobOutcome] = []
        while not done:
            self._hand_out()
            pause = self._pause()
            pipes = [m.helper.pipe for m in self._members if not m.idle]
            wait([*pipes, *self._builders.pipes], pause)
            for order, built in self._builders.collect():
                done += self._take_built(order, built)
            for member in list(self._members):
                done += self._take(member)
        return done

    # ---- building -----------------------------------------------------------------------

    def _take_built(self, order: Order, built: list[Package] | str) -> list[JobOutcome]:
        run = self._unbuilt.pop(order)
        if isinstance(built, str):
            return [JobOutcome(run.job, "this machine", failure=built)]
        if order.choices[0] is None:
            self._references[order.workload] = built.pop(0)
        run.packages = built
        self._built.append(run)
        return []

    # ---- devices ------------------------------------------------------------------------

    def _enlist(self) -> None:
        """Start a process that waits for a device."""
        helper = Helper(DEVICE_WORKER)
        work = self._work
        request = ("enlist", self._address, self._seconds, work.device, work.threads)
        helper.begin(request, START_S)
        self._members.append(_Member(helper))

    def _hand_out(self) -> None:
        """Give what is built to idle devices; start the process that waits for the next one."""
        if self._one_more and time.monotonic() >= self._retry_at:
            self._enlist()
        for member in list(self._members):
            if self._built and member.idle:
                same = (r for r in self._built if r.job.workload == member.layer)
                run = next(same, self._built[0])
                self._built.remove(run)
                member.run = run
                self._begin(member, run)

    @property
    def _one_more(self) -> bool:
        """Whether a process that waits for a device is missing."""
        if self._address.key is None:
            return not self._members
        return all(m.machine is not None for m in self._members)

    def _begin(self, member: _Member, run: _Run) -> None:
        """The next step of a run on a device."""
        member.measuring = member.layer == run.job.workload and run.losses < LOSSES
        request = (
            ("measure", run.job, run.packages)
            if member.measuring
            else ("reference", self._references[run.job.workload])
        )
        if member.machine is not None:
            member.machine.doing = str(run.job.choices[-1])
        try:
            member.helper.begin(request, self._seconds)
        except Death as death:
            self._drop(member, f"its process here ended ({death})")

    def _take(self, member: _Member) -> list[JobOutcome]:
        """What a member has to say."""
        if member.idle or member not in self._members:
            return []
        try:
            answer = member.helper.answer()
        except Silence as silence:
            self._drop(member, str(silence) or self._no_step(member))
            return []
        except Death as death:
            self._drop(member, f"its process here ended ({death})")
            return []
        except HelperRefusal as refusal:
            if refusal.kind in ("DeviceError", "TargetError") or member.run is None:
                self._drop(member, str(refusal))
                return []
            failed, member.run = member.run, None
            where = "" if member.machine is None else member.machine.name
            return [JobOutcome(failed.job, where, failure=str(refusal))]
        if answer is None:
            return []
        if member.machine is None:
            name = str(answer.value)
            member.machine = self._known.setdefault(name, MeasuringMachine(name))
            member.machine.doing = ""
            self._tell(f"device {member.machine.name} joins")
            return []
        run = member.run
        if run is None:
            return []
        if not member.measuring:
            member.layer = run.job.workload
            if run.losses >= LOSSES:
                member.run = None
                failure = f"{run.losses} devices died at it: {run.reason}"
                return [JobOutcome(run.job, member.machine.name, failure=failure)]
            self._begin(member, run)
            return []
        member.run = None
        self._members.remove(member)
        self._members.append(member)  # the next job goes to the device that has rested longest
        member.machine.doing = ""
        member.machine.measured += 1
        return [JobOutcome(run.job, member.machine.name, tuple(answer.value))]

    def _no_step(self, member: _Member) -> str:
        """What to report of a process that has not come to its first step."""
        if member.machine is None:
            return f"this machine: a process does not start within {START_S:g} s"
        return f"{member.machine.name}: silent within {self._seconds:g} s"

    def _drop(self, member: _Member, reason: str) -> None:
        """A device is gone; its candidate goes to another one."""
        if member.run is not None and member.machine is not None and member.measuring:
            job, where = member.run.job, member.machine.name
            with ctrl_c_waits():
                self._suspects(Suspect(job.workload, job.choices, where, reason, time.time()))
        member.helper.close()
        self._members.remove(member)
        self._reason = reason
        self._retry_at = time.monotonic() + RETRY_S
        run = member.run
        if member.machine is None:
            if self._known and reason not in self._told:
                self._tell(f"a device was not taken in: {reason}")
            self._told.add(reason)
            return
        name = member.machine.name
        member.machine.doing = "gone"
        self._tell(f"device {name} is dropped: {reason}")
        if run is None:
            return
        if member.measuring:
            run.losses, run.reason = run.losses + 1, reason
        self._built.insert(0, run)

    # ---- how long to wait ---------------------------------------------------------------

    def _pause(self) -> float:
        """Seconds until something has to be done. Raises ``DeviceError``: no device is left."""
        limits = [m.helper.left for m in self._members if not m.idle]
        limits += [self._builders.left]
        if self._one_more:
            limits.append(max(0.0, self._retry_at - time.monotonic()))
        limits.append(self._patience())
        return min(limit for limit in limits if limit is not None)

    def _patience(self) -> float:
        """Seconds that a run still waits for a device; an hour where it has one."""
        if self._connected:
            self._alone_since = None
            return 3600.0
        now = time.monotonic()
        if self._alone_since is None or (not self._known and self._hopeful):
            self._alone_since = now
        left = self._alone_since + self._grace() - now
        if left > 0:
            return left
        if not self._known:
            raise DeviceError(
                self._reason or f"{self._address}: no device became free within {self._seconds:g} s"
            )
        candidates = ", ".join(str(run.job.choices[-1]) for run in self._built if run.losses)
        at = f"; it was measuring {candidates}" if candidates else ""
        raise DeviceError(
            f"{self._address}: no device is left ({self._reason}{at}); everything measured is "
            "kept: start the devices again and run with --continue"
        )

    @property
    def _hopeful(self) -> bool:
        """Whether a process starts or connects, for which it has a time-out of its own."""
        return any(m.machine is None and m.helper.left is not None for m in self._members)

    def _grace(self) -> float:
        if self._known:
            return GRACE_S
        if self._hopeful:
            return START_S
        return 0.0 if self._reason else self._seconds
