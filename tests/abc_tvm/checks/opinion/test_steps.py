"""What the comparison at probes lets pass at a tie, and what it must still catch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.graphs.layouts import SAME
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.opinion import layer_claims
from abc_tvm.checks.opinion.codes import Disagrees
from abc_tvm.checks.opinion.known_atoms import KnownAtoms
from abc_tvm.checks.opinion.steps import Case, check_steps
from tests.abc_tvm.checks.opinion.networks import judged
from tests.relay_passes.harness import Net

C = 2
TIE = np.float32(0)
ABOVE = np.nextafter(TIE, np.float32(1))
"""The lowest threshold under which 0 is on the lower side."""


@dataclass
class Steps:
    """What a layer reads of a root: as :class:`.codes.Reading`, written out."""

    thresholds: np.ndarray
    values: tuple[float, ...]
    rising: np.ndarray
    counts: None = None
    pool: None = None
    move: None = None
    copies: int = 1

    @property
    def limits(self) -> np.ndarray:
        return self.thresholds

    @property
    def rising_of_root(self) -> np.ndarray:
        return self.rising

    def read(self, x: np.ndarray, sums: np.ndarray | None = None) -> np.ndarray:
        index = sum((x >= row).astype(int) for row in self.thresholds)
        return np.array(self.values)[index]

    def seen(self, x: np.ndarray) -> np.ndarray:
        return x

    def every_level(self) -> np.ndarray:
        return np.array(self.values)


def sign() -> OnnxGraph:
    """``s = Sign(x)``."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, 1, C)) for n in "xs"]
    graph = helper.make_graph([helper.make_node("Sign", ["x"], ["s"])], "g", *([v] for v in values))
    return OnnxGraph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))


def case(limits: list[float], levels: tuple[float, ...], **changed: Any) -> Case:
    """``Sign`` read by thresholds, in a network where no atom meets a tie unless it is said."""
    thresholds = np.repeat(np.float32(limits)[:, None], C, 1)
    reading: Any = Steps(thresholds, levels, np.ones(C, bool))
    parts = ((1.0, "s", SAME, None),)
    whole = Case(sign(), reading, "x", SAME, (1, 1, C), 1, parts, 1.0, None, KnownAtoms(), None)
    return replace(whole, **changed)


def passes(given: Case) -> bool:
    try:
        return check_steps(given, np.random.default_rng(0)) > 0
    except Disagrees:
        return False


def reached(offset: int) -> IntegerSums:
    """Even sums, or odd ones, up to 9."""
    bound = np.full(C, 9 - (offset + 1) % 2)
    return IntegerSums(np.ones(C, np.float32), bound, np.full(C, offset), 2)


EXACT = ([TIE, ABOVE], (-1, 0, 1))
HIGHER = ([TIE], (-1, 1))
LOWER = ([ABOVE], (-1, 1))


def test_the_level_of_the_tie_is_always_right() -> None:
    assert passes(case(*EXACT))
    assert passes(case(*EXACT, atoms=KnownAtoms(True)))


def test_a_tie_that_no_atom_meets_may_go_to_its_higher_side_alone() -> None:
    assert passes(case(*HIGHER))
    assert not passes(case(*LOWER))


@pytest.mark.parametrize("side", [HIGHER, LOWER])
@pytest.mark.parametrize(
    "atoms",
    [KnownAtoms(True), KnownAtoms(values=frozenset({0.0})), KnownAtoms(scales=(0.5,))],
    ids=["everywhere", "value", "scale"],
)
def test_a_tie_that_an_atom_meets_is_kept(side: Any, atoms: KnownAtoms) -> None:
    assert not passes(case(*side, atoms=atoms))


@pytest.mark.parametrize("side", [HIGHER, LOWER])
def test_sums_that_meet_a_tie_have_its_level(side: Any) -> None:
    assert passes(case(*EXACT, sums=reached(0), atoms=KnownAtoms(True)))
    assert not passes(case(*side, sums=reached(0), atoms=KnownAtoms(True)))


@pytest.mark.parametrize("side", [HIGHER, LOWER])
def test_sums_that_pass_a_tie_by_meet_it_nowhere(side: Any) -> None:
    assert passes(case(*side, sums=reached(1), atoms=KnownAtoms(True)))


@pytest.mark.parametrize(
    ("limits", "levels"),
    [
        ([0.01], (-1, 1)),  # a threshold beside the tie, above and below
        ([-0.01], (-1, 1)),
        ([TIE, ABOVE], (-1, 0.5, 1)),  # between the tie's level and its side
        ([TIE, ABOVE], (-1, 2, 1)),  # no level at all
        ([TIE], (1, -1)),  # turned round
        ([TIE], (-1, 0.999)),
    ],
)
def test_a_tie_is_no_excuse_beside_it(limits: list[float], levels: tuple[float, ...]) -> None:
    assert not passes(case(limits, levels))


def float_then_bits(pad: int) -> onnx.ModelProto:
    """A layer of 9 products of ±1, which is quicker in float, before one on bits.

    Its sums are odd, so that ``Sign`` is never 0: without padding.
    """
    net = Net((1, 1, 8, 8))
    x = net.conv(net.step("input", 0.3), net.signs(64, 1, 3, 3), pad)
    return net.model(net.conv(net.op("Sign", x), net.signs(64, 64, 3, 3)))


def cases_of(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    found: list[Case] = []

    def kept(given: Case, rng: np.random.Generator) -> int:
        found.append(given)
        return check_steps(given, rng)

    monkeypatch.setattr(layer_claims, "check_steps", kept)
    result, context, _ = judged(model, "auto")
    assert [layer.lowering for layer in context.layers.values()] == ["float", "bitserial"]
    assert not result.wrong and not result.unknown
    return found


def test_a_level_that_exact_sums_never_take_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (given,) = cases_of(float_then_bits(0), monkeypatch)
    assert given.sums is not None and given.reading.steps == 1
    assert not passes(replace(given, sums=None))


def test_a_level_that_they_take_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a border six products make a sum, which may be 0."""
    (given,) = cases_of(float_then_bits(1), monkeypatch)
    assert given.reading.steps == 2
    limits = given.reading.thresholds
    for kept in (limits[:1], limits[1:]):
        fewer: Any = Steps(kept, (-1, 1), given.reading.rising)
        assert not passes(replace(given, reading=fewer))
