"""What follows from sums on a GPU, one kind of output at a time, in emulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.lanes import Blocking, stage
from abc_tvm.compute.outputs import bit_output, code_output, float_output
from abc_tvm.schedules.cuda.slot import STORED
from tests.schedules.cuda.cases import kernels, run_on, scheduled
from tests.schedules.window_cases import bits_of, placeholder

pytestmark = pytest.mark.usefixtures("cuda_emulation")

SIZE = (2, 3, 3)
CHANNELS = [(1, 1), (33, 1), (64, 2), (66, 2)]


def stored(
    blocking: Blocking, values: np.ndarray, output: Callable[[te.Tensor], te.Tensor]
) -> np.ndarray:
    """An output of an image whose channels stay in their lanes; 18 pixels are no whole block."""
    made = kernels()
    x = placeholder("x", values)
    acc = stage("acc", blocking.shape(*SIZE), lambda at: blocking.read(x, at), "sums")
    out = output(acc)
    func = scheduled(made, te.create_prim_func([x, out]))
    empty = np.full([int(n) for n in out.shape], 77).astype(str(out.dtype))
    return run_on(made)(func, [values, empty])[-1]


@pytest.mark.parametrize(("channels", "groups"), CHANNELS)
def test_floats(channels: int, groups: int, rng: np.random.Generator) -> None:
    blocking = Blocking(channels, groups)
    values = rng.standard_normal((*SIZE, channels)).astype(np.float32)
    made = stored(blocking, values, lambda x: float_output("y", *SIZE, blocking, lambda at: -x[at]))
    np.testing.assert_array_equal(made.reshape(values.shape), -values)


@pytest.mark.parametrize(("channels", "groups"), CHANNELS)
@pytest.mark.parametrize("planes", [1, 5])
def test_bits_of_four_lanes_make_a_word(
    channels: int, groups: int, planes: int, rng: np.random.Generator
) -> None:
    """More planes than there are lanes that share a word: each stores some of them."""
    blocking = Blocking(channels, groups)
    values = rng.integers(-6, 7, (*SIZE, channels)).astype(np.float32)
    made = stored(
        blocking,
        values,
        lambda x: bit_output(
            "y", *SIZE, blocking, lambda p, at: x[at] > p.astype("float32"), planes
        ),
    )
    for p in range(planes):
        np.testing.assert_array_equal(bits_of(made[:, :, :, p], blocking), values > p)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_codes_are_eight_bytes_a_lane(dtype: str, rng: np.random.Generator) -> None:
    blocking = Blocking(66, 2)
    values = rng.integers(0, 100, (*SIZE, 66)).astype(np.float32)
    if dtype == "int8":
        values -= 50
    made = stored(
        blocking,
        values,
        lambda x: code_output(
            "y",
            *SIZE,
            blocking,
            stage("level", blocking.shape(*SIZE), lambda at: x[at].astype("int32")),
            dtype,
        ),
    )
    flat = made.reshape(*SIZE, -1)
    np.testing.assert_array_equal(flat[..., blocking.slot_of_channel()], values)


def test_what_is_one_value_of_each_slot_needs_no_kind_of_its_own() -> None:
    assert not {"value", "combine", "sums"} & STORED.keys()
