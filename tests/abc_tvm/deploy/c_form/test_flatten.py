from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm import targets
from abc_tvm.deploy.c_form.flatten import Operand, _Walker, flatten
from abc_tvm.errors import UnsupportedError


def module(build: Any, shape: tuple[Any, ...] = (2, 3)) -> tvm.IRModule:
    """A function of one argument whose result ``build`` makes of it."""
    x = relax.Var("x", relax.TensorType(list(shape), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(build(builder, x))
        builder.emit_func_output(result)
    return builder.get()


DEVICE = targets.load("x86-64")


def test_calls_arrays_and_constants() -> None:
    ones = relax.const(np.ones((2, 3), np.float32))

    def build(builder: Any, x: Any) -> Any:
        half = builder.emit(relax.op.add(x, ones))
        return builder.emit(relax.op.multiply(half, relax.const(np.ones((2, 3), np.float32))))

    flat = flatten(module(build), DEVICE)
    assert [call.kernel for call in flat.calls] == ["add", "multiply"]
    assert flat.arrays == [24, 24]
    assert len(flat.constants) == 1, "equal constants are stored once"
    first, second = flat.calls
    constant = Operand("constant", 0)
    assert first.operands == (Operand("input", 0), constant, Operand("array", 0))
    assert second.operands == (Operand("array", 0), constant, Operand("array", 1))
    assert flat.results == [Operand("array", 1)]
    assert set(flat.kernels) == {"add", "multiply"}


def test_a_reshape_moves_nothing() -> None:
    flat = flatten(module(lambda b, x: b.emit(relax.op.reshape(x, (3, 2)))), DEVICE)
    assert (flat.calls, flat.arrays) == ([], [])
    assert flat.results == [Operand("input", 0)]


def test_an_operator_of_the_runtime_is_refused() -> None:
    def build(builder: Any, x: Any) -> Any:
        return builder.emit(relax.call_pure_packed("vm.something", x, ty_args=[x.ty]))

    with pytest.raises(UnsupportedError, match="needs TVM's runtime, which the C form does wit"):
        flatten(module(build), DEVICE)


def test_an_open_batch_is_refused() -> None:
    batch = tvm.tirx.Var("n", "int64")
    with pytest.raises(UnsupportedError, match="known only when it runs"):
        flatten(module(lambda b, x: b.emit(relax.op.add(x, x)), (batch, 3)), DEVICE)


def test_names_of_any_alphabet_become_names_in_c_and_stay_apart() -> None:
    walker = _Walker(module(lambda b, x: b.emit(relax.op.add(x, x))))
    given = ["kernel_naïve", "kernel_na.ve", "kernel_na_ve", "run", "weights", "run_1"]
    found = [walker.name(name) for name in given]
    assert found == ["kernel_na_ve", "kernel_na_ve_1", "kernel_na_ve_2", "run_1", "weights_1"] + [
        "run_1_1"
    ]
    assert [walker.name(name) for name in given] == found
