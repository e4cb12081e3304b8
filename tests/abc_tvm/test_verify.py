"""Verification: it passes what is right, and fails what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm import verify as module
from abc_tvm.verify import verify
from abc_tvm.verify_bits import BitInput, Bits, compare
from tests.abc_tvm.small_networks import network


def bits(channels: int = 70, groups: int = 2) -> Bits:
    """Thermometer bits of the levels -1, 0 and 2."""
    patterns = np.array([[0, 0], [1, 0], [1, 1]], np.uint8)
    return Bits(channels, groups, -1.0, np.array([1.0, 2.0]), patterns)


def test_bits_go_round(rng: np.random.Generator) -> None:
    code = bits()
    values = rng.choice([-1.0, 0.0, 2.0], (2, 3, 4, 70)).astype(np.float32)
    encoded, exact = code.encode(values)
    packed = code.pack(encoded)
    assert packed.shape == (2, 3, 4, 2, 2, 2)
    assert exact.all()
    np.testing.assert_array_equal(code.unpack(packed), encoded)
    np.testing.assert_array_equal(code.levels(encoded), values)


def test_compare_counts_bits_and_values_that_are_no_level() -> None:
    code = bits(32, 1)
    values = np.full((1, 1, 1, 32), -1, np.float32)
    item = BitInput("layer", None, code)
    packed = code.pack(code.encode(values)[0])
    assert compare(item, values, packed).flipped_bits == 0
    packed[0, 0, 0, 0, 0, 0] ^= 0b101
    assert compare(item, values, packed).flipped_bits == 2
    values[0, 0, 0, 9] = 0.3
    assert compare(item, values, packed).flipped_bits == 4


def test_a_wrong_kernel_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    good = module._run_artifact

    def wrong(*arguments: Any) -> dict[str, np.ndarray]:
        return {name: array[:, ::-1] + 1 for name, array in good(*arguments).items()}

    monkeypatch.setattr(module, "_run_artifact", wrong)
    assert not verify(network(), lowering="bitserial").passed


def test_flipped_bits_fail_without_equal_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    good = module._run_artifact

    def near(*arguments: Any) -> dict[str, np.ndarray]:
        return {name: array * np.float32(1.001) for name, array in good(*arguments).items()}

    monkeypatch.setattr(module, "_run_artifact", near)
    assert verify(network(), lowering="bitserial").passed
    monkeypatch.setattr(
        module, "compare", lambda item, *_: module.LayerBits(item.layer, 1, 1000, 10)
    )
    assert not verify(network(), lowering="bitserial").passed


def test_a_float_network_is_compared_end_to_end() -> None:
    outcome = verify(network(binary=False))
    assert outcome.passed
    assert (outcome.checked_bits, outcome.layers) == (0, ())
