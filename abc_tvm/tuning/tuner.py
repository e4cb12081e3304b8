"""The tuning run: which task next, measure, record, and in the end the best beside the default.

Each measurement is in the database before the next begins. What a run knows it reads from there,
so an interrupted run goes on by being started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device

from .database import FAILED_S, Database, Record
from .interrupt import ctrl_c_waits
from .measure import Bench, Built, WrongResult
from .records import FINAL_ROUNDS, same_target, target_json, typical
from .search import next_choice, settled
from .task import Task, dump_module, save_layer

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
    """What is known of one task; the live table shows it."""

    task: Task
    trials: int
    seen: dict[Choice, float] = field(default_factory=dict)
    history: list[float] = field(default_factory=list)
    before: float | None = None
    after: float | None = None
    winner: Choice | None = None
    note: str = ""
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
        watch: Watch = lambda _: None,
    ) -> None:
        self.device, self.database, self.budget, self.watch = device, database, budget, watch
        self.rows = [self._progress(task) for task in tasks]
        self.started = time.monotonic()
        self.measured = 0

    def _progress(self, task: Task) -> Progress:
        row = Progress(task, self.budget.trials)
        for record in self.database.records:
            if record.workload == task.key and same_target(record.target, self.device):
                seconds = float("inf") if record.failed else record.best
                if len(record.seconds) >= FINAL_ROUNDS:
                    row.done = True
                row.seen[record.choice] = min(seconds, row.seen.get(record.choice, seconds))
                row.history.append(seconds)
        row.done = row.done and len(row.seen) >= self.budget.trials
        if row.done:
            self._recall(row)
        return row

    def _recall(self, row: Progress) -> None:
        from .records import best

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
        """Measure until the budget is spent; tasks that take most of the network's time first."""
        todo = [row for row in self.rows if not row.done]
        benches = {row.task.key: Bench(row.task, self.device) for row in todo}
        for row in todo:
            save_layer(self.database.folder, row.task)
            if row.task.default not in row.seen:
                self._measure(row, benches[row.task.key], row.task.default)
        weight = {row.task.key: row.task.count * (row.best or 0.0) for row in todo}
        for row in sorted(todo, key=lambda r: -weight[r.task.key]):
            self._search(row, benches[row.task.key])
            with ctrl_c_waits():
                self._final(row, benches.pop(row.task.key))
                row.done = True
            self.watch(self)

    def _search(self, row: Progress, bench: Bench) -> None:
        while len(row.seen) < self.budget.trials and not self.out_of_time():
            if settled(row.history, self.budget.patience):
                row.note = "no gain any more"
                return
            choice = next_choice(row.task.space, row.seen, self.budget.seed)
            if choice is None:
                row.note = "space exhausted"
                return
            self._measure(row, bench, choice)

    def _measure(self, row: Progress, bench: Bench, choice: Choice) -> None:
        with ctrl_c_waits():
            self._measure_whole(row, bench, choice)

    def _measure_whole(self, row: Progress, bench: Bench, choice: Choice) -> None:
        try:
            times = bench.seconds(bench.build(choice), ROUNDS)
        except (WrongResult, RuntimeError, ValueError) as error:
            if choice == row.task.default:
                raise
            row.note = " ".join(str(error).split())[:80]
            times = (FAILED_S,)
        self._record(row, choice, times)
        seconds = float("inf") if times[0] >= FAILED_S else min(times)
        row.seen[choice] = seconds
        row.history.append(seconds)
        self.measured += 1
        self.watch(self)

    def _final(self, row: Progress, bench: Bench) -> None:
        """The best choices and the default, in turns; only a clear winner replaces the default."""
        default = row.task.default
        ranked = sorted((c for c in row.seen if c != default), key=lambda c: row.seen[c])
        rivals = [c for c in ranked if row.seen[c] < float("inf")][:FINALISTS]
        built: dict[Choice, Built] = {c: bench.build(c) for c in [default, *rivals]}
        times: dict[Choice, list[float]] = {c: [] for c in built}
        for _ in range(FINAL_ROUNDS):
            for choice, kernel in built.items():
                times[choice].append(kernel.round())
        before = typical(times[default])
        best = min(times, key=lambda c: typical(times[c]))
        if typical(times[best]) > before * (1 - NOISE):
            best = default
        row.winner, row.before, row.after = best, before, typical(times[best])
        # Rivals that did not win keep their record of the search, which no final counts.
        for choice in {default: 0, best: 0}:
            self._record(row, choice, tuple(times[choice]))

    def _record(self, row: Progress, choice: Choice, seconds: tuple[float, ...]) -> None:
        task = row.task
        arguments: list[Any] = [
            ["TENSOR", str(p.dtype), [int(d) for d in p.shape]] for p in task.workload.func.params
        ]
        record = Record(task.key, choice, seconds, target_json(self.device), arguments)
        module = self.database.workloads.get(task.key) or dump_module(task.module)
        self.database.add(task.key, module, [record])
