"""Steps as values of a slot: their levels, and the comparisons that codes are made of."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.kernel_runs import run
from tests.relay_passes.relax_graph import image, step
from tests.schedules.window_cases import unpack

CHANNELS = [1, 31, 32, 33]


def steps_and_data(channels: int, n: int) -> tuple[StepFunction, np.ndarray]:
    """Thresholds of every channel's own, some never or always reached, of either sense; ties."""
    rng = np.random.default_rng(channels)
    thresholds = np.sort(rng.integers(-6, 7, (n, channels)) / np.float32(4), axis=0)
    thresholds[-1, ::3] = np.inf
    thresholds[0, ::4] = -np.inf
    sense = rng.choice(np.int8([-1, 1]), channels)
    levels = rng.permutation(np.float32([-1.5, 0.25, 3, 7]))[: n + 1]
    data = (rng.integers(-8, 9, (1, 5, 5, channels)) / 4).astype(np.float32)
    return StepFunction(thresholds, sense, levels), data


def call_of(x: relax.Expr, steps: StepFunction) -> relax.Call:
    arrays = (steps.thresholds, steps.sense, steps.levels)
    return make("step", [x, *map(const, arrays)])


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("n", [1, 3])
def test_levels(channels: int, n: int) -> None:
    x = image("x", channels)
    steps, data = steps_and_data(channels, n)
    (found,) = run([x], [data], lambda bind: bind(call_of(x, steps)))
    np.testing.assert_array_equal(found, steps(data))


@pytest.mark.parametrize("channels", CHANNELS)
def test_many_levels(channels: int) -> None:
    """Of a quantizer: the level is read from a table, by how many thresholds are passed."""
    rng = np.random.default_rng(channels)
    thresholds = np.float32((np.arange(100)[:, None] - 40.5) / rng.uniform(10, 30, channels))
    finite = thresholds.copy()
    thresholds[80:, ::3], thresholds[:9, ::4] = np.inf, -np.inf
    sense = rng.choice(np.int8([-1, 1]), channels)
    steps = StepFunction(thresholds, sense, rng.standard_normal(101).astype(np.float32))
    x = image("x", channels)
    near = finite[rng.integers(0, 100, (1, 5, 5, channels)), np.arange(channels)]
    data = np.where(rng.random(near.shape) < 0.5, near, np.nextafter(near, np.float32(-np.inf)))
    (found,) = run([x], [data], lambda bind: bind(call_of(x, steps)))
    np.testing.assert_array_equal(found, steps(data))


def test_thresholds_at_the_ends() -> None:
    """One of -inf is reached by everything, one of +inf by nothing, not even by +inf."""
    x = image("x", 2)
    data = np.broadcast_to(np.float32([-np.inf, np.inf]), (1, 5, 5, 2)).copy()
    for at, wanted in ((-np.inf, [1, 1]), (np.inf, [0, 0])):
        (found,) = run([x], [data], lambda bind, at=at: bind(step(x, 2, (at,))))
        np.testing.assert_array_equal(found, np.broadcast_to(np.float32(wanted), data.shape))


def test_slots_without_a_channel_are_never_seen() -> None:
    """``1 / x`` is infinity there, which no threshold, not even an infinite one, may count."""
    x = image("x", 3)
    data = np.linspace(0.5, 4, 75, dtype=np.float32).reshape(1, 5, 5, 3)

    def body(bind: relax.Var) -> relax.Expr:
        inverse = bind(relax.op.divide(const(np.float32(1)), x), "inverse")
        thresholds = const(np.repeat(np.float32([[0.25], [np.inf]]), 3, 1))
        facts = {"code": "thermometer", "planes": 2, "layout_groups": 1, "count": 0}
        return bind(make("encode_bitserial", [inverse, thresholds, const(np.ones(3))], **facts))

    (found,) = run([x], [data], body)
    assert found.shape == (1, 5, 5, 2, 1, 1)
    bits = unpack(found, 32)[0, :, :, :, 0]
    np.testing.assert_array_equal(bits[:, :, 0, :3], 1 / data[0] >= 0.25)
    assert not bits[:, :, 1].any() and not bits[..., 3:].any()


def encoded(
    data: np.ndarray, steps: StepFunction, counts: np.ndarray | None, groups: int = 1
) -> np.ndarray:
    """Thermometer bits ``[B, H, W, N, C]``; with ``counts`` by a kernel that has no such sums."""
    channels, n = len(steps.sense), len(steps.thresholds)
    x = image("x", channels)
    args = [steps.thresholds if counts is None else counts, steps.sense]
    args += [] if counts is None else [steps.thresholds]
    facts = {"code": "thermometer", "planes": n, "layout_groups": groups}
    facts["count"] = int(counts is not None)
    call = make("encode_bitserial", [x, *map(const, args)], **facts)
    (found,) = run([x], [data], lambda bind: bind(call))
    bits = unpack(found, channels // groups)
    return bits.reshape(*bits.shape[:4], channels)


@pytest.mark.parametrize("channels", CHANNELS)
def test_comparisons_of_either_sense(channels: int) -> None:
    steps, data = steps_and_data(channels, 3)
    index = StepFunction(steps.thresholds, steps.sense, np.arange(4, dtype=np.float32))(data)
    wanted = index[..., None, :] > np.arange(3)[:, None]
    np.testing.assert_array_equal(encoded(data, steps, None), wanted)


def test_where_a_kernel_has_floats_integers_are_not_compared_with() -> None:
    """``T`` is for the sums of a convolution; another kernel reads the thresholds of floats."""
    steps, data = steps_and_data(6, 2)
    counts = np.full((2, 6), 12345, np.int32)
    np.testing.assert_array_equal(encoded(data, steps, counts, 2), encoded(data, steps, None, 2))
