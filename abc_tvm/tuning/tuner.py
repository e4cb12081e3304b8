"""The tuning run: which task next, measure, record, and in the end the best beside the default.

Each measurement is in the database before the next of its machine begins. What a run knows it
reads from there, so an interrupted run goes on by being started again. Where candidates are
measured is the runner's business (:mod:`.runner`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from abc_tvm.errors import TargetError
from abc_tvm.records.database import FAILED_S, Database, Record
from abc_tvm.records.records import FINAL_ROUNDS, same_target, target_json, typical
from abc_tvm.records.suspects import deaths
from abc_tvm.records.task import Task, dump_module, save_layer
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device
from abc_tvm.tuning.workers.runner import Job, JobOutcome, Runner

from .interrupt import ctrl_c_waits
from .search import make_search, settled

ROUNDS = 4
"""Rounds of a measurement in the search; the least counts."""

FINALISTS = 2
NOISE = 0.01
"""What a choice must be faster than the default by, in turns, to be kept."""


@dataclass(frozen=True)
class Budget:
    """When to stop: choices a task, seconds in all, choices without gain."""

    trials: int
    seconds: float | None = None
    patience: int = 24
    seed: int = 0


@dataclass
class Progress:
    """What is known of one task; the live table shows it.

    ``pending`` choices are being measured; ``closing``: so are the finalists.
    """

    task: Task
    trials: int
    seen: dict[Choice, float] = field(default_factory=dict)
    history: list[float] = field(default_factory=list)
    before: float | None = None
    after: float | None = None
    winner: Choice | None = None
    note: str = ""
    pending: set[Choice] = field(default_factory=set)
    closing: bool = False
    finalists: int = FINALISTS
    done: bool = False

    @property
    def best(self) -> float | None:
        return self.after or min((t for t in self.seen.values() if t < FAILED_S), default=None)

    @property
    def left(self) -> int:
        return 0 if self.done else max(0, self.trials - len(self.seen))

    def gmacs(self) -> float | None:
        """Billions of multiply-accumulates a second; ``None`` where there are none."""
        return None if not self.best or not self.task.macs else self.task.macs / self.best / 1e9


Watch = Callable[["Tuner"], None]


class Tuner:
    """Tunes the tasks of one network into one open database."""

    def __init__(
        self,
        tasks: list[Task],
        device: Device,
        database: Database,
        budget: Budget,
        runner: Runner,
        watch: Watch = lambda _: None,
    ) -> None:
        self.device, self.database, self.budget = device, database, budget
        self.runner, self.watch = runner, watch
        self.search = make_search(budget.seed, device)
        self._earlier = list(database.suspects)
        self.rows = [self._progress(task) for task in tasks]
        self.started = time.monotonic()
        self.measured = 0

    def _progress(self, task: Task) -> Progress:
        row = Progress(task, self.budget.trials)
        for record in self.database.records:
            if record.workload == task.key and same_target(record.target, self.device):
                seconds = float("inf") if record.failed else record.best
                if len(record.seconds) >= FINAL_ROUNDS and record.choice == task.default:
                    row.done = True
                row.seen[record.choice] = min(seconds, row.seen.get(record.choice, seconds))
                row.history.append(seconds)
        self.search.learn(task.space, row.seen)
        row.done = row.done and len(row.seen) >= self.budget.trials
        if row.done:
            self._recall(row)
        return row

    def _recall(self, row: Progress) -> None:
        from abc_tvm.records.records import best

        mine = [r for r in self.database.records if r.workload == row.task.key]
        winner = best(mine)
        finals = {r.choice: r for r in mine if len(r.seconds) >= FINAL_ROUNDS}
        if winner is not None and row.task.default in finals:
            row.winner, row.after = winner.choice, typical(winner.seconds)
            row.before = typical(finals[row.task.default].seconds)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def eta(self) -> float | None:
        """Seconds left, from the pace so far."""
        left = sum(row.left for row in self.rows)
        if not self.measured:
            return None
        pace = self.elapsed / self.measured * left
        if self.budget.seconds is not None:
            pace = min(pace, max(0.0, self.budget.seconds - self.elapsed))
        return pace

    def out_of_time(self) -> bool:
        return self.budget.seconds is not None and self.elapsed >= self.budget.seconds

    def run(self) -> None:
        """Measure until the budget is spent; tasks that take most of the network's time first.

        Raises:
            TargetError: A default schedule does not work on the machine that measures.
            UserError: What the runner and the database raise.
        """
        todo = [row for row in self.rows if not row.done]
        with self.runner:
            fresh = iter([row for row in todo if row.task.default not in row.seen])
            self._keep_busy(lambda: next(map(self._default_job, fresh), None))
            weight = {row.task.key: row.task.count * (row.best or 0.0) for row in todo}
            todo.sort(key=lambda row: -weight[row.task.key])
            self._keep_busy(lambda: next(filter(None, map(self._job, todo)), None))
            # What may end the last device comes when nothing else is left to lose.
            self._keep_busy(lambda: next(filter(None, map(self._suspected_job, todo)), None))

    def _keep_busy(self, next_job: Callable[[], Job | None]) -> None:
        """Until there is no next job and none under way.

        ``next_job`` may give none now and one later, when outcomes have come.
        """
        under_way = 0
        while True:
            while under_way < self.runner.slots and (job := next_job()) is not None:
                # Here, and not for all before the first: a layer takes 0.1 s.
                save_layer(self.database.folder, self._row(job.workload).task)
                self.runner.submit(job)
                under_way += 1
            if not under_way:
                return
            outcomes = self.runner.wait()
            with ctrl_c_waits():
                for outcome in outcomes:
                    under_way -= 1
                    self._take(outcome)
            self.watch(self)

    def _default_job(self, row: Progress) -> Job:
        row.pending.add(row.task.default)
        return Job(row.task.key, (row.task.default,), ROUNDS)

    def _job(self, row: Progress) -> Job | None:
        """What to measure next of a task: a candidate, or in the end the finalists."""
        if row.done or row.closing:
            return None
        choice = self._candidate(row)
        if choice is not None:
            row.pending.add(choice)
            return Job(row.task.key, (choice,), ROUNDS)
        if row.pending or self._suspect(row) is not None:
            return None  # their outcomes may bring other candidates
        row.closing = True
        return self._final(row)

    def _suspected_job(self, row: Progress) -> Job | None:
        """A candidate that a device died at in an earlier run; then what is left of the task."""
        if row.done or row.closing:
            return None
        choice = self._suspect(row)
        if choice is None:
            return self._job(row)
        row.pending.add(choice)
        return self._with_deaths(Job(row.task.key, (choice,), ROUNDS))

    def _suspect(self, row: Progress) -> Choice | None:
        """The next suspect that is to be tried again."""
        full = len(row.seen) + len(row.pending) >= self.budget.trials
        return None if full or self.out_of_time() else next(iter(self._suspects(row)), None)

    def _suspects(self, row: Progress) -> list[Choice]:
        """Candidates that devices died at, and of which nothing else is known.

        The default is none: a layer cannot be tuned without it, and whoever switches a device off
        twice does so most easily while it runs the first candidate.
        """
        mine = [s.choices for s in self._earlier if s.workload == row.task.key]
        suspects = [choices[0] for choices in mine if len(choices) == 1]
        known = {*row.seen, *row.pending, row.task.default}
        return [choice for choice in dict.fromkeys(suspects) if choice not in known]

    def _with_deaths(self, job: Job) -> Job:
        return replace(job, deaths=deaths(self._earlier, job.workload, job.choices))

    def _candidate(self, row: Progress) -> Choice | None:
        suspects = self._suspects(row)  # which keep their places
        taken = len(row.seen) + len(row.pending) + len(suspects)
        if taken >= self.budget.trials or self.out_of_time():
            return None
        if settled(row.history, self.budget.patience):
            row.note = "no gain any more"
            return None
        choice = self.search.next(row.task.space, row.seen, {*row.pending, *suspects})
        if choice is None and not row.pending:
            row.note = "space exhausted"
        return choice

    def _final(self, row: Progress) -> Job:
        """The best choices and the default, in turns."""
        default = row.task.default
        ranked = sorted((c for c in row.seen if c != default), key=lambda c: row.seen[c])
        best = [c for c in ranked if row.seen[c] < float("inf")][: row.finalists]
        job = Job(row.task.key, (default, *best), FINAL_ROUNDS)
        return self._with_deaths(job) if best else job

    def _row(self, workload: str) -> Progress:
        return next(row for row in self.rows if row.task.key == workload)

    def _take(self, outcome: JobOutcome) -> None:
        row = self._row(outcome.job.workload)
        if outcome.failure and outcome.job.choices == (row.task.default,):
            raise TargetError(
                f"{row.task.name}: its default schedule does not work on {outcome.where}: "
                f"{outcome.failure}; does the target {self.device.name} describe that machine?"
            )
        if row.closing:
            self._take_final(row, outcome)
        else:
            self._take_candidate(row, outcome)

    def _take_candidate(self, row: Progress, outcome: JobOutcome) -> None:
        (choice,) = outcome.job.choices
        row.note = outcome.failure[:80]
        times = (FAILED_S,) if outcome.failure else outcome.times[0]
        self._record(row, choice, times)
        seconds = float("inf") if outcome.failure else min(times)
        row.pending.discard(choice)
        row.seen[choice] = seconds
        row.history.append(seconds)
        self.measured += 1

    def _take_final(self, row: Progress, outcome: JobOutcome) -> None:
        """Only a clear winner replaces the default."""
        if outcome.failure:  # of the default or of a rival: the default alone will tell
            row.finalists, row.closing = 0, False
            return
        default = row.task.default
        times = dict(zip(outcome.job.choices, outcome.times, strict=True))
        before = typical(times[default])
        best = min(times, key=lambda c: typical(times[c]))
        if typical(times[best]) > before * (1 - NOISE):
            best = default
        row.winner, row.before, row.after = best, before, typical(times[best])
        # Rivals that did not win keep their record of the search, which no final counts. The
        # default's comes last: with it the task counts as finished.
        for choice in {best: 0, default: 0}:
            self._record(row, choice, times[choice])
        row.done = True

    def _record(self, row: Progress, choice: Choice, seconds: tuple[float, ...]) -> None:
        task = row.task
        arguments: list[Any] = [
            ["TENSOR", str(p.dtype), [int(d) for d in p.shape]] for p in task.workload.func.params
        ]
        record = Record(task.key, choice, seconds, target_json(self.device), arguments)
        module = self.database.workloads.get(task.key) or dump_module(task.module)
        self.database.add(task.key, module, [record])
