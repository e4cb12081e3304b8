"""What layers have read, in a network that drifts away from onnxruntime."""

from __future__ import annotations

from abc_tvm import zoo
from abc_tvm.checks.verify.network import verify
from abc_tvm.targets import load


def test_of_a_deep_rounded_network_every_layer_is_seen() -> None:
    """The two drift apart, so that onnxruntime has to go on from the levels of ours."""
    model = zoo.build("resnet18", 3, 3, batch=1, image_size=64, width=0.25)
    outcome = verify(model, lowering="int8", allow_int8=True)
    assert outcome.unchecked_layers == ()
    if load("native").cost.dot is not None:
        assert any(row.error_bound for row in outcome.report) and outcome.checked_bits > 10_000
        first, *rest = outcome.layers
        assert first.flipped_bits == 0 and any(row.flipped_bits for row in rest)
