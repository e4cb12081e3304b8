"""Where measured times meet a rival's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def crossing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., float | None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    monkeypatch.setenv("TVM_NUM_THREADS", "1")
    import break_even

    return cast(Any, break_even).crossing  # type: ignore[no-any-return]


def test_between_two_points(crossing: Callable[..., float | None]) -> None:
    assert crossing([1, 4, 9], [1.0, 4.0, 9.0], 6.0) == 6.0
    # The first line that reaches it, also where a later point was measured below.
    assert crossing([1, 3, 5, 7], [1.0, 3.0, 2.0, 5.0], 2.0) == 2.0


def test_at_a_point_and_beside_the_points(crossing: Callable[..., float | None]) -> None:
    assert crossing([1, 4, 9], [1.0, 4.0, 9.0], 4.0) == 4.0
    assert crossing([2, 4], [1.0, 2.0], 0.5) == 1.0
    assert crossing([1, 4], [1.0, 4.0], 4.5) is None
