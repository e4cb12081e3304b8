"""FINN's MultiThreshold gives the same bits as the qonnx package's, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from abc_tvm.frontend import standard_onnx
from tests.abc_tvm.frontend.dialects.dialect import (
    DOMAINS,
    check,
    dialect_model,
    refuses,
    run,
    samples,
)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_multithreshold_channels_first(shape: tuple[int, ...], channels: int) -> None:
    layout = {2: "NC", 3: "NCW", 4: "NCHW"}[len(shape)]
    # Values that occur in the input make ties; unsorted rows are allowed.
    x = np.random.default_rng(0).integers(-4, 5, shape).astype(np.float32) / 2
    thresholds = np.random.default_rng(1).integers(-4, 5, (channels, 7)) / 2
    attrs = {"out_dtype": "INT4", "out_scale": 0.3, "out_bias": -0.7, "data_layout": layout}
    check(dialect_model("MultiThreshold", [thresholds], shape=shape, **attrs), x)


def test_multithreshold_layouts() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    thresholds = np.array([[0.0], [0.5], [-0.5]])
    attrs = {"out_dtype": "BIPOLAR", "out_scale": 2.0, "out_bias": -1.0}
    model = dialect_model(
        "MultiThreshold", [thresholds], shape=x.shape, data_layout="NHWC", **attrs
    )
    check(model, x)
    # Without a layout, four dimensions are NCHW, three NWC.
    nchw = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    check(dialect_model("MultiThreshold", [thresholds], shape=nchw.shape, **attrs), nchw)
    check(dialect_model("MultiThreshold", [thresholds], shape=(2, 4, 3), **attrs), x[:, :, 0])


def test_multithreshold_rank_known_through_another_dialect_operator() -> None:
    model = dialect_model("Quant", [0.5, 0, 4], signed=1, narrow=0)
    model.graph.node[0].output[0] = "mid"
    model.graph.initializer.append(
        numpy_helper.from_array(np.zeros((3, 1), np.float32), "thresholds")
    )
    model.graph.node.append(
        helper.make_node(
            "MultiThreshold", ["mid", "thresholds"], ["y"], domain=DOMAINS[1], out_dtype="UINT1"
        )
    )
    y = run(standard_onnx(model), samples())
    np.testing.assert_array_equal(y, (np.round(samples() / 0.5) >= 0).astype(np.float32))


def test_one_threshold_of_one_channel_and_no_scale() -> None:
    model = dialect_model("MultiThreshold", [[[0.5]]], shape=(4,), out_dtype="BIPOLAR")
    x = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(0)), -1, 7], np.float32)
    assert run(standard_onnx(model), x).tolist() == [1, 0, 0, 1]


def test_thresholds_of_double_precision_are_rounded_up() -> None:
    """A threshold just above a float32 is not reached by that float32."""
    model = dialect_model("MultiThreshold", [[[0.0]]], shape=(2,))
    below = np.float32(0.1)
    threshold = np.array([[float(below) + 1e-12]])
    assert np.float32(threshold[0, 0]) == below
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(threshold, "p0"))
    x = np.array([below, np.nextafter(below, np.float32(1))], np.float32)
    assert run(standard_onnx(model), x).tolist() == [0, 1]


def test_refusals() -> None:
    refuses(dialect_model("MultiThreshold", [[1.0, 2.0]]), "[C, n]")
    refuses(dialect_model("MultiThreshold", [np.ones((3, 0))]), "[C, n]", "[3, 0]")
    refuses(dialect_model("MultiThreshold", [np.ones((3, 1))], data_layout="NC"), "rank 4")
    model = dialect_model("MultiThreshold", [np.ones((3, 1))])
    model.graph.node[0].input[1] = "x"
    refuses(model, "thresholds computed at run time")
