from __future__ import annotations

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.accumulate import IMAGE, Tile
from abc_tvm.compute.byte_sums import PAST_END
from abc_tvm.compute.float_steps import STEP_CHANNELS, pack_steps, step_channels, step_products
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.reference.conv import conv2d
from tests.schedules.window_cases import call, placeholder


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("parts", [1, 4])
def test_sums_equal_numpy(channels: int, parts: int, rng: np.random.Generator) -> None:
    """Channels round a register's four; the last register's surplus meets zeros."""
    window = Window(2, 6, 5, channels, 40, (3, 2), (1, 2), (1, 1, 0, 2))
    blocking, tile = Blocking(40), Tile(2, 3, 1, parts)
    x = rng.integers(-8, 9, (2, 6, 5, 1, channels)).astype(np.float32)
    w = rng.integers(-8, 9, (40, channels, 3, 2)).astype(np.float32)
    lanes = blocking.spread(w.transpose(2, 3, 1, 0)).reshape(3, 2, channels, 2, 32)
    packed = pack_steps(lanes.transpose(3, 0, 1, 2, 4), tile)
    inputs = [placeholder("A", x), placeholder("W", packed)]
    acc = step_products(*inputs, window, blocking, tile)
    assert int(acc.op.attrs[STEP_CHANNELS]) == step_channels(channels) == min(channels, 4)
    empty = np.zeros([int(n) for n in acc.shape], np.float32)
    sums = call(te.create_prim_func([*inputs, acc]), [x, packed, empty])[-1]
    image = np.pad(x[:, :, :, 0], ((0, 0), (1, 0), (1, 2), (0, 0))).transpose(0, 3, 1, 2)
    expected = conv2d(image, w, stride=(1, 2)).transpose(0, 2, 3, 1)
    flat = sums[:, : window.out_height, : window.out_width].reshape(*expected.shape[:3], -1)
    np.testing.assert_array_equal(flat[..., :40], expected)


def test_a_pixel_is_whole_registers_of_channels() -> None:
    """So that one load brings a step of them: nothing is read past the end of the image."""
    data = te.placeholder((1, 4, 4, 1, 5), "float32", name="A")
    weights = te.placeholder((4096,), "float32", name="W")
    acc = step_products(data, weights, Window(1, 4, 4, 5, 32), Blocking(32), Tile())
    [border] = [t for t in acc.op.input_tensors if t.op.name == "pad"]
    assert [int(n) for n in border.shape] == [1, 4, 4, 1, 8]
    assert [int(n) for n in border.op.attrs[IMAGE]] == [0, 4]


def test_weights_lie_step_after_step_and_end_with_zeros() -> None:
    weights = np.arange(1, 1 + 5 * 32, dtype=np.float32).reshape(1, 1, 1, 5, 32)
    ordered = pack_steps(weights, Tile(parts=2))
    assert ordered.size == 2 * 8 * 16 + PAST_END // 4 and ordered.dtype == np.float32
    np.testing.assert_array_equal(ordered[: 5 * 16].reshape(5, 16), weights[0, 0, 0, :, :16])
    assert not ordered[5 * 16 : 8 * 16].any() and not ordered[-PAST_END // 4 :].any()
