"""Verification: it passes what is right, and fails what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm import verify as module
from abc_tvm import zoo
from abc_tvm.targets import load
from abc_tvm.verify import verify
from abc_tvm.verify_bits import BitInput, Bits, ByteCodes, compare
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


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_codes_go_round(dtype: str, rng: np.random.Generator) -> None:
    """Codes -1, 0 and 2 of the same levels, shifted by the code of zero."""
    zero = 1 if dtype == "uint8" else 0
    plain = bits()
    codes = tuple(n + zero for n in (-1, 0, 2))
    code = ByteCodes(70, 2, plain.base, plain.weights, plain.patterns, codes=codes, dtype=dtype)
    values = rng.choice([-1.0, 0.0, 2.0], (2, 3, 4, 70)).astype(np.float32)
    encoded, exact = code.encode(values)
    packed = code.pack(encoded)
    assert packed.shape == (2, 3, 4, 2, 64) and packed.dtype == dtype
    assert exact.all()
    np.testing.assert_array_equal(packed[..., :35].reshape(values.shape) - float(zero), values)
    np.testing.assert_array_equal(code.unpack(packed), encoded)


def test_rounding_to_bytes_is_counted_and_has_a_criterion_of_its_own() -> None:
    need_dot_products()
    model = zoo.build("lenet", M=3, N=3)
    exact = verify(model, lowering="bitserial")
    assert exact.json()["error_bound"] == 0 and exact.passed
    rounded = verify(model, lowering="int8", allow_int8=True)
    facts = rounded.json()
    assert rounded.passed and facts["int8_layers"] == len(rounded.layers) > 0
    assert 0 < facts["error_bound"] < 0.02
    assert 0 < rounded.forced_error < 0.05, "rounding that changes nothing is no rounding"


def need_dot_products() -> None:
    if load("native").cost.dot is None:
        pytest.skip("this machine has no dot products of bytes (AVX-512 VNNI)")


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
