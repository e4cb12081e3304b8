"""Which kernels are one to tuning: values of weights and an open batch do not tell them apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm_ffi
from tvm import relax, tirx

from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from abc_tvm.relay_passes.workload import BATCH, Workload, build, workload_of
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import load
from tests.relay_passes.kernel_runs import outputs_of, plain
from tests.relay_passes.relax_graph import convolution, module, step

NATIVE = load("native")
SHAPE = (33, 3, 3, 4)


def layer(weight: np.ndarray, batch: Any = 1, channels: int = 4) -> relax.Function:
    x = relax.Var("x", relax.TensorType([batch, 5, 5, channels], "float32"))
    return module([x], lambda bind: bind(convolution(x, weight, padding=(1, 1, 1, 1))))["main"]


def workload(function: relax.Function) -> Workload:
    found = workload_of(function, NATIVE)
    assert found is not None
    return found


def same(a: Workload, b: Workload) -> bool:
    return bool(tvm_ffi.structural_equal(a.func, b.func))


def test_layers_that_differ_in_weights_alone_are_one(rng: np.random.Generator) -> None:
    one, two = (rng.normal(size=SHAPE).astype(np.float32) for _ in range(2))
    a, b = workload(layer(one)), workload(layer(two))
    assert same(a, b) and not np.array_equal(a.plain.constants[0], b.plain.constants[0])
    assert not same(a, workload(layer(one[:32]))) and not same(a, workload(layer(one[:, :, :2])))


def test_an_open_batch_is_one_image() -> None:
    ones = np.ones(SHAPE, np.float32)
    open_ = workload(layer(ones, tirx.Var("n", "int64")))
    assert same(open_, workload(layer(ones))) and open_.plain.shapes[0][0] == BATCH == 1
    assert not same(open_, workload(layer(ones, 2)))


def test_it_does_not_depend_on_the_device() -> None:
    ones = np.ones(SHAPE, np.float32)
    arm = workload_of(layer(ones), load("rpi4"))
    assert arm is not None and same(arm, workload(layer(ones)))


def test_a_choice_computes_what_the_plain_form_does(rng: np.random.Generator) -> None:
    data = rng.integers(-4, 5, (1, 5, 5, 4)).astype(np.float32)
    one = workload(layer(rng.integers(-4, 5, SHAPE).astype(np.float32)))
    choice = scheduler_of(NATIVE).plan(
        one.problem.window, one.problem.blocking, one.problem.pairs, one.problem.kind
    ).choice  # fmt: skip
    chosen = one.lowered(NATIVE, choice)
    assert chosen.plan.problem == one.problem and chosen.plan.choice == choice
    assert not tvm_ffi.structural_equal(chosen.func, one.func)
    np.testing.assert_array_equal(*(outputs_of(k, [data])[0] for k in (chosen, one.plain)))


def test_a_batch_that_stays_open_is_one_of_any_size(rng: np.random.Generator) -> None:
    weight = rng.integers(-4, 5, (5, 1, 1, 4)).astype(np.float32)
    data = rng.integers(-4, 5, (3, 5, 5, 4)).astype(np.float32)
    open_ = build(layer_of_one(weight), plain())
    (found,) = outputs_of(open_, [data])
    np.testing.assert_array_equal(found, np.einsum("bhwi,oi->bhwo", data, weight[:, 0, 0]))


def layer_of_one(weight: np.ndarray) -> relax.Function:
    x = relax.Var("x", relax.TensorType([tirx.Var("n", "int64"), 5, 5, 4], "float32"))
    return module([x], lambda bind: bind(convolution(x, weight)))["main"]


def test_a_pooling_of_codes_is_a_workload_of_its_own_kind() -> None:
    codes = relax.Var("codes", relax.TensorType([1, 4, 4, 1, 32], "uint8"))
    attrs = {
        "kernel": [2, 2], "strides": [2, 2], "padding": [0, 0, 0, 0], "dilation": [1, 1],
        "groups": 1, "in_channels": 4, "out_channels": 4, "codes": [],
    }  # fmt: skip
    call = make("pool_int8", [codes, const(np.zeros(4, np.int8))], **attrs)
    found = workload(module([codes], lambda bind: bind(call))["main"])
    assert found.problem.kind == "pool_int8" and not found.plain.constants


@pytest.mark.parametrize(("at", "tuned"), [((0.0,), True), ((), False)])
def test_what_stores_nothing_of_its_convolution_is_nothing_to_tune(
    at: tuple[float, ...], tuned: bool
) -> None:
    """A step without thresholds gives its one level, whatever it reads."""
    x = relax.Var("x", relax.TensorType([1, 5, 5, 4], "float32"))
    none = np.zeros((0, 33), np.float32)

    def body(bind: Any) -> relax.Expr:
        conv = bind(convolution(x, np.ones(SHAPE, np.float32)), "conv")
        read = bind(step(conv, 33, at, **({} if at else {"thresholds": none})), "read")
        facts = {"code": "thermometer", "planes": 1, "layout_groups": 1, "count": 0}
        return bind(make("encode_bitserial", step(read, 33).args[:3], **facts))

    assert (workload_of(module([x], body)["main"], NATIVE) is not None) == tuned
