"""What passes are told, and what they tell."""

from __future__ import annotations

import json

import pytest

from abc_tvm import targets
from abc_tvm.relay_passes.context import Context, LayerRow, Measured


@pytest.mark.parametrize(
    ("seconds", "winner"),
    [({"bitserial": 2e-6, "float": 1e-6}, "float"), ({"int8": 1e-6}, "int8")],
)
def test_the_fastest_kind_wins(seconds: dict[str, float], winner: str) -> None:
    assert Measured(seconds).winner == winner


def test_a_row_is_json_and_holds_every_field() -> None:
    layer = LayerRow("conv", "Conv", [8, 3, 3, 4], 1152, M=1, N=2, reason="none")
    row = layer.row()
    assert json.loads(json.dumps(row)) == row
    assert LayerRow(**row) == layer
    row["lowering"] = "bitserial"
    assert layer.lowering == "float", "a row is a copy"


def test_two_compilations_share_nothing() -> None:
    one, two = (Context(targets.load("zen4")) for _ in range(2))
    one.layers["conv"] = LayerRow("conv", "Conv", [], 0)
    one.refused["conv"] = "asked for"
    one.notes.append("a note")
    assert not two.layers and not two.refused and not two.notes and not two.rivals
