"""Measure on this machine, in a child process that is started again when a candidate ends it.

One process builds and measures in turn: a build beside a measurement would share caches and clock
with it, and a measurement takes a tenth of a build's time, so that little would be won.
"""

from __future__ import annotations

from typing import Any

from abc_tvm import errors
from abc_tvm.errors import DeviceError, UserError
from abc_tvm.remote.watchdog import Death, Helper, Refusal, Silence

from .runner import BUILD_S, START_S, Job, Machine, Outcome, Work

WORKER = "abc_tvm.tuning.worker"
HERE = "this machine"


class LocalRunner:
    """A :class:`abc_tvm.tuning.runner.Runner` of one process.

    ``seconds`` is what a job may take, builds included; ``worker`` is the module of the child.
    """

    slots = 1

    def __init__(self, work: Work, seconds: float = BUILD_S, worker: str = WORKER) -> None:
        self._work, self._seconds, self._worker = work, seconds, worker
        self._helper: Helper | None = None
        self._ready = False
        self._job: Job | None = None
        self.machines = [Machine(HERE)]

    def __enter__(self) -> LocalRunner:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._helper is not None:
            self._helper.close()

    def submit(self, job: Job) -> None:
        """See :class:`abc_tvm.tuning.runner.Runner`; one job at a time."""
        self._job = job
        self.machines[0].doing = str(job.choices[0])

    def wait(self) -> list[Outcome]:
        """See :class:`abc_tvm.tuning.runner.Runner`."""
        job, self._job = self._job, None
        if job is None:
            return []
        try:
            helper = self._asked(("measure", job))
            while (answer := helper.answer(helper.left)) is None:
                pass
        except Refusal as refusal:
            raise_user_error(refusal)
            return [Outcome(job, HERE, failure=str(refusal))]
        except Death as death:
            self._start()
            return [Outcome(job, HERE, failure=f"ended its process ({death})")]
        except Silence:
            self._start()
            return [Outcome(job, HERE, failure=f"took more than {self._seconds:g} s")]
        self.machines[0].measured += 1
        return [Outcome(job, HERE, tuple(answer.value))]

    def _asked(self, request: tuple[Any, ...]) -> Helper:
        """The child, busy with a request; one that has ended since the last is replaced."""
        try:
            helper = self._child()
            helper.begin(request, self._seconds)
        except Death:
            self._start()
            helper = self._child()
            helper.begin(request, self._seconds)
        return helper

    def _start(self) -> None:
        """Start a child, which imports TVM while this process goes on."""
        if self._helper is not None:
            self._helper.close()
        self._helper, self._ready = Helper(self._worker), False
        self._helper.begin(("ready", self._work), START_S)

    def _child(self) -> Helper:
        """The child, when it has started."""
        helper = self._helper
        if helper is None:
            raise DeviceError(f"{HERE}: the runner was not entered")
        try:
            while not self._ready:
                self._ready = helper.answer(helper.left) is not None
        except (Refusal, Death, Silence) as error:
            if isinstance(error, Refusal):
                raise_user_error(error)
            raise DeviceError(
                f"{HERE}: the process that measures does not start ({error}); everything "
                "measured is kept: run again with --continue"
            ) from error
        return helper


def raise_user_error(refusal: Refusal) -> None:
    """Raise what no other candidate would survive either."""
    kind = getattr(errors, refusal.kind, None)
    if isinstance(kind, type) and issubclass(kind, UserError):
        raise kind(str(refusal)) from refusal
