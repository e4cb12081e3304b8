"""The search space of a kernel: every choice that may be worth measuring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .choice import Choice
from .machine import MachineFacts
from .problem import Problem


@dataclass(frozen=True)
class Space(ABC):
    """Choices for one kernel of a machine; ``threads`` above 1 adds how it is cut in parallel.

    Each leaves the result as it is, so that any may be compiled.
    """

    machine: MachineFacts
    problem: Problem
    threads: int

    @abstractmethod
    def default(self) -> Choice:
        """What is compiled where nothing is recorded."""

    @abstractmethod
    def first(self, count: int) -> Sequence[Choice]:
        """What to measure first: the best ``count`` by the family's own rule."""

    @abstractmethod
    def points(self) -> Iterator[Choice]:
        """All choices, the default first."""

    @abstractmethod
    def neighbours(self, choice: Choice) -> Iterator[Choice]:
        """Choices that differ from ``choice`` in one knob."""

    def features(self, choices: list[Choice]) -> np.ndarray:
        """What a learned cost model sees of choices, float32 ``[choices, features]``.

        The same features for every space of a family. Raises ``NotImplementedError`` where
        :attr:`.family.Family.described` is false.
        """
        raise NotImplementedError(f"the choices of {self.machine.isa} have no features")
