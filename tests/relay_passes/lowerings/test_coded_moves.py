"""Moves of levels, bits and codes: each kernel against NumPy, plain and scheduled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tvm import relax

from abc_tvm.compute.geometry import WORD, words
from abc_tvm.compute.int8_products import code_slots
from abc_tvm.relay_passes.analysis.moves.index_maps import FILL
from abc_tvm.relay_passes.analysis.moves.move import Move, as_move, flat_index
from abc_tvm.relay_passes.lowerings import coded_moves
from abc_tvm.relay_passes.lowerings.coded_moves import move_of, whole_words
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import load
from tests.relay_passes.kernel_runs import outputs_of, plain
from tests.relay_passes.relax_graph import tensor

H, W, B = 3, 4, 2
Dims = Sequence[tuple[int, int, int]]


def numbers(h: int, w: int, c: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + h * w * c).reshape(h, w, c)


def shuffle(channels: int) -> np.ndarray:
    order = np.random.default_rng(channels).permutation(channels)
    return numbers(H, W, channels)[..., order]


def two(a: int, b: int, mixed: bool = False) -> np.ndarray:
    both = np.concatenate([numbers(H, W, a), numbers(H, W, b, H * W * a)], 2)
    return both[..., np.random.default_rng(0).permutation(a + b)] if mixed else both


def padded(channels: int, before: int = 0) -> np.ndarray:
    sides = ((1, 0), (0, 2), (before, 0))
    return np.pad(numbers(H, W, channels), sides, constant_values=FILL)


CASES: dict[str, tuple[np.ndarray, Dims, int]] = {
    **{f"{c} shuffled": (shuffle(c), [(H, W, c)], 1) for c in (1, 31, 32, 33, 63, 64, 65)},
    **{f"{c} turned": (numbers(H, W, c).swapaxes(0, 1), [(H, W, c)], 1) for c in (33, 64)},
    "flattened": (numbers(H, W, 32).reshape(1, 1, -1), [(H, W, 32)], 1),
    "flattened, parts of words": (numbers(H, W, 5).reshape(1, 1, -1), [(H, W, 5)], 1),
    "cut": (numbers(H, W, 70)[1:, ::2, 32:], [(H, W, 70)], 1),
    "larger": (numbers(H, W, 40).repeat(2, 0).repeat(2, 1), [(H, W, 40)], 1),
    "two, whole": (two(64, 32), [(H, W, 64), (H, W, 32)], 1),
    "two, parts": (two(5, 40), [(H, W, 5), (H, W, 40)], 1),
    "two, mixed": (two(32, 33, True), [(H, W, 32), (H, W, 33)], 1),
    "a hole": (padded(33), [(H, W, 33)], 1),
    "a hole in the channels": (padded(33, 3), [(H, W, 33)], 1),
    "a hole, whole words": (padded(64), [(H, W, 64)], 1),
    **{
        f"{c} above one another": (
            np.concatenate([numbers(H, W, c), numbers(2, W, c, H * W * c)]),
            [(H, W, c), (2, W, c)],
            1,
        )
        for c in (1, 31, 32, 33, 64)
    },
    "side by side": (
        np.concatenate([numbers(H, W, 33), numbers(H, 2, 33, H * W * 33)], 1),
        [(H, W, 33), (H, 2, 33)],
        1,
    ),
    "any order": (
        np.random.default_rng(0).permutation(H * W * 33).reshape(H, W, 33),
        [(H, W, 33)],
        1,
    ),
    "any order, with a hole": (
        np.pad(
            np.random.default_rng(0).permutation(H * W * 34).reshape(H, W, 34),
            ((1, 0), (0, 1), (0, 0)),
            constant_values=FILL,
        ),
        [(H, W, 17), (H, W, 17)],
        2,
    ),
    "groups": (shuffle(66), [(H, W, 66)], 2),
    "groups of whole words": (numbers(H, W, 128), [(H, W, 128)], 4),
}

SCHEDULERS = {"plain": plain, "native": lambda: scheduler_of(load("native"), None)}


def tables(index: np.ndarray, dims: Dims) -> Move:
    move = as_move(index, dims)
    assert move is not None
    np.testing.assert_array_equal(flat_index(move, dims), index)
    return move


def gathered(index: np.ndarray, sources: list[np.ndarray], fill: float) -> np.ndarray:
    flat = np.concatenate([s.reshape(B, -1) for s in sources], 1)
    return np.where(index == FILL, fill, flat[:, np.maximum(index, 0)])


def packed(bits: np.ndarray, groups: int) -> np.ndarray:
    """uint8 ``[B, H, W, C, P]`` to uint32 ``[B, H, W, P, G, words]``."""
    b, h, w, c, p = bits.shape
    inside = c // groups
    wide = np.zeros((b, h, w, p, groups, words(inside) * WORD), np.uint8)
    wide[..., :inside] = np.moveaxis(bits.reshape(b, h, w, groups, inside, p), 5, 3)
    return np.packbits(wide, axis=-1, bitorder="little").view("<u4")


def arguments(move: Move) -> list[relax.Expr]:
    return [const(a) for a in move.tables]


@pytest.mark.parametrize("scheduled", SCHEDULERS)
@pytest.mark.parametrize("name", CASES)
def test_bits(name: str, scheduled: str) -> None:
    index, dims, groups = CASES[name]
    rng, planes = np.random.default_rng(1), 2
    sources = [rng.integers(0, 2, (B, *d, planes)).astype(np.uint8) for d in dims]
    holes = [1, 0]
    wanted = np.stack(
        [gathered(index, [s[..., p] for s in sources], holes[p]) for p in range(planes)], -1
    ).astype(np.uint8)
    data = [packed(s, 1) for s in sources]
    images = [tensor(f"x{i}", *d.shape, dtype="uint32") for i, d in enumerate(data)]
    call = make(
        "move_bitserial",
        [*images, *arguments(tables(index, dims))],
        code="binary",
        planes=planes,
        layout_groups=groups,
        fill=holes,
    )
    lowered = coded_moves.bits_kernel(call, SCHEDULERS[scheduled]())
    (found,) = outputs_of(lowered, data)
    np.testing.assert_array_equal(found, packed(wanted, groups))


@pytest.mark.parametrize("scheduled", SCHEDULERS)
@pytest.mark.parametrize("name", CASES)
def test_codes(name: str, scheduled: str) -> None:
    index, dims, groups = CASES[name]
    rng = np.random.default_rng(1)
    sources = [rng.integers(-100, 100, (B, *d)).astype(np.int8) for d in dims]
    wanted = gathered(index, list(sources), 7).astype(np.int8)
    data = []
    for source in sources:
        slots = np.zeros((*source.shape[:3], 1, code_slots(source.shape[3])), np.int8)
        slots[..., 0, : source.shape[3]] = source
        data.append(slots)
    images = [tensor(f"x{i}", *d.shape, dtype="int8") for i, d in enumerate(data)]
    attrs = {"layout_groups": groups, "fill": 7}
    call = make("move_int8", [*images, *arguments(tables(index, dims))], **attrs)
    lowered = coded_moves.int8_kernel(call, SCHEDULERS[scheduled]())
    (found,) = outputs_of(lowered, data)
    inside = wanted.shape[3] // groups
    rows = found[..., :inside].reshape(wanted.shape)
    np.testing.assert_array_equal(rows, wanted)
    assert not found[..., inside:].any()  # slots of no channel stay empty


@pytest.mark.parametrize("scheduled", SCHEDULERS)
@pytest.mark.parametrize("name", CASES)
def test_levels(name: str, scheduled: str) -> None:
    index, dims, _ = CASES[name]
    rng = np.random.default_rng(1)
    data = [rng.standard_normal((B, *d)).astype(np.float32) for d in dims]
    images = [tensor(f"x{i}", *d.shape) for i, d in enumerate(data)]
    call = make("move", [*images, *arguments(tables(index, dims))], fill=0.5)
    lowered = coded_moves.levels_kernel(call, SCHEDULERS[scheduled]())
    (found,) = outputs_of(lowered, data)
    np.testing.assert_array_equal(found, gathered(index, data, 0.5).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("64 turned", True), ("flattened", True), ("cut", True), ("two, whole", True),
        ("a hole, whole words", True), ("groups of whole words", True), ("33 turned", True),
        ("64 shuffled", False), ("flattened, parts of words", False), ("two, parts", False),
        ("a hole in the channels", False), ("groups", False),
    ],
)  # fmt: skip
def test_where_words_stay_whole(name: str, whole: bool) -> None:
    index, dims, groups = CASES[name]
    assert whole_words(tables(index, dims), groups) == whole


def test_the_tables_come_back() -> None:
    move = tables(*CASES["two, mixed"][:2])
    images = [tensor("x0", B, H, W, 32), tensor("x1", B, H, W, 33)]
    again = move_of(make("move", [*images, *arguments(move)], fill=0.0))
    assert all(np.array_equal(a, b) for a, b in zip(again.tables, move.tables, strict=True))
