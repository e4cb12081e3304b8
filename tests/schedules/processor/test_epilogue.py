from __future__ import annotations

from tvm import s_tir, te, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.lanes import stage
from abc_tvm.schedules import blocks
from abc_tvm.schedules.processor.epilogue import Epilogue
from tests.schedules.processor.test_window import by_popcount
from tests.schedules.window_cases import all_outputs, bit_case

CASE = bit_case(0, size=(4, 4), channels=(64, 40), kernel=(3, 3), padding=(1, 1, 1, 1), M=2)


def fused() -> s_tir.Schedule:
    return s_tir.Schedule(all_outputs(CASE, CASE.window, by_popcount(Tile())).func(False))


def test_stages_are_what_follows_the_sums_but_copies() -> None:
    sch = fused()
    epilogue = Epilogue(sch, "sums")
    roles = [role for role, _ in epilogue.stages]
    assert sorted(str(role) for role in roles) == sorted(
        ["combine"] * 2 + ["value"] * 2 + ["truth", "pack", "word"] * 2
    )
    assert [blocks.role_of(sch.get(block)) for block in epilogue.copies] == ["border", "crop"]


def test_a_stage_before_the_sums_is_none_of_theirs() -> None:
    """Of a value that does not depend on them."""
    x = te.placeholder((1, 1, 1, 1, 1, 32), "float32", name="x")
    alone = stage("alone", tuple(x.shape), lambda at: x[at] * tirx.const(2, "float32"))
    sums = stage("acc", tuple(x.shape), lambda at: x[at], "sums")
    out = stage("y", tuple(x.shape), lambda at: alone[at] + sums[at])
    sch = s_tir.Schedule(te.create_prim_func([x, out]))
    assert [sch.get(block).name_hint for _, block in Epilogue(sch, "sums").stages] == ["y"]


def test_every_stage_is_computed_in_a_tile() -> None:
    sch = fused()
    epilogue = Epilogue(sch, "sums")
    b, h, w, g, o, *_ = sch.get_loops(blocks.only(sch, "sums"))
    sch.reorder(b, g, o, h, w)
    epilogue.place(w)
    epilogue.vectorise()
    outer = sch.get_loops(blocks.only(sch, "sums"))[:5]
    for role, block in epilogue.stages:
        loops = sch.get_loops(block)
        assert all(sch.get(a).same_as(sch.get(b)) for a, b in zip(outer, loops, strict=False))
        inner = [sch.get(loop).kind for loop in loops[5:]]
        vector = {"pack": False, "word": False}.get(str(role), True)
        assert (tirx.ForKind.VECTORIZED in inner) is vector
    epilogue.finish(5)
    text = sch.mod["main"].script()
    assert text.count('"sum_init"') == 1 and text.count('"sum_1_init"') == 1
