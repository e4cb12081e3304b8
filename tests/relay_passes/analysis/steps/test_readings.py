"""What a layer reads: four cases, and the window of the pooling between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from abc_tvm.compute.geometry import Window
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading, reading_of
from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.rewrite import definitions, shape_of
from tests.relay_passes.relax_graph import image, module, step

CHANNELS = 4
MIXED_SENSE = np.int8([1, -1, 1, -1])


def pool(x: relax.Expr, **options: Any) -> relax.Expr:
    plain = {"layout": "NHWC", "pool_size": (2, 2)}
    return relax.op.nn.max_pool2d(x, **(plain | options))


def reading(*chain: Any, size: int = 5) -> LayerReading:
    """Of what the last of a chain of operators gives."""
    x = image("x", CHANNELS, size)

    def body(bind: Any) -> relax.Expr:
        var = x
        for one in chain:
            var = bind(one(var))
        return var

    func = module([x], body)["main"]
    defined = definitions(func)
    return reading_of(defined[func.body.body], defined)


def steps(at: list[float], **arrays: np.ndarray) -> Any:
    return lambda x: step(x, CHANNELS, at, **arrays)


def test_case_1_a_step() -> None:
    for chain in ([steps([0])], [relax.op.nn.relu, steps([0])], [pool, relax.op.exp, steps([0])]):
        found = reading(*chain)
        assert found.step is found.coded and found.pool is None and not found.mixed
        for ask in (found.pool_attributes, found.turned_channels):
            with pytest.raises(TypeError, match="no pooling"):
                ask()


def test_case_1_pooled_floats_are_no_reading_of_an_index() -> None:
    assert reading(pool, steps([0])).pool is None


def test_case_2_a_pooled_step() -> None:
    found = reading(steps([0, 1]), pool)
    assert found.step is found.coded and found.pool is not None and not found.mixed
    np.testing.assert_array_equal(found.turned_channels(), np.zeros(CHANNELS, np.int8))
    assert found.turned_channels().dtype == np.int8


@pytest.mark.parametrize("inner_sense", [np.ones(4, np.int8), MIXED_SENSE])
def test_case_3_the_pooled_index_is_the_steps(inner_sense: np.ndarray) -> None:
    """A step that compares counts with halves: index of index, by NumPy, in each channel."""
    levels = np.float32([-3, 0.5, 8])
    outer = steps([0.5, 1.5], sense=MIXED_SENSE, levels=levels)
    found = reading(steps([-1, 1], sense=inner_sense), pool, outer)
    assert found.pool is not None and not found.mixed and found.step is not found.coded
    np.testing.assert_array_equal(found.turned_channels(), MIXED_SENSE < 0)
    index = np.arange(3)
    for channel, turned in enumerate(found.turned_channels()):
        pooled = np.repeat(index[:, None].astype(np.float32), CHANNELS, 1)
        wanted = steps_of(found.step)(pooled)[:, channel]
        np.testing.assert_array_equal(levels[2 - index if turned else index], wanted)


@pytest.mark.parametrize(
    "outer",
    [steps([0.5]), steps([0.5, 0.7]), steps([-1, -0.5]), steps([0.5, 1.5, 2.5])],
    ids=["fewer levels", "a level skipped", "never the lowest", "more levels"],
)
def test_case_4_a_step_that_does_more(outer: Any) -> None:
    found = reading(steps([-1, 1]), pool, outer)
    assert found.mixed and found.pool is None and found.coded is found.step


def test_case_4_one_channel_is_enough() -> None:
    thresholds = np.repeat(np.float32([[0.5], [1.5]]), CHANNELS, 1)
    assert not reading(
        steps([-1, 1]), pool, steps([], thresholds=thresholds, levels=np.float32([0, 1, 2]))
    ).mixed
    thresholds[1, 2] = 5
    assert reading(
        steps([-1, 1]), pool, steps([], thresholds=thresholds, levels=np.float32([0, 1, 2]))
    ).mixed


def test_case_4_the_largest_of_levels_that_fall_is_no_index() -> None:
    falling = steps([-1, 1], levels=np.float32([2, 1, 0]))
    assert reading(falling, pool, steps([0.5, 1.5])).mixed


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [(0, 0), (1, 0), (0, 1, 1, 0)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("size", [5, 6, 8])
def test_the_window_has_the_results_that_tvm_infers(
    size: int, strides: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> None:
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    found = reading(
        steps([0]),
        lambda x: pool(x, pool_size=(3, 2), ceil_mode=ceil_mode, **options),
        size=size,
    )
    attrs = found.pool_attributes()
    assert (attrs["in_channels"], attrs["out_channels"], attrs["groups"]) == (4, 4, 1)
    window = Window(
        1, size, size, CHANNELS, CHANNELS,
        kernel=tuple(attrs["kernel"]),
        stride=tuple(attrs["strides"]),
        padding=tuple(attrs["padding"]),
        dilation=tuple(attrs["dilation"]),
    )  # fmt: skip
    inferred = shape_of(relax.BlockBuilder().normalize(found.pool))
    assert (1, window.out_height, window.out_width, CHANNELS) == inferred
    given = padding if len(padding) == 4 else (*padding, *padding)
    more = np.subtract(attrs["padding"], given)
    assert np.all(more[:2] == 0) and np.all(more >= 0) and np.all(more[2:] < strides)
    assert ceil_mode or not more.any()
