"""Choices survive being written down."""

from __future__ import annotations

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules.choice import Choice


@pytest.mark.parametrize(
    "choice",
    [
        Choice(),
        Choice(Tile(2, 7, 3, 4), "nibble", "column", "pixels", 2, "columns", 5),
        Choice(Tile(parts=2, planes="activations")),
    ],
)
def test_words_and_back(choice: Choice) -> None:
    assert Choice.of(choice.words()) == choice


@pytest.mark.parametrize(
    "change",
    [
        {"rows": "0"},
        {"rows": "-1"},
        {"parts": "x"},
        {"taps": "some"},
        {"planes": "some"},
        {"more": "1"},
    ],
)
def test_other_words_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not a choice"):
        Choice.of({**Choice().words(), **change})
    with pytest.raises(ValueError, match="not a choice"):
        Choice.of({})
