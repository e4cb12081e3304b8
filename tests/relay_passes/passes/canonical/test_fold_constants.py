"""Operators of constants alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.passes.canonicalise import Canonicalise
from abc_tvm.relay_passes.rewrite import array_of, const
from tests.relay_passes.harness import calls

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


def folded(build: Callable[[relax.Expr], relax.Expr]):
    """A module whose first result is ``build`` of a constant."""
    x = relax.Var("x", relax.TensorType([2, 3], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            value = builder.emit(build(const(ARRAY)))
            result = builder.emit_output(relax.Tuple([value, builder.emit(relax.op.negative(x))]))
        builder.emit_func_output(result)
    return Canonicalise()(builder.get())


CASES: dict[str, tuple[Callable[[relax.Expr], relax.Expr], np.ndarray]] = {
    "multiply": (lambda c: relax.op.multiply(c, relax.const(0.5, "float32")), ARRAY / 2),
    "comparison": (lambda c: relax.op.greater(c, relax.const(0.0, "float32")), ARRAY > 0),
    "isnan": (relax.op.isnan, np.zeros((2, 3), bool)),
    "transposed": (lambda c: relax.op.permute_dims(c, [1, 0]), ARRAY.T),
    "reversed": (relax.op.permute_dims, ARRAY.T),
    "reshape": (lambda c: relax.op.reshape(c, (3, 2)), ARRAY.reshape(3, 2)),
    "expanded": (lambda c: relax.op.expand_dims(c, [1]), ARRAY[:, None]),
    "cast": (lambda c: relax.op.astype(c, "int32"), ARRAY.astype(np.int32)),
}


@pytest.mark.parametrize("name", CASES)
def test_fires(name: str) -> None:
    build, wanted = CASES[name]
    mod = folded(build)
    (result,) = [v for v in _values(mod) if isinstance(v, relax.Tuple)]
    array = array_of(result.fields[0])
    assert array.dtype == wanted.dtype
    np.testing.assert_array_equal(array, wanted)


def test_an_operator_that_is_not_known_stays() -> None:
    mod = folded(lambda c: relax.op.cumsum(c, axis=1))
    assert len(calls(mod, "cumsum")) == 1


def _values(mod) -> list[relax.Expr]:
    return [b.value for block in mod["main"].body.blocks for b in block.bindings]
