from __future__ import annotations

import numpy as np
import pytest
from tvm import te, tirx

from abc_tvm.compute.flat_taps import flat_counts, flat_products, geometry, in_rounds, pack_flat
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking, stage
from abc_tvm.compute.outputs import float_output
from abc_tvm.compute.roles import notes
from abc_tvm.schedules.blocks import in_order, role_of
from abc_tvm.schedules.cuda.reduction import TILE, Reduction, numbers_of
from abc_tvm.schedules.cuda.tiles import BlockTile, gpu_of
from abc_tvm.schedules.problem import SUMS
from abc_tvm.targets import load
from tests.schedules.window_cases import bit_case, placeholder

BITSERIAL, FLOAT, INT8 = SUMS


def reduction_of(outputs: list[te.Tensor]) -> Reduction:
    blocks = in_order(te.create_prim_func(outputs).body.block.body)
    return Reduction(next(block for block in blocks if role_of(block) == "sums"), blocks)


def of_bits(padding: tuple[int, int, int, int], tile: BlockTile) -> Reduction:
    case = bit_case(0, size=(6, 5), channels=(40, 64), kernel=(3, 3), padding=padding, M=4, P=3)
    packed = in_rounds(pack_flat, case.planes(), tile.rounds)
    inputs = [placeholder("A", case.bits()), placeholder("W", packed)]
    acc = flat_counts(*inputs, 4, case.window, case.blocking, {TILE: numbers_of(tile)})
    out = stage("y", tuple(acc.shape), lambda at: acc[at].astype("float32"))
    return reduction_of([*inputs, out])


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 0, 1, 2)])
def test_a_reduction_reads_the_input_itself(padding: tuple[int, int, int, int]) -> None:
    """Not the copy with a border, which the device code makes as it reads."""
    made = of_bits(padding, BlockTile())
    assert [str(buffer.name) for buffer in made.operands()] == ["A", "W"]


def test_what_a_reduction_says() -> None:
    tile = BlockTile(2, 1, 2, 1, "tensor", 2)
    made = of_bits((1, 1, 1, 1), tile)
    assert (made.tile, made.kind, made.dtype) == (tile, BITSERIAL, "int32")
    assert (made.height, made.width, made.groups, made.lane_blocks) == (6, 5, 1, 2)
    assert made.planes == (4, 3)


def test_floats_are_read_through_their_groups() -> None:
    window, blocking = (
        Window(1, 4, 4, 6, 64, (3, 3), padding=(1, 1, 1, 1), groups=2),
        Blocking(64, 2),
    )
    packed = in_rounds(pack_flat, np.zeros((2, 3, 3, 3, 32), np.float32), 1)
    inputs = [te.placeholder((1, 4, 4, 6), "float32", name="A"), placeholder("W", packed)]
    grouped = te.compute(
        (1, 4, 4, 2, 3),
        lambda b, h, w, g, c: inputs[0][b, h, w, g * 3 + c],
        name="split",
        attrs=notes("groups"),
    )
    acc = flat_products(grouped, inputs[1], window, blocking, {})
    made = reduction_of([*inputs, float_output("y", 1, 4, 4, blocking, lambda at: acc[at])])
    assert [str(buffer.name) for buffer in made.operands()] == ["A", "W"]
    assert (made.kind, made.planes, made.tile) == (FLOAT, (1, 1), BlockTile())


def test_kernels_without_a_sum_have_no_geometry() -> None:
    x = te.placeholder((1, 4, 4, 32), "float32", name="x")
    blocking = Blocking(32)
    acc = stage("acc", blocking.shape(1, 4, 4), lambda at: blocking.read(x, at), "sums")
    out = float_output("y", 1, 4, 4, blocking, lambda at: acc[at])
    assert reduction_of([x, out]).geometry is None


def test_functions_of_one_name_are_the_same_function() -> None:
    """The name holds all numbers that the source holds."""
    gpu = gpu_of(load("cuda-sm80"))
    sums = tirx.decl_buffer((1, 1, 4, 3, 8), "int32", name="sums")

    def named(tile: BlockTile, padding: tuple[int, int, int, int]) -> tuple[str, str]:
        made = of_bits(padding, tile)
        assert made.geometry is not None
        call = made.computed(made.geometry, sums, 30, gpu).value
        return str(call.args[0].value), str(call.args[-1].value)

    numbers = {named(tile, padding) for tile in (BlockTile(), BlockTile(2), BlockTile(rounds=2))
               for padding in ((1, 1, 1, 1), (0, 1, 0, 1))}  # fmt: skip
    assert len({name for name, _ in numbers}) == len(numbers) == 6
    assert all(f"void {name}(" in source for name, source in numbers)
    assert named(BlockTile(), (1, 1, 1, 1)) == named(BlockTile(), (1, 1, 1, 1))
    assert (
        geometry(Window(1, 4, 4, 32, 32), Blocking(32), 1)
        != of_bits((0,) * 4, BlockTile()).geometry
    )
