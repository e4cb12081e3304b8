"""Sums of products of bytes, as float values and as comparisons with integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.weights.accumulator import accumulator
from abc_tvm.relay_passes.lowerings.int8 import INT8
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.kernel_runs import run
from tests.relay_passes.lowerings.layer_cases import layer_case

PAD = [1, 0, 1, 2]
EIGHT_BITS = (0.5, 0.5, *(2.0**k for k in range(7)))
"""Scales of the planes of 8-bit weights: their integers count in halves of a step."""

CASES: dict[str, dict[str, Any]] = {
    "one pair": {"at": (0.0,), "levels": (-1, 1), "padding": PAD},
    "two bases": {"alpha": (2.0, 1.0), "levels": (0, 1, 3), "padding": PAD},
    "eight bits": {"alpha": EIGHT_BITS, "levels": (0, 1, 3), "padding": PAD},
    "eight bits of a signed level": {"alpha": EIGHT_BITS, "levels": (-1, 0, 2), "padding": PAD},
}


@pytest.mark.parametrize("name", CASES)
def test_comparisons_are_those_of_the_integer(name: str) -> None:
    """``D >= T`` of odd and even ``T``, where ``D`` is twice the sum too, and the float value."""
    case = layer_case(channels=6, outs=5, **CASES[name])
    layer = case.candidate
    exact = accumulator(layer.planes, layer.alpha, layer.steps.levels, padded=True)
    assert exact is not None
    integer = np.rint(case.wanted / exact.scale).astype(np.int64)
    anchor, emitter = case.encoded(INT8)
    assert int(anchor.attrs["part"]) == (2 if "eight" in name else 1)
    rng = np.random.default_rng(0)
    near = np.sort([rng.choice(integer[..., c].ravel(), 3) for c in range(5)], axis=1).T
    thresholds = np.concatenate([near[:1] - 1, near, near[-1:] + 1, near[-1:] + 2])
    thresholds = thresholds.astype(np.int32)
    data = anchor.args[0]

    def body(bind: Any) -> relax.Expr:
        conv = bind(anchor, "conv")
        args = [conv, const(thresholds), const(np.ones(5, np.int8)), const(np.float32(thresholds))]
        facts = {"codes": [*range(len(thresholds) + 1)], "dtype": "uint8", "count": 1}
        codes = bind(make("encode_int8", args, layout_groups=1, **facts), "codes")
        return relax.Tuple([codes, conv])

    codes, values = run([data], [emitter.arrays[data]], body)
    np.testing.assert_array_equal(values, case.wanted)
    passed = (integer[..., None] >= thresholds.T).sum(-1)
    np.testing.assert_array_equal(codes[:, :, :, 0, :5], passed)
