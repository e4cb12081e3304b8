"""What the loop of bits must not do: run out of registers, spill, lose a latency, overflow."""

from __future__ import annotations

import itertools
import re

import pytest

from abc_tvm.schedules.neon.bit_kernel import Registers
from tests.schedules.neon.kernels import bits, inner

TILES = [(1, 8), (2, 4), (2, 8), (4, 4), (7, 2), (5, 2), (3, 4)]


@pytest.mark.parametrize(("pixels", "registers"), TILES)
@pytest.mark.parametrize("dot", [False, True])
def test_three_vector_instructions_a_product(pixels: int, registers: int, dot: bool) -> None:
    kernel = bits(pixels, registers, dot=dot)
    names = [line.split()[0] for line in inner(kernel)]
    sums = pixels * registers * kernel.unrolled
    for name in ("eor", "cnt", "udot" if dot else "add"):
        vectors = [line for line in inner(kernel) if line.startswith(f"{name} v")]
        assert len(vectors) == sums
    assert names.count("ldr") - kernel.unrolled % 2 == kernel.unrolled * (pixels + registers)
    assert not any("sp" in line for line in kernel.assembly())


@pytest.mark.parametrize(("pixels", "registers"), TILES)
def test_a_result_is_used_six_vector_instructions_later(pixels: int, registers: int) -> None:
    """Over two turns, so that the jump is among what is looked at."""
    vectors = [line for line in inner(bits(pixels, registers)) * 2 if " v" in line]
    written: dict[str, int] = {}
    for n, line in enumerate(vectors):
        to, *sources = re.findall(r"v\d+", line)
        for source in sources:
            assert n - written.get(source, -6) >= 6, f"{n}: {line}"
        if not line.startswith("add"):
            written[to] = n


def test_registers_are_shared_without_overlap() -> None:
    for pixels, registers, dot in itertools.product(range(1, 9), [1, 2, 4, 8], [False, True]):
        plan = Registers.share(pixels, registers, dot)
        if plan is None:
            continue
        numbers = {int(n) for line in inner(bits(pixels, registers, dot=dot)) for n in _named(line)}
        sums = pixels * registers
        assert len(numbers) == sums + pixels + plan.weights + plan.temps + dot


def _named(line: str) -> list[str]:
    return re.findall(r"\b[vq](\d+)\b", line)


@pytest.mark.parametrize("steps", [1, 7, 9, 18, 25, 30, 31, 32, 36, 49, 144, 4608])
def test_a_byte_never_sums_more_than_31_steps(steps: int) -> None:
    kernel = bits(4, 4, steps)
    lines = kernel.assembly()
    counts = [int(m[1]) for line in lines if (m := re.fullmatch(r"mov x16, #(\d+)", line))]
    assert counts and max(counts) <= 31
    assert all(n % kernel.unrolled == 0 for n in counts)
    assert steps % kernel.unrolled == 0


def test_tiles_without_room_are_refused() -> None:
    assert Registers.share(8, 4, False) is None
    with pytest.raises(ValueError, match="no registers for 8 x 4 sums"):
        bits(8, 4).assembly()
