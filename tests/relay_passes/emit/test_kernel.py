"""One group, one kernel: what it begins with, what follows, and what it stores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax, tirx

from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.relay_passes.emit.kernel import kernel
from abc_tvm.relay_passes.lowerings.table import anchors, encodings
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of
from abc_tvm.targets import load
from tests.relay_passes.kernel_runs import Body, outputs_of, plain, run
from tests.relay_passes.relax_graph import convolution, image, module, step, tensor
from tests.schedules.window_cases import pack

WEIGHT = np.random.default_rng(0).integers(-3, 4, (33, 1, 1, 4)).astype(np.float32)


def lowered(params: list[relax.Var], body: Body, scheduler: Scheduler | None = None) -> Lowered:
    func = module(params, body)["main"]
    return kernel(func, scheduler or plain(), anchors(), encodings())


def bits(x: relax.Expr, channels: int, at: tuple[float, ...] = (0.5,)) -> relax.Call:
    facts = {"code": "thermometer", "planes": len(at), "layout_groups": 1, "count": 0}
    return make("encode_bitserial", step(x, channels, at).args[:3], **facts)


def whole(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Small whole numbers: sums of their products are exact."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def residual(bind: Any, x: relax.Var, shortcut: relax.Var) -> relax.Expr:
    conv = bind(convolution(x, WEIGHT), "conv")
    total = bind(relax.op.add(conv, shortcut), "total")
    relu = bind(relax.op.nn.relu(total), "relu")
    coded = bind(bits(total, 33), "bits")
    return relax.Tuple([coded, relu, bind(step(relu, 33, (1.5, 9)), "step")])


@pytest.mark.parametrize("scheduler", [None, "native"])
def test_bits_floats_and_levels_of_one_convolution(
    scheduler: str | None, rng: np.random.Generator
) -> None:
    """Three results in their order; 33 channels do not fill their lanes. Two images, open batch."""
    n = tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType([n, 5, 5, 4], "float32"))
    y = relax.Var("y", relax.TensorType([n, 5, 5, 33], "float32"))
    data, more = whole(rng, 2, 5, 5, 4), whole(rng, 2, 5, 5, 33)
    made = scheduler_of(load(scheduler)) if scheduler else plain()
    one = lowered([x, y], lambda bind: residual(bind, x, y), made)
    assert one.anchored and [kind for _, kind in one.results] == ["uint32", "float32", "float32"]
    coded, relu, levels = outputs_of(one, [data, more])
    total = np.einsum("bhwi,oi->bhwo", data, WEIGHT[:, 0, 0]) + more
    np.testing.assert_array_equal(coded[:, :, :, 0, 0], pack(total >= 0.5))
    np.testing.assert_array_equal(relu, np.maximum(total, 0))
    np.testing.assert_array_equal(levels, (relu >= 1.5).astype(int) + (relu >= 9))


@pytest.mark.parametrize("wide_first", [True, False])
def test_without_an_anchor_the_image_is_what_the_first_operator_gives(
    wide_first: bool, rng: np.random.Generator
) -> None:
    """Its first input may be smaller, and broadcasts; so does one image to a batch."""
    x, y = tensor("x", 1, 1, 1, 33), tensor("y", 3, 5, 4, 33)
    one, three = whole(rng, 1, 1, 1, 33), whole(rng, 3, 5, 4, 33)
    pair = (y, x) if wide_first else (x, y)
    made = lowered([y, x], lambda bind: bind(relax.op.abs(bind(relax.op.multiply(*pair)))))
    assert (made.plan.problem.kind, made.plan.problem.window.batch) == ("lanes", 3)
    (found,) = outputs_of(made, [three, one])
    np.testing.assert_array_equal(found, np.abs(one * three))


def test_without_an_anchor_an_encoding_keeps_the_image_of_what_it_reads(
    rng: np.random.Generator,
) -> None:
    x, data = image("x", 33), whole(rng, 1, 5, 5, 33)
    (found,) = run([x], [data], lambda bind: bind(bits(x, 33, (-1, 2))))
    wanted = pack(np.stack([data >= -1, data >= 2], 3))
    np.testing.assert_array_equal(found[..., 0, :], wanted)


def test_what_is_never_fused_is_refused() -> None:
    x = image("x", 4)
    with pytest.raises(TypeError, match="exp is never fused"):
        lowered([x], lambda bind: bind(relax.op.exp(x)))


@pytest.mark.parametrize("scheduler", [None, "native"])
@pytest.mark.parametrize("thresholds", [0, 1])
def test_bits_that_do_not_depend_on_the_convolution(
    thresholds: int, scheduler: str | None, rng: np.random.Generator
) -> None:
    """``x - x`` of a convolution, and a step without a threshold: its one level is 0."""
    x, data = image("x", 4), whole(rng, 1, 5, 5, 4)

    def body(bind: Any) -> relax.Expr:
        conv = bind(convolution(x, WEIGHT), "conv")
        none = bind(relax.op.subtract(conv, conv), "none")
        if not thresholds:
            none = bind(step(conv, 33, thresholds=np.zeros((0, 33), np.float32)), "none")
        return bind(bits(none, 33, (-1, 0, 1)))

    made = lowered([x], body, scheduler_of(load(scheduler)) if scheduler else None)
    assert made.anchored == bool(thresholds)
    wanted = np.broadcast_to(np.array([1, 1, 0])[:, None], (1, 5, 5, 3, 33))
    np.testing.assert_array_equal(outputs_of(made, [data])[0][..., 0, :], pack(wanted))


def test_constants_are_arguments_behind_the_tensors() -> None:
    x = image("x", 33)
    added = const(np.arange(33, dtype=np.float32))
    made = lowered([x], lambda bind: bind(step(bind(relax.op.add(x, added)), 33)))
    assert [c.shape for c in made.constants] == [(64,), (1, 64), (2, 64)]
    assert [str(param.name) for param in made.func.params] == ["x0", "c1", "t2", "level3", "crop_0"]
