from __future__ import annotations

import itertools

import numpy as np
import pytest

from abc_tvm.deploy.c_form.plan import ALIGNMENT, Life, aligned, plan


def overlap(lives: list[Life], offsets: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of arrays that are needed together and share bytes."""
    found = []
    for a, b in itertools.combinations(range(len(lives)), 2):
        together = lives[a].meets(lives[b])
        apart = offsets[a] + lives[a].size <= offsets[b] or offsets[b] + lives[b].size <= offsets[a]
        if together and not apart:
            found.append((a, b))
    return found


def test_a_chain_alternates_between_two_places() -> None:
    lives = [Life(640, n, n + 1) for n in range(6)]
    found = plan(lives)
    assert found.size == 2 * 640
    assert set(found.offsets) == {0, 640}


def test_what_meets_in_one_call_alone_is_together() -> None:
    assert not Life(1, 0, 1).meets(Life(1, 2, 3))
    assert Life(1, 0, 2).meets(Life(1, 2, 3))
    assert Life(1, 2, 3).meets(Life(1, 0, 2))


def test_a_gap_is_filled() -> None:
    # The middle one dies early; what comes later fits into its place below the third.
    lives = [Life(1000, 0, 9), Life(900, 0, 3), Life(800, 0, 9), Life(700, 4, 9)]
    found = plan(lives)
    assert found.size == aligned(1000) + aligned(900) + aligned(800)
    assert found.offsets[3] == found.offsets[1]


def test_nothing_takes_nothing() -> None:
    assert plan([]).size == 0


@pytest.mark.parametrize("size", [1, 63, 64, 65])
def test_every_array_starts_a_cache_line(size: int) -> None:
    found = plan([Life(size, 0, 1), Life(size, 0, 1)])
    assert found.offsets[1] % ALIGNMENT == 0
    assert found.size == 2 * aligned(size)


def test_random_lives_never_overlap_and_are_near_the_lower_bound(rng: np.random.Generator) -> None:
    for _ in range(50):
        lives = []
        for _ in range(int(rng.integers(1, 30))):
            first = int(rng.integers(0, 20))
            lives.append(Life(int(rng.integers(1, 5000)), first, first + int(rng.integers(0, 5))))
        found = plan(lives)
        assert overlap(lives, found.offsets) == []
        busiest = max(
            sum(aligned(life.size) for life in lives if life.first <= call <= life.last)
            for call in range(25)
        )
        assert busiest <= found.size <= 1.6 * busiest
        assert found == plan(lives)
