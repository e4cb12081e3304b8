"""Something from outside, on a list for as long as a block lasts."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Registered(Generic[Entry]):
    """What a word stands for in ``entries``; it is taken off at the end of a ``with``."""

    entries: dict[str, Entry]
    word: str

    def __enter__(self) -> Registered[Entry]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.entries.pop(self.word, None)
