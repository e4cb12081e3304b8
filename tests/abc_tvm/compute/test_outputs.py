from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import bit_output, code_output, float_output
from tests.schedules.window_cases import bits_of, call, placeholder

SIZE = (2, 2, 3)
CHANNELS = [(1, 1), (31, 1), (32, 1), (33, 1), (64, 2), (66, 2)]


def slots(blocking: Blocking, rng: np.random.Generator) -> np.ndarray:
    """Integers of every slot, those without a channel included."""
    return rng.integers(-50, 50, (*SIZE, blocking.groups, blocking.blocks, 32)).astype(np.int32)


def stored(output: Callable[..., te.Tensor], *values: np.ndarray) -> np.ndarray:
    inputs = [placeholder(f"x{n}", value) for n, value in enumerate(values)]
    out = output(*inputs)
    empty = np.zeros([int(n) for n in out.shape], str(out.dtype))
    return call(te.create_prim_func([*inputs, out]), [*values, empty])[-1]


@pytest.mark.parametrize(("channels", "groups"), CHANNELS)
def test_floats_are_channels_last(channels: int, groups: int, rng: np.random.Generator) -> None:
    blocking = Blocking(channels, groups)
    values = slots(blocking, rng)
    made = stored(
        lambda x: float_output("y", *SIZE, blocking, lambda at: x[at].astype("float32")), values
    )
    flat = values.reshape(*SIZE, -1)[..., blocking.slot_of_channel()]
    np.testing.assert_array_equal(made.reshape(flat.shape), flat)
    assert (made.ndim == 4) is not blocking.aligned


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_codes_keep_their_slots(dtype: str, rng: np.random.Generator) -> None:
    blocking = Blocking(66, 2)
    values = slots(blocking, rng) + (50 if dtype == "uint8" else 0)
    made = stored(lambda x: code_output("y", *SIZE, blocking, x, dtype), values)
    assert str(made.dtype) == dtype
    np.testing.assert_array_equal(made, values)


@pytest.mark.parametrize(("channels", "groups"), CHANNELS)
@pytest.mark.parametrize("turned", [False, True])
def test_bits_are_packed_by_channel(
    channels: int, groups: int, turned: bool, rng: np.random.Generator
) -> None:
    blocking = Blocking(channels, groups)
    values = slots(blocking, rng)
    masks = rng.integers(0, 1 << 32, (groups, blocking.blocks), np.uint32)

    def output(x: te.Tensor, flip: te.Tensor | None = None) -> te.Tensor:
        return bit_output("y", *SIZE, blocking, lambda p, at: x[at] >= 10 * p, 3, flip)

    made = stored(output, values, masks) if turned else stored(output, values)
    assert made.shape == (*SIZE, 3, groups, blocking.blocks)
    flat = values.reshape(*SIZE, -1)[..., blocking.slot_of_channel()]
    mask = np.unpackbits(masks.view(np.uint8), bitorder="little")[blocking.slot_of_channel()]
    for p in range(3):
        expected = (flat >= 10 * p) ^ (mask.astype(bool) if turned else False)
        np.testing.assert_array_equal(bits_of(made[:, :, :, p], blocking), expected)


def test_other_lanes_are_not_packed() -> None:
    with pytest.raises(ValueError, match="bits pack 32 lanes, not 16"):
        bit_output("y", *SIZE, Blocking(16, 1, 16), lambda p, at: at[0] > 0, 1)
