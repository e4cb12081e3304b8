"""One run beside onnxruntime's: which difference is a flip, and which a fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from abc_tvm.checks.verify.bits import BitInput, LayerBits
from abc_tvm.checks.verify.compare import (
    Tally,
    compare_round,
    difference,
    relative_error,
    scaled_error,
)
from abc_tvm.checks.verify.reads import Round
from abc_tvm.checks.verify.reference import with_outputs
from abc_tvm.checks.verify.taps import Point, Points
from abc_tvm.engines.onnx_engine import OnnxEngine
from abc_tvm.relay_passes.lowerings.codec import Codec
from abc_tvm.report import Layer, Report
from tests.abc_tvm.checks.verify.test_reference import model

CHANNELS = 64
ROWS = 4
EXACT = Report((), "zen4", "bitserial")
BYTES = Layer("second", "dense", [8, 1, 1, CHANNELS], 512, 1, 1, "int8", "", 512, 2048, 0.01)
ROUNDED = Report((BYTES,), "zen4", "int8")


class Network:
    """Dense layer, Sign, dense layer; of the sums of the first row the first rounds about 0."""

    def __init__(self) -> None:
        rng, node = np.random.default_rng(7), helper.make_node
        first = rng.standard_normal((200, CHANNELS)).astype(np.float32)
        self.x = rng.standard_normal((ROWS, 200)).astype(np.float32)
        rest = self.x[0, :-1].astype(np.float64) @ first[:-1, 0]
        first[-1, 0] = -rest / self.x[0, -1]
        second = rng.standard_normal((CHANNELS, 8)).astype(np.float32)
        nodes = [
            node("MatMul", ["x", "first"], ["s"], "first"),
            node("Sign", ["s"], ["t"]),
            node("MatMul", ["t", "second"], ["y"], "second"),
        ]
        self.second = second
        self.model = model(nodes, {"first": first, "second": second}, {"x": ["N", 200]})
        self.reference = OnnxEngine(with_outputs(self.model, ["t"]), optimise=False)
        self.wanted = self.reference.run({"x": self.x})

    def compare(
        self,
        signs: np.ndarray | None = None,
        shift: Any = 0.0,
        report: Report = EXACT,
        tensors: tuple[str, ...] = ("t",),
        bits: bool = True,
        other: float = 0.0,
    ) -> Tally:
        """A run whose second layer has read ``signs``, its outputs off by ``shift``."""
        signs = self.wanted["t"] if signs is None else signs
        y = (signs @ self.second + shift).astype(np.float32)
        patterns = np.array([[0], [1]], np.uint8)
        codec = Codec(CHANNELS, 1, -1.0, np.array([2.0]), patterns)
        point = Point("second", None, BitInput("second", None, codec), list(tensors))
        levels = np.packbits(signs > 0, axis=-1, bitorder="little").view(np.uint32)
        levels = levels.reshape(ROWS, 1, 1, 1, 1, -1)
        if not bits:
            point.item, levels = None, signs.reshape(ROWS, 1, 1, CHANNELS)
        one = Round({"x": self.x}, {"y": y}, self.wanted, ["y"], [y + np.float32(other), levels])
        points = Points([point], ["t"], [], [])
        return compare_round(one, report, self.model, points, self.reference)

    def flipped(self, *places: tuple[int, int]) -> np.ndarray:
        signs = self.wanted["t"].copy()
        for place in places:
            signs[place] *= -1
        return signs


@pytest.fixture(scope="module")
def net() -> Network:
    return Network()


def test_what_is_right(net: Network) -> None:
    tally = net.compare()
    assert not tally.failed and (tally.images, tally.agreement) == (ROWS, 1.0)
    assert tally.rows == {"second": LayerBits("second", 1, ROWS * CHANNELS, 0)}
    assert tally.relative_error < 1e-6 and tally.drift == 0
    assert tally.values == ROWS * CHANNELS + net.x.size + ROWS * 8


def test_a_flip_by_rounding_passes(net: Network) -> None:
    """And the outputs behind it are those of onnxruntime on the same bits."""
    tally = net.compare(net.flipped((0, 0)))
    assert tally.faults == []
    assert tally.rows["second"] == LayerBits("second", 1, ROWS * CHANNELS, 1, 0)
    assert tally.relative_error > 0.01 and tally.forced_error < 1e-6


@pytest.mark.parametrize("bits", [True, False])
def test_any_other_flip_is_a_fault(bits: bool, net: Network) -> None:
    tally = net.compare(net.flipped((0, 0), (2, 5)), bits=bits)
    (fault,) = tally.faults
    if bits:
        assert fault.startswith("the input of layer 'second': 1 of 256 bits are not onnxruntime's")
        assert tally.rows["second"] == LayerBits("second", 1, ROWS * CHANNELS, 2, 1)
    else:
        assert fault == "the input of layer 'second': 1 of 256 values are not onnxruntime's"
        assert tally.rows == {}


def test_outputs_that_do_not_follow_from_the_bits(net: Network) -> None:
    shift = np.zeros((ROWS, 8))
    shift[1, 2] = 0.5
    (fault,) = net.compare(shift=shift).faults
    assert fault.startswith("output 'y': 1 of 32 values are up to 0.5 from onnxruntime's on the")


def test_rounding_to_bytes_has_limits_of_its_own(net: Network) -> None:
    assert net.compare(net.flipped((2, 5)), 0.1, ROUNDED).faults == []
    many = net.compare(net.flipped(*((3, n) for n in range(3))), report=ROUNDED)
    (fault,) = many.faults
    assert "'second': 3 of 256 bits are not onnxruntime's, more than rounding to bytes" in fault
    (far,) = net.compare(shift=3.0, report=ROUNDED).faults
    assert far.startswith("output 'y' is 0.") and "of its largest value" in far


def test_two_builds_must_be_the_same(net: Network) -> None:
    assert net.compare(other=1.0).faults == [
        "output 'y' is not the same in two builds of the network"
    ]


def test_bits_that_stand_nowhere_are_unchecked(net: Network) -> None:
    tally = net.compare(tensors=())
    assert (tally.unchecked, tally.rows, tally.faults) == ({"second"}, {}, [])


def test_a_network_like_no_other_is_far_from_it(net: Network) -> None:
    faults = net.compare(-net.wanted["t"]).faults
    assert "the relative error (2-norm) from input to output is 2" in faults


def test_differences_of_odd_values() -> None:
    nan, inf = np.float32(np.nan), np.float32(np.inf)
    a, b = np.array([nan, inf, -inf, inf, 1, -0.0]), np.array([nan, inf, inf, 1, nan, 0.0])
    np.testing.assert_array_equal(difference(a, b), [0, 0, inf, inf, inf, 0])
    assert difference(a, b[:3]).tolist() == [inf]
    assert difference(np.uint8([3]), np.uint8([5])).tolist() == [2], "bytes do not wrap around"
    big = np.int64([1 << 53])
    assert difference(big + 1, big).tolist() == [1], "one float64, but not the same integer"
    assert difference(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0, 3)


def test_errors_of_odd_values() -> None:
    nan, inf = np.nan, np.inf
    assert relative_error(np.array([nan, inf, 1]), np.array([nan, inf, 1])) == 0
    assert relative_error(np.array([nan, 1.0]), np.array([1.0, 1.0])) == inf
    assert relative_error(np.array([True, False]), np.array([True, True])) > 0
    assert scaled_error(np.array([1.0, 4.5]), np.array([1.0, 5.0])) == 0.1
    assert scaled_error(np.array([1.0, inf]), np.array([2.0, inf])) == 0.5
    assert scaled_error(np.zeros(0), np.zeros(0)) == 0
