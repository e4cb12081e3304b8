"""Candidates that were under way when a device died: what a later run has to be told.

A device that dies at a candidate may have been killed by it, or switched off. While the run lasts,
other devices find out (:mod:`.fleet`). Where it was the last device the run ends, and the next one
would propose the same candidate again: so each death is a line of ``database_suspects.json``, on
the disk before the device is dropped.

The next run tries a suspect once more, when nothing else is left to measure. One at which
:data:`LOSSES` devices have died counts as failed as soon as a device has proved that it lives.
Once it is measured, its record counts, and its deaths do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import choice_of

LOSSES = 2
"""Devices that may die at a candidate before it counts as failed."""


@dataclass(frozen=True)
class Suspect:
    """One death: of the device ``where``, at ``choices`` of a workload, ``when`` (Unix time)."""

    workload: str
    choices: tuple[Choice, ...]
    where: str
    reason: str
    when: float

    def line(self) -> str:
        """The line in the file."""
        words = [choice.words() for choice in self.choices]
        body = [self.workload, words, self.where, self.reason, self.when]
        return json.dumps(body, separators=(",", ":"), sort_keys=True)

    @staticmethod
    def parse(line: str) -> Suspect:
        """What :meth:`line` wrote. Raises ``ValueError``."""
        try:
            workload, words, where, reason, when = json.loads(line)
            choices = tuple(choice_of(knobs) for knobs in words)
            return Suspect(str(workload), choices, str(where), str(reason), float(when))
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a suspect: {error}") from error


def deaths(
    suspects: Iterable[Suspect], workload: str, choices: tuple[Choice, ...]
) -> tuple[str, ...]:
    """Why devices died at exactly these choices, in the order in which they did."""
    return tuple(s.reason for s in suspects if (s.workload, s.choices) == (workload, choices))
