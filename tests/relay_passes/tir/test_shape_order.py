from __future__ import annotations

import tvm
from tvm import ir
from tvm.script import ir as I
from tvm.script import tirx as T

from abc_tvm.relay_passes.tir.shape_order import order_shape_functions


@I.ir_module
class Unordered:
    @T.prim_func(s_tir=True)
    def shape_func(H: T.Buffer((4,), "int64")) -> None:
        H[T.int64(3)] = T.int64(4) * H[T.int64(0)]
        H[T.int64(1)] = T.int64(2) * H[T.int64(0)]
        H[T.int64(2)] = T.int64(3) * H[T.int64(0)]


@I.ir_module
class Ordered:
    @T.prim_func(s_tir=True)
    def shape_func(H: T.Buffer((4,), "int64")) -> None:
        H[T.int64(1)] = T.int64(2) * H[T.int64(0)]
        H[T.int64(2)] = T.int64(3) * H[T.int64(0)]
        H[T.int64(3)] = T.int64(4) * H[T.int64(0)]


@I.ir_module
class Other:
    @T.prim_func(s_tir=True)
    def kernel(H: T.Buffer((4,), "int64")) -> None:
        H[T.int64(3)] = T.int64(4)
        H[T.int64(1)] = T.int64(2)


@I.ir_module
class Loop:
    @T.prim_func(s_tir=True)
    def shape_func(H: T.Buffer((4,), "int64")) -> None:
        H[T.int64(3)] = T.int64(4) * H[T.int64(0)]
        for i in range(2):
            H[i] = T.int64(1)


def ordered(module: tvm.IRModule) -> tvm.IRModule:
    return order_shape_functions(tvm.IRModule(module.functions))


def test_stores_are_sorted() -> None:
    ir.assert_structural_equal(ordered(Unordered)["shape_func"], Ordered["shape_func"])


def test_a_second_run_changes_nothing() -> None:
    ir.assert_structural_equal(ordered(Ordered)["shape_func"], Ordered["shape_func"])


def test_other_functions_stay() -> None:
    ir.assert_structural_equal(ordered(Other)["kernel"], Other["kernel"])


def test_what_is_not_a_list_of_stores_stays() -> None:
    ir.assert_structural_equal(ordered(Loop)["shape_func"], Loop["shape_func"])
