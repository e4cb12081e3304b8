"""Measure on this machine, in child processes that are started again when a candidate ends them.

A build takes ten times as long as a measurement. So every core has a child, which builds and checks
a job of its own; when all have built, they measure one after the other, and nothing else runs
beside a measurement that would share caches and clock with it.
"""

from __future__ import annotations

import os
from typing import Any

from abc_tvm import errors
from abc_tvm.errors import DeviceError, UserError
from abc_tvm.remote.watchdog import Death, Helper, HelperRefusal, Silence
from abc_tvm.tuning.workers.runner import BUILD_S, START_S, Job, JobOutcome, MeasuringMachine, Work

WORKER = "abc_tvm.tuning.workers.worker"
HERE = "this machine"

MOST = 8
"""Children at most: each has TVM and some layers in memory."""


class LocalRunner:
    """A :class:`.runner.Runner` of ``children`` processes, by default one a core.

    ``seconds`` is what building a job may take, and measuring it again; ``worker`` is the module
    of the children.
    """

    def __init__(
        self,
        work: Work,
        seconds: float = BUILD_S,
        worker: str = WORKER,
        children: int | None = None,
    ) -> None:
        self.slots = children or min(MOST, len(os.sched_getaffinity(0)))
        self.machines = [MeasuringMachine(HERE)]
        self._children = [_Child(work, worker) for _ in range(self.slots)]
        self._seconds = seconds
        self._jobs: list[Job] = []

    def __enter__(self) -> LocalRunner:
        """Start the processes, which import TVM while this one goes on."""
        for child in self._children:
            if not child.started:
                child.start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.close()

    def wait_until_ready(self) -> None:
        """Until nothing of the start disturbs a measurement any more.

        Raises ``DeviceError`` where a process does not start.
        """
        for child in self._children:
            child.ready()

    def submit(self, job: Job) -> None:
        """See :class:`.runner.Runner`; at most ``slots`` jobs."""
        self._jobs.append(job)
        self.machines[0].doing = str(job.choices[0])

    def wait(self) -> list[JobOutcome]:
        """See :class:`.runner.Runner`: the outcomes of all jobs."""
        jobs, self._jobs = self._jobs, []
        pairs = list(zip(self._children, jobs, strict=False))
        for child, job in pairs:
            child.begin(("build", job), self._seconds)
        failures = [self._failure(child) for child, _ in pairs]
        outcomes = []
        for (child, job), failure in zip(pairs, failures, strict=True):
            if not failure:
                child.begin(("measure", job.rounds), self._seconds)
                failure = self._failure(child)
            if failure:
                outcomes.append(JobOutcome(job, HERE, failure=failure))
                continue
            self.machines[0].measured += 1
            outcomes.append(JobOutcome(job, HERE, tuple(child.value)))
        return outcomes

    def _failure(self, child: _Child) -> str:
        """Why the child did not do what it was asked, or nothing; it is replaced if it must be."""
        try:
            child.wait()
        except HelperRefusal as refusal:
            raise_user_error(refusal)
            return str(refusal)
        except Death as death:
            child.start()
            return f"ended its process ({death})"
        except Silence:
            child.start()
            return f"took more than {self._seconds:g} s"
        return ""


class _Child:
    """One process; ``value`` is its last answer."""

    def __init__(self, work: Work, worker: str) -> None:
        self._work, self._worker = work, worker
        self._helper: Helper | None = None
        self._ready = False
        self.value: Any = None

    @property
    def started(self) -> bool:
        """Whether there is a process, or was one that ended by itself."""
        return self._helper is not None

    def start(self) -> None:
        """Start the process, in the place of the last one."""
        self.close()
        self._helper, self._ready = Helper(self._worker), False
        self._helper.begin(("ready", self._work), START_S)

    def begin(self, request: tuple[Any, ...], seconds: float) -> None:
        """Ask; a process that has ended since the last answer is replaced."""
        try:
            self.ready().begin(request, seconds)
        except Death:
            self.start()
            self.ready().begin(request, seconds)

    def wait(self) -> None:
        """Until there is an answer. Raises what :meth:`Helper.answer` does."""
        helper = self.ready()
        while (answer := helper.answer(helper.left)) is None:
            pass
        self.value = answer.value

    def ready(self) -> Helper:
        """The process, when it has started. Raises ``DeviceError`` where it does not."""
        helper = self._helper
        if helper is None:
            raise DeviceError(f"{HERE}: the runner was not entered")
        try:
            while not self._ready:
                self._ready = helper.answer(helper.left) is not None
        except (HelperRefusal, Death, Silence) as error:
            if isinstance(error, HelperRefusal):
                raise_user_error(error)
            raise DeviceError(
                f"{HERE}: the process that measures does not start ({error}); everything "
                "measured is kept: run again with --continue"
            ) from error
        return helper

    def close(self) -> None:
        """End the process."""
        if self._helper is not None:
            self._helper.close()
            self._helper = None


def raise_user_error(refusal: HelperRefusal) -> None:
    """Raise what no other candidate would survive either."""
    kind = getattr(errors, refusal.kind, None)
    if isinstance(kind, type) and issubclass(kind, UserError):
        raise kind(str(refusal)) from refusal
