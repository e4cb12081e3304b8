from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.cuda.space import CudaChoice, CudaSpace
from abc_tvm.schedules.cuda.tiles import BlockTile
from abc_tvm.schedules.families import choice_of
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.problem import Kind, Problem
from abc_tvm.targets import load
from tests.schedules.cuda.cases import counts_of, kernels, run_on, scheduled
from tests.schedules.window_cases import all_outputs, bit_case


def space(channels: int = 128, m: int = 1, p: int = 1, kind: Kind = "bitserial") -> CudaSpace:
    window = Window(8, 14, 14, channels, channels, (3, 3), padding=(1, 1, 1, 1))
    return CudaSpace(load("cuda-sm80"), Problem(window, Blocking(channels), m * p, kind, m), 1)


@pytest.mark.parametrize(
    "tile", [BlockTile(), BlockTile(4, 2, 1, 2, "tensor"), BlockTile(2, 1, 8, 1, "cores", 3)]
)
def test_words_are_read_back(tile: BlockTile) -> None:
    choice = CudaChoice(block=tile)
    words = choice.words()
    assert CudaChoice.of(words) == choice
    assert choice_of(words) == choice
    assert not any(" " in word for word in words.values())
    assert choice.json()["block"]["unit"] == tile.unit


def test_a_choice_for_a_processor_has_no_neighbours_here() -> None:
    assert list(space().neighbours(Choice())) == []
    assert choice_of(space().default().words()) == space().default()
    plan = Plan(load("cuda-sm80"), space().problem, Choice())
    with pytest.raises(ValueError, match="not a choice for a GPU"):
        kernels().family.sums(plan, None, np.zeros(1), lambda array, name: None)


def test_both_units_are_measured_first() -> None:
    first = space().first(3)
    assert [choice.block.unit for choice in first] == ["cores"] * 3 + ["tensor"] * 3
    assert space().default() in first
    assert (space(m=3, p=2).problem.bases, space(m=3, p=2).problem.planes) == (3, 2)


@pytest.mark.parametrize(
    ("name", "word"), [("pixels", "0"), ("unit", "abacus"), ("rounds", "-1"), ("warps_p", "²")]
)
def test_other_words_are_refused(name: str, word: str) -> None:
    words = CudaChoice(block=BlockTile()).words()
    with pytest.raises(ValueError, match="not a choice"):
        CudaChoice.of({**words, f"cuda_{name}": word})
    with pytest.raises(ValueError, match="not a choice"):
        CudaChoice.of({**words, "more": "1"})
    assert type(choice_of(Choice().words())) is Choice


def test_both_units_are_in_the_space_and_the_default_is_its_best() -> None:
    found = space()
    tiles = found.block_tiles()
    assert {tile.unit for tile in tiles} == {"cores", "tensor"}
    assert list(found.points()) == [CudaChoice(block=tile) for tile in tiles]
    assert found.default() == CudaChoice(block=tiles[0])
    assert len(set(tiles)) == len(tiles) > 40
    assert {tile.unit for tile in space(kind="float").block_tiles()} == {"cores"}


def test_neighbours_differ_in_one_knob_and_lead_everywhere() -> None:
    found = space(m=2)
    reached: set[CudaChoice] = set()
    edge = {found.default()}
    while edge:
        reached |= edge
        edge = {n for choice in edge for n in found.neighbours(choice)} - reached
    assert {choice.block for choice in reached} == set(found.block_tiles())
    near = next(iter(found.neighbours(found.default())))
    assert near != found.default()


@pytest.mark.slow
def test_points_give_the_same_result(cuda_emulation: None) -> None:
    """Some points, in emulation."""
    case = bit_case(0, size=(6, 5), channels=(64, 128), kernel=(3, 3), M=2, P=1, batch=2)
    found = CudaSpace(load("cuda-sm80"), Problem(case.window, case.blocking, 2, "bitserial", 2), 1)
    for tile in found.block_tiles()[::29]:
        made = kernels(tile)
        kernel = all_outputs(case, case.window, counts_of(made))
        kernel.check(scheduled(made, kernel.func(False)), run=run_on(made))
