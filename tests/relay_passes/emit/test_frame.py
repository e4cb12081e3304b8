"""What a kernel under construction knows: results, readers, one batch, constants, stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax, tirx

from abc_tvm.compute.geometry import Window
from abc_tvm.relay_passes.emit.frame import Frame
from abc_tvm.relay_passes.lowerings.table import encodings
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const, hint, shape_of
from tests.relay_passes.kernel_runs import plain, run
from tests.relay_passes.relax_graph import image, module, step

Bind = Callable[..., relax.Var]


def frame(
    body: Callable[[Bind, Any], relax.Expr], *params: relax.Var, batch: int | None = None
) -> Frame:
    params = params or (image("x", 4),)
    func = module(params, lambda bind: body(bind, *params))["main"]
    return Frame(func, plain(), encodings(), batch)


def names(found: Frame) -> list[str]:
    return [hint(var) for var in found.results]


def bits(x: relax.Expr, groups: int, count: int = 0) -> relax.Call:
    facts = {"code": "thermometer", "planes": 1, "layout_groups": groups, "count": count}
    return make("encode_bitserial", step(x, 4).args[:3], **facts)


def test_results_are_what_is_computed_whatever_names_it() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        return bind(bind(bind(relax.op.exp(x), "exp"), "other"), "another")

    assert names(frame(body)) == ["exp"]


def test_several_results_keep_their_order() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        first, second = bind(relax.op.exp(x), "first"), bind(relax.op.abs(x), "second")
        return relax.Tuple([second, bind(first, "alias"), second])

    assert names(frame(body)) == ["second", "first", "second"]


def test_readers_are_counted_with_results_and_repetitions() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        first = bind(relax.op.exp(x), "first")
        second = bind(relax.op.add(first, first), "second")
        return bind(relax.op.abs(bind(relax.op.negative(second), "third")))

    found = frame(body)
    count = {hint(var): number for var, number in found.readers.items()}
    assert (count["x"], count["first"], count["second"], count["third"]) == (1, 2, 1, 1)
    assert found.readers[found.results[0]] >= 1, "what is stored is read"


def extent(x: relax.Var, head: Any) -> relax.Var:
    return relax.Var("y", relax.TensorType([head, *shape_of(x)[1:]], "float32"))


def test_one_batch_for_all_inputs() -> None:
    """1 broadcasts; an open one is the same variable everywhere, or what stands in for it."""

    def body(bind: Bind, x: relax.Var, y: relax.Var) -> relax.Expr:
        return bind(relax.op.add(x, y))

    x = image("x", 4)
    open_ = tirx.Var("n", "int64")
    assert frame(body, x, x).batch == 1
    assert frame(body, x, extent(x, 3)).batch == frame(body, extent(x, 3), x).batch == 3
    one = frame(body, extent(x, open_), extent(x, open_))
    heads = [tensor.shape[0] for tensor in one.inputs.values()]
    assert isinstance(one.batch, tirx.Var) and all(head.same_as(one.batch) for head in heads)
    fixed = frame(body, x, extent(x, open_), batch=7)
    assert fixed.batch == 7
    assert [int(tensor.shape[0]) for tensor in fixed.inputs.values()] == [1, 7]


def test_the_groups_that_an_encoding_wants() -> None:
    assert frame(lambda bind, x: bind(bits(x, 2))).layout(1) == 2
    assert frame(lambda bind, x: bind(relax.op.exp(x))).layout(3) == 3


def test_a_kernel_without_sums_keeps_channels_in_their_lanes() -> None:
    found = frame(lambda bind, x: bind(relax.op.exp(x)), image("x", 33))
    found.lay(5, 4, 33, 1)
    problem = found.lanes_plan().problem
    assert problem.window == Window(1, 5, 4, 64, 64) and problem.kind == "lanes"
    assert problem.blocking.aligned and (problem.pairs, problem.bases) == (1, 1)


def test_tables_become_arguments_in_their_order() -> None:
    found = frame(lambda bind, x: bind(relax.op.exp(x)))
    found.lay(5, 5, 3, 1)
    found.table(np.arange(6, dtype=np.int32).reshape(3, 2).T, "a")
    found.per_slot(np.float32([1, 2, 3]), "b", fill=-1)
    first, second = found.constants
    assert [str(t.op.name) for t in found.tables] == ["a1", "b2"]
    assert first.flags["C_CONTIGUOUS"] and first.shape == (2, 3)
    np.testing.assert_array_equal(second[:3], [1, 2, 3])
    assert second.shape == (32,) and set(second[3:]) == {-1}


@pytest.mark.parametrize("channels", [1, 31, 32, 33])
@pytest.mark.parametrize(
    "shape", [(), (1,), (1, 1, 1, 1), ("C",), (1, 1, "C"), (5, 1, 1), (5, "C"), (1, 5, 5, "C")]
)
def test_constants_of_every_shape(
    channels: int, shape: tuple[Any, ...], rng: np.random.Generator
) -> None:
    """One number, a number for each channel, and all that broadcasts otherwise."""
    extents = [channels if n == "C" else n for n in shape]
    array = rng.normal(size=extents).astype(np.float32)
    found = frame(lambda bind, x: bind(relax.op.add(x, const(array))), image("x", channels))
    found.lay(5, 5, channels, 1)
    found.operand(const(array))
    wanted = [] if array.size == 1 else [(32 * -(-channels // 32),)]
    if array.size not in (1, array.shape[-1] if array.ndim else 1):
        wanted = [(1,) * (4 - array.ndim) + array.shape]
    assert [table.shape for table in found.constants] == wanted


@pytest.mark.parametrize("shape", [(), (33,), (5, 1, 1), (1, 5, 5, 33)])
def test_numbers_of_constants(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x, array = image("x", 33), rng.normal(size=shape).astype(np.float32)
    data = rng.normal(size=(1, 5, 5, 33)).astype(np.float32)
    (out,) = run([x], [data], lambda bind: bind(relax.op.add(x, const(array))))
    np.testing.assert_array_equal(out, data + array)


def test_a_value_is_kept_where_it_is_read_twice() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        once = bind(relax.op.exp(x), "once")
        twice = bind(relax.op.abs(once), "twice")
        return bind(relax.op.multiply(twice, twice), "product")

    found = frame(body)
    found.lay(5, 5, 4, 1)

    def value(index: Any) -> Any:
        return index[1].astype("float32")

    by_name = {hint(var): var for var, _ in found.members}
    assert found.keep(by_name["once"], value) is value and found.stages == 0
    assert found.keep(by_name["twice"], value) is not value and found.stages == 1


class Sums:
    """Stands for the sums of a convolution."""

    def value(self, index: Any) -> Any:
        return index[1].astype("float32")

    def passes(self, thresholds: np.ndarray) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("readers", "floats"),
    [("counts", False), ("bits", True), ("exp", True), ("counts, result", True)],
)
def test_sums_are_floats_only_where_something_reads_those(readers: str, floats: bool) -> None:
    """Comparisons with integers read the sums themselves."""

    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        conv = bind(relax.op.exp(x), "conv")
        if readers == "exp":
            return bind(relax.op.exp(conv))
        if readers == "bits":
            return bind(bits(conv, 1))
        coded = bind(bits(conv, 1, count=1), "coded")
        return relax.Tuple([coded, conv]) if "result" in readers else coded

    found = frame(body)
    found.lay(5, 5, 4, 1)
    conv = next(var for var, _ in found.members if hint(var) == "conv")
    found.keep_sums(conv, Sums())
    assert list(found.sums) == [conv] and (conv in found.values) == floats


def test_a_value_that_does_not_read_what_was_computed_first() -> None:
    """TVM makes a number of ``x - x``: the kernel still reads ``x``, and is still a kernel."""
    x = image("x", 2)
    array = np.linspace(-9, 9, 50, dtype=np.float32).reshape(1, 5, 5, 2)

    def body(bind: Bind) -> relax.Expr:
        none = bind(relax.op.subtract(x, x), "none")
        more = bind(relax.op.add(none, const(np.float32(3))), "more")
        return relax.Tuple([more, bind(relax.op.negative(more))])

    three, less = run([x], [array], body)
    np.testing.assert_array_equal(three, np.full_like(array, 3))
    np.testing.assert_array_equal(less, -three)
