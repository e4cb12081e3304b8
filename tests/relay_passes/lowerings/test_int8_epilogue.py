"""The codes of a step's levels, one byte a channel, of either sense."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.kernel_runs import run
from tests.relay_passes.relax_graph import image

CODES = [
    ((0, 1, 3, 255), "uint8"),
    ((255, 0), "uint8"),
    ((-128, -1, 127), "int8"),
    ((5, -3, 5, 0), "int8"),
]
"""Rising, falling, over the whole of a byte, and in no order at all."""


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (31, 1), (32, 1), (33, 1), (6, 2), (66, 2)]
)
@pytest.mark.parametrize("sense", [1, -1, 0], ids=["rising", "falling", "both"])
def test_codes_of_the_levels(channels: int, groups: int, sense: int) -> None:
    rng = np.random.default_rng(channels)
    senses = np.full(channels, sense, np.int8)
    if not sense:
        senses = np.where(rng.random(channels) < 0.5, 1, -1).astype(np.int8)
    data = (rng.integers(-8, 9, (1, 5, 5, channels)) / 4).astype(np.float32)
    codes, dtype = CODES[channels % len(CODES)]
    thresholds = rng.integers(-6, 7, (len(codes) - 1, channels)) / np.float32(4)
    thresholds = np.sort(thresholds, axis=0)
    x = image("x", channels)
    facts = {"codes": [*codes], "dtype": dtype, "layout_groups": groups, "count": 0}
    call = make("encode_int8", [x, const(thresholds), const(senses)], **facts)
    (found,) = run([x], [data], lambda bind: bind(call, "codes"))
    assert found.dtype == dtype and found.shape[:4] == (1, 5, 5, groups)
    stored = found[..., : channels // groups].reshape(data.shape)
    wanted = StepFunction(thresholds, senses, np.array(codes))(data)
    np.testing.assert_array_equal(stored, wanted)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (33, 1), (66, 2)])
@pytest.mark.parametrize("sense", [1, -1, 0], ids=["rising", "falling", "both"])
@pytest.mark.parametrize("form", ["line", "table", "uneven"])
def test_codes_of_many_levels(channels: int, groups: int, sense: int, form: str) -> None:
    """They are counted; codes that are no line of the count come from a table."""
    rng = np.random.default_rng(channels)
    codes = np.arange(-128, 128) if form == "line" else rng.permutation(256) - 128
    both = np.where(rng.random(channels) < 0.5, 1, -1)
    senses = np.int8(both if sense == 0 else np.full(channels, sense))
    halves = np.arange(255)[:, None] + (0.5 if form != "uneven" else rng.random((255, channels)))
    thresholds = np.float32((np.sort(halves, 0) - 100) / rng.uniform(20, 60, channels))
    x = np.concatenate([thresholds, np.nextafter(thresholds, np.float32(-np.inf))])[
        :, rng.permutation(channels)
    ]
    data = np.resize(x, (1, 23, 23, channels)).astype(np.float32)
    facts = {"codes": codes.tolist(), "dtype": "int8", "layout_groups": groups, "count": 0}
    image_of = relax.Var("x", relax.TensorType(data.shape, "float32"))
    call = make("encode_int8", [image_of, const(thresholds), const(senses)], **facts)
    (found,) = run([image_of], [data], lambda bind: bind(call, "codes"))
    stored = found[..., : channels // groups].reshape(data.shape)
    wanted = StepFunction(thresholds, senses, codes)(data)
    np.testing.assert_array_equal(stored, wanted)
