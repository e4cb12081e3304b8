from __future__ import annotations

import numpy as np
import pytest
from tvm import te, tirx

from abc_tvm.relay_passes.lowerings.bit_products import product
from abc_tvm.schedules.cuda.rest import schedule_rest
from tests.schedules.cuda.cases import kernels, run_on

pytestmark = pytest.mark.usefixtures("cuda_emulation")


@pytest.mark.parametrize("size", [1, 255, 256, 257])
def test_elements_and_sums(size: int, rng: np.random.Generator) -> None:
    """A block that is inlined, a reduction that stays, and one that reads it."""
    x = te.placeholder((3, size), "float32", name="x")
    twice = te.compute((3, size), lambda i, j: x[i, j] * tirx.const(2, "float32"), name="twice")
    j = te.reduce_axis((0, 3), name="j")
    total = te.compute((size,), lambda i: te.sum(twice[j, i], axis=j), name="total")
    out = te.compute((size, 2), lambda i, k: total[i] + k.astype("float32"), name="out")
    values = rng.integers(-9, 10, (3, size)).astype(np.float32)
    func = schedule_rest(te.create_prim_func([x, out]))
    found = run_on(kernels())(func, [values, np.zeros((size, 2), np.float32)])[-1]
    wanted = 2 * values.sum(0)
    np.testing.assert_array_equal(found, np.stack([wanted, wanted + 1], 1))


@pytest.mark.parametrize("base", [-1, 0])
@pytest.mark.parametrize("words", [1, 3, 70])
def test_products_of_bits(words: int, base: int, rng: np.random.Generator) -> None:
    """Signs, whose bits differ, and 0 and 1, whose bits meet; few words, and a loop of many."""
    shapes = [(2, 2, rows, 1, 1, words) for rows in (5, 9)]
    x, y = (te.placeholder(s, "uint32", name=n) for s, n in zip(shapes, "xy", strict=True))
    side = (base, [1 - base])
    func = schedule_rest(te.create_prim_func([x, y, product(x, y, side, side, 32 * words, 0.5, 4)]))
    bits = [rng.integers(0, 2**32, s, dtype=np.uint32) for s in shapes]
    found = run_on(kernels())(func, [*bits, np.zeros((2, 2, 5, 9), np.float32)])[-1]
    a, b = (
        np.unpackbits(v.view(np.uint8), axis=-1)[:, :, :, 0, 0] * float(1 - base) + base
        for v in bits
    )
    np.testing.assert_array_equal(found, a @ b.swapaxes(2, 3) / 2)


def test_a_sum_of_everything(rng: np.random.Generator) -> None:
    x = te.placeholder((300,), "float32", name="x")
    j = te.reduce_axis((0, 300), name="j")
    out = te.compute((), lambda: te.sum(x[j], axis=j), name="out")
    values = rng.integers(-9, 10, 300).astype(np.float32)
    func = schedule_rest(te.create_prim_func([x, out]))
    found = run_on(kernels())(func, [values, np.zeros((), np.float32)])[-1]
    assert found == values.sum()
