"""Where candidates are measured, as the tuner sees it: it submits jobs and waits for outcomes.

:mod:`.local` measures in a child process on this machine, :mod:`.fleet` on devices behind TVM's
RPC. Whatever a candidate does there (crash, hang, eat memory), it comes back as a failed outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device

START_S = 120.0
"""Seconds that a child process on this machine may take to start (it imports TVM)."""

BUILD_S = 120.0
"""Seconds that building the choices of a job may take here."""


@dataclass(frozen=True)
class Work:
    """Where child processes find what is tuned.

    ``folder`` holds the layers (:func:`abc_tvm.records.task.load_layer`), ``threads`` are those of
    a kernel.
    """

    folder: Path
    device: Device
    threads: int = 1


@dataclass(frozen=True)
class Job:
    """Choices of one task to measure in turns, ``rounds`` times each (0: only to be compared).

    ``deaths``: why devices died at it in earlier runs.
    """

    workload: str
    choices: tuple[Choice, ...]
    rounds: int
    deaths: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobOutcome:
    """What became of a job: ``times[i][r]`` seconds of choice ``i`` in round ``r``.

    ``failure`` says in one line why there are none. ``where`` names the machine.
    """

    job: Job
    where: str
    times: tuple[tuple[float, ...], ...] = ()
    failure: str = ""


@dataclass
class MeasuringMachine:
    """What is known of a machine that measures: ``doing`` is for people."""

    name: str
    doing: str = ""
    measured: int = 0


class Runner(Protocol):
    """Measures jobs. A context manager, which starts its processes and ends them."""

    @property
    def slots(self) -> int:
        """How many jobs to keep under way; may change from call to call."""

    @property
    def machines(self) -> list[MeasuringMachine]:
        """Who measures, for people."""

    def submit(self, job: Job) -> None:
        """Begin a job."""

    def wait(self) -> list[JobOutcome]:
        """The outcomes of jobs that have ended, at least one.

        Only to be called while a job is under way. Ctrl-C interrupts it.

        Raises:
            DeviceError: No device is left.
            UserError: What no other candidate would survive either: a full disk, no linker.
        """

    def __enter__(self) -> Runner: ...

    def __exit__(self, *_: object) -> None: ...
