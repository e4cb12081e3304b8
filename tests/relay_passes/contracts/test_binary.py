"""A violation of each contract of binary layers in levels, beside a graph that keeps it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.contracts.binary import (
    accumulators_are_compared_as_integers,
    binary_convolutions_read_steps,
    planes_are_signs,
    planes_give_the_weights,
    steps_are_in_order,
)
from abc_tvm.relay_passes.contracts.contract import Contract
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.harness import calls, passes_until, two_layers
from tests.relay_passes.relax_graph import binary, image, module, signs, step

PLANES = signs(2, 6, 3, 3, 4)
ALPHA = np.float32(np.arange(1, 13).reshape(2, 6) / 4)


def layer(call: Callable[[relax.Var], relax.Expr]) -> tvm.IRModule:
    """A convolution of a step of the input."""
    x = image("x", 4)
    return module([x], lambda bind: bind(call(bind(step(x, 4))), "conv"))


def changed(place: int, array: np.ndarray) -> tvm.IRModule:
    """The layer with one of its arrays replaced."""

    def call(x: relax.Var) -> relax.Call:
        whole = binary(x, PLANES, ALPHA)
        args = list(whole.args)
        args[place] = const(array)
        return relax.Call(whole.op, args, whole.attrs)

    return layer(call)


def one_changed(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.flat[7] = value
    return array


WEIGHT = np.einsum("mohwi,mo->ohwi", PLANES.astype(np.float32), ALPHA)


@pytest.mark.parametrize(
    ("place", "array", "fault"),
    [
        (1, one_changed(PLANES, 0), "not int8 ±1"),
        (1, PLANES.astype(np.float32), "not int8 ±1"),
        (2, one_changed(ALPHA, np.inf), "not finite"),
        (2, one_changed(ALPHA, np.nan), "not finite"),
        (2, ALPHA[:1], "for planes"),
        (3, WEIGHT.astype(np.float64), "weights float64"),
    ],
)
def test_planes_are_signs(place: int, array: np.ndarray, fault: str) -> None:
    assert not list(planes_are_signs(layer(lambda x: binary(x, PLANES, ALPHA))))
    (found,) = planes_are_signs(changed(place, array))
    assert found.startswith("conv: ") and fault in found


def test_planes_that_are_no_constants_are_told() -> None:
    x, alpha = image("x", 4), relax.Var("alpha", relax.TensorType([2, 6], "float32"))
    whole = binary(x, PLANES, ALPHA)
    args = [*whole.args[:2], alpha, whole.args[3]]
    mod = module([x, alpha], lambda bind: bind(relax.Call(whole.op, args, whole.attrs), "conv"))
    assert list(planes_are_signs(mod)) == ["conv: planes, scales or weights are no constants"]


@pytest.mark.parametrize(
    ("place", "array"),
    [
        (1, one_changed(PLANES, -PLANES.flat[7])),
        (2, np.roll(ALPHA, 1, axis=1)),
        (2, one_changed(ALPHA, ALPHA.flat[7] * np.float32(1 + 2.0**-12))),
        (3, one_changed(WEIGHT, 0.1)),
    ],
)
def test_planes_give_the_weights(place: int, array: np.ndarray) -> None:
    """One sign, the scales of the next channel, one scale by 2^-12 of itself, one weight."""
    assert not list(planes_give_the_weights(layer(lambda x: binary(x, PLANES, ALPHA))))
    assert list(planes_give_the_weights(changed(place, array))) == [
        "conv: the planes are not the weights"
    ]


def reading(
    between: Callable[[relax.Var], relax.Expr] | None, levels: tuple[float, ...] = (0, 1)
) -> tvm.IRModule:
    """A convolution of the input, or of ``between`` of a step of it."""
    x = image("x", 4)

    def body(bind: Callable[..., relax.Var]) -> relax.Expr:
        data = x
        if between is not None:
            data = bind(between(bind(step(x, 4, levels=np.float32(levels)))))
        return bind(binary(data, PLANES, ALPHA), "conv")

    return module([x], body)


def pool(x: relax.Var) -> relax.Expr:
    return relax.op.nn.max_pool2d(x, (2, 2), layout="NHWC")


def rows(value: float, channel: int = 0) -> Callable[[relax.Var], relax.Expr]:
    """Padding above and to the left, and of one more channel."""
    return lambda x: relax.op.nn.pad(x, [0, 0, 1, 0, 1, 0, 0, channel], "constant", value)


def test_padding_is_a_level() -> None:
    assert not list(binary_convolutions_read_steps(reading(rows(1.0))))
    for wrong in (rows(0.5), rows(1.0, channel=1)):
        assert list(binary_convolutions_read_steps(reading(wrong))) == [
            "conv reads padding that is no level of its step"
        ]


def test_binary_convolutions_read_steps() -> None:
    assert not list(binary_convolutions_read_steps(layer(lambda x: binary(x, PLANES, ALPHA))))
    assert not list(binary_convolutions_read_steps(reading(pool)))
    assert list(binary_convolutions_read_steps(reading(None))) == [
        "conv reads an input, not a step"
    ]
    assert list(binary_convolutions_read_steps(reading(relax.op.nn.relu))) == [
        "conv reads nn.relu, not a step"
    ]
    assert list(binary_convolutions_read_steps(reading(pool, (1, 0)))) == [
        "conv reads a max-pool of levels that do not rise"
    ]


@pytest.mark.parametrize(
    ("thresholds", "arrays", "fault"),
    [
        ((1.0, 0.5), {}, "thresholds do not ascend"),
        ((np.nan,), {}, "thresholds do not ascend"),
        ((0.0,), {"levels": np.float32([0, 1, 2])}, "levels float32 (3,) for 1 thresholds"),
        ((0.0,), {"levels": np.float32([0, np.inf])}, "a level is not finite"),
        ((0.0,), {"sense": np.int8([1, 0, 1, -1])}, "the sense is not ±1"),
        ((0.0,), {"sense": np.int8([1])}, "the sense is not ±1"),
        ((0.0,), {"thresholds": np.float32([[0, 1]])}, "of 2 channels for an input of 4"),
        ((0.0,), {"thresholds": np.float64([[0] * 4])}, "not float32"),
        (tuple(range(256)), {}, "256 thresholds"),
    ],
)
def test_steps_are_in_order(
    thresholds: tuple[float, ...], arrays: dict[str, np.ndarray], fault: str
) -> None:
    x = image("x", 4)
    assert not list(steps_are_in_order(module([x], lambda bind: bind(step(x, 4, (0, 0, np.inf))))))
    mod = module([x], lambda bind: bind(step(x, 4, thresholds, **arrays), "q"))
    (found,) = steps_are_in_order(mod)
    assert found.startswith("q: ") and fault in found


@pytest.mark.parametrize(
    ("whole", "fault"),
    [
        (np.int32([[1] * 4, [0] * 4]), "do not ascend"),
        (np.int64([[0] * 4, [1] * 4]), "not int32"),
        (np.int32([[0] * 4]), "not int32"),
    ],
)
def test_integer_thresholds_are_in_order(whole: np.ndarray, fault: str) -> None:
    x = image("x", 4)
    plain = step(x, 4, (0.0, 1.0))
    call = make("count_step", [x, const(whole), *plain.args[2:], plain.args[1]])
    (found,) = steps_are_in_order(module([x], lambda bind: bind(call, "q")))
    assert found.startswith("q: ") and fault in found


def with_integers(change: Callable[[relax.Call], relax.Call]) -> tvm.IRModule:
    """Two layers after the pass that folds thresholds, with the integer step changed."""
    mod, _ = passes_until(two_layers(alpha=0.3), "fold_thresholds")
    (old,) = calls(mod, "abc.count_step")

    def mutate(value: relax.Expr) -> relax.Expr:
        return change(value) if value.same_as(old) else value

    main = mod["main"]
    bindings = [relax.VarBinding(b.var, mutate(b.value)) for b in main.body.blocks[0].bindings]
    body = relax.SeqExpr([relax.DataflowBlock(bindings)], main.body.body)
    return tvm.IRModule({"main": relax.Function(main.params, body, main.ret_ty)})


def moved(by: int) -> Callable[[relax.Call], relax.Call]:
    def change(call: relax.Call) -> relax.Call:
        whole = call.args[1].value.numpy() + np.int32(by)
        return relax.Call(call.op, [call.args[0], const(whole), *call.args[2:]], call.attrs)

    return change


def as_floats(call: relax.Call) -> relax.Call:
    return make("step", [call.args[0], call.args[4], *call.args[2:4]])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (moved(3), "an integer threshold is not the float one"),
        (moved(-3), "an integer threshold is not the float one"),
        (as_floats, "compares floats of an integer accumulator"),
    ],
)
def test_accumulators_are_compared_as_integers(
    change: Callable[[relax.Call], relax.Call], fault: str
) -> None:
    assert not list(accumulators_are_compared_as_integers(with_integers(lambda call: call)))
    (found,) = accumulators_are_compared_as_integers(with_integers(change))
    assert fault in found


@pytest.mark.parametrize(
    "contract",
    [planes_are_signs, planes_give_the_weights, steps_are_in_order, binary_convolutions_read_steps],
)
def test_graphs_without_binary_layers_keep_all(contract: Contract) -> None:
    x = image("x", 4)
    assert not list(contract(module([x], lambda bind: bind(relax.op.nn.relu(x)))))
