"""A report counts its layers, and its JSON says what its rows say."""

from __future__ import annotations

import json
from dataclasses import replace

from abc_tvm.report import Layer, Report

BITS = Layer("a", "conv2d", [8, 3, 3, 4], 100, 1, 2, "bitserial", "", 36, 1152)
BYTES = replace(BITS, name="b", macs=30, lowering="int8", error_bound=0.0)
ROUNDED = replace(BYTES, name="c", macs=7, error_bound=0.01)
FLOAT = replace(BITS, name="d", macs=1, M=None, N=None, lowering="float", reason="real weights")


def test_layers_in_their_order() -> None:
    report = Report((BITS, BYTES, ROUNDED, FLOAT), "zen4", "auto")
    assert [layer.name for layer in report] == ["a", "b", "c", "d"] and len(report) == 4
    assert report.binarized == (BITS, BYTES, ROUNDED)
    assert report.rounded == (ROUNDED,), "a bound of 0 is no rounding"


def test_json() -> None:
    report = Report((BITS, BYTES, ROUNDED, FLOAT), "zen4", "auto", {"checked": 3})
    said = json.loads(json.dumps(report.json()))
    assert said["layers"] == report.rows and said["second_opinion"] == {"checked": 3}
    assert (said["macs"], said["weight_bytes"], said["float_weight_bytes"]) == (138, 144, 4608)
    assert (said["bitserial_layers"], said["bitserial_macs"]) == (1, 100)
    assert (said["int8_layers"], said["int8_macs"]) == (2, 37)
    assert Layer(**said["layers"][3]) == FLOAT


def test_a_network_without_layers() -> None:
    said = Report((), "zen4", "float").json()
    assert said["layers"] == [] and said["macs"] == said["int8_layers"] == 0
    assert said["second_opinion"] is None
