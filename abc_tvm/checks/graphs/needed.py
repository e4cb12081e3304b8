"""What must be computed for a result, in either graph of the checker."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def needed(
    wanted: Iterable[T],
    stop: Iterable[T],
    made_at: Mapping[T, int],
    reads: Callable[[int], Iterable[T]],
) -> list[int]:
    """Positions that compute ``wanted`` from ``stop``, in order.

    Args:
        wanted: Tensors.
        stop: Tensors that are known.
        made_at: The position that a tensor is made at; inputs have none.
        reads: The tensors that a position reads.
    """
    known = set(stop)
    todo = [one for one in wanted if one not in known]
    positions: set[int] = set()
    while todo:
        at = made_at.get(todo.pop())
        if at is None or at in positions:
            continue
        positions.add(at)
        todo.extend(one for one in reads(at) if one not in known)
    return sorted(positions)
