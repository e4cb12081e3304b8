"""Child processes that build candidates for other machines, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection

from abc_tvm.errors import DeviceError
from abc_tvm.remote.watchdog import Death, Helper, HelperRefusal, Silence
from abc_tvm.schedules.choice import Choice
from abc_tvm.tuning.workers.local import WORKER, raise_user_error
from abc_tvm.tuning.workers.package import Package
from abc_tvm.tuning.workers.runner import BUILD_S, START_S, Work


@dataclass(frozen=True)
class Order:
    """Choices of one task to build; ``None`` among them is the plain loops."""

    workload: str
    choices: tuple[Choice | None, ...]


@dataclass
class _Builder:
    helper: Helper
    ready: bool = False
    order: Order | None = None


class Builders:
    """Up to ``count`` processes; each is started when there is something to build for it."""

    def __init__(self, work: Work, count: int, worker: str = WORKER) -> None:
        self.count = count
        self._work, self._worker = work, worker
        self._builders: list[_Builder] = []
        self._queue: list[Order] = []

    @property
    def pipes(self) -> list[Connection]:
        """What to wait on for :meth:`collect`."""
        return [b.helper.pipe for b in self._builders if not b.ready or b.order]

    @property
    def left(self) -> float | None:
        """Seconds until :meth:`collect` has something to say even if nothing comes."""
        limits = [b.helper.left for b in self._builders if not b.ready or b.order]
        return min((limit for limit in limits if limit is not None), default=None)

    def start(self) -> None:
        """Start a process, which imports TVM while this one goes on."""
        helper = Helper(self._worker)
        helper.begin(("ready", self._work), START_S)
        self._builders.append(_Builder(helper))

    def order(self, order: Order) -> None:
        """Build, now or when a process is free."""
        self._queue.append(order)
        idle = sum(b.order is None for b in self._builders)
        if idle < len(self._queue) and len(self._builders) < self.count:
            self.start()
        self._begin()

    def collect(self) -> list[tuple[Order, list[Package] | str]]:
        """Orders that are done, with what was built, or why nothing was.

        Raises:
            UserError: What no other candidate would survive either.
        """
        done: list[tuple[Order, list[Package] | str]] = []
        for builder in list(self._builders):
            if builder.ready and builder.order is None:
                continue
            try:
                answer = builder.helper.answer()
            except HelperRefusal as refusal:
                raise_user_error(refusal)
                built: list[Package] | str = str(refusal)
            except (Death, Silence) as error:
                self._end(builder, error)
                built = f"ended the process that builds it ({str(error) or 'it took too long'})"
            else:
                if answer is None:
                    continue
                built = answer.value
            if not builder.ready:
                builder.ready = True
            elif builder.order is not None:
                done.append((builder.order, built))
                builder.order = None
        self._begin()
        return done

    def close(self) -> None:
        """End all processes."""
        for builder in self._builders:
            builder.helper.close()
        self._builders.clear()
        self._queue.clear()

    def _begin(self) -> None:
        for builder in list(self._builders):
            if not self._queue or not builder.ready or builder.order is not None:
                continue
            order = self._queue[0]
            try:
                builder.helper.begin(("package", order.workload, [*order.choices]), BUILD_S)
            except Death:  # it was ended while it had nothing to do
                builder.helper.close()
                self._builders.remove(builder)
                self.start()
            else:
                builder.order = self._queue.pop(0)

    def _end(self, builder: _Builder, error: Exception) -> None:
        if not builder.ready:
            raise DeviceError(
                f"this machine: a process that builds does not start ({error}); everything "
                "measured is kept: run again with --continue"
            ) from error
        builder.helper.close()
        self._builders.remove(builder)
        if self._queue:
            self.start()
