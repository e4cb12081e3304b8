"""What the written-out loops must not do: run out of registers, spill, or lose a latency."""

from __future__ import annotations

import itertools
import re

import pytest

from abc_tvm.schedules.neon.bit_kernel import BitKernel, Registers
from abc_tvm.schedules.neon.float_kernel import FloatKernel
from abc_tvm.schedules.neon.microkernel import BEGIN, END, Microkernel, reachable

TILES = [(1, 8), (2, 4), (2, 8), (4, 4), (7, 2), (5, 2), (3, 4)]


def bits(pixels: int, registers: int, steps: int = 18, dot: bool = False) -> BitKernel:
    words = tuple(16 * n for n in range(steps))
    outputs = tuple(128 * n for n in range(pixels))
    return BitKernel(words, tuple(32 * n for n in range(pixels)), outputs, registers, dot)


def inner(kernel: Microkernel) -> list[str]:
    lines = kernel.assembly()
    return lines[lines.index(BEGIN) + 1 : lines.index(END)]


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


def test_fmla_takes_each_channel_once() -> None:
    kernel = FloatKernel((0, 16), (0, 64), (0, 128), 8, 3, in_order=False)
    loop = [line for line in inner(kernel) if line.startswith("fmla")]
    assert len(loop) == 2 * 3 * 2 * 8
    for n in range(3):
        assert sum(f"s[{n}]" in line for line in loop) == len(loop) // 3


def test_tiles_without_room_are_refused() -> None:
    assert Registers.share(8, 4, False) is None
    with pytest.raises(ValueError, match="no registers"):
        bits(8, 4).assembly()
    with pytest.raises(ValueError, match="too far apart"):
        BitKernel((0,), (0,) * 4, (0, 70_000, 0, 0), 4, False).assembly()
    assert not reachable(range(0, 6 * 70_000, 70_000))


def test_equal_kernels_share_a_name() -> None:
    assert bits(4, 4).name == bits(4, 4).name != bits(4, 4, dot=True).name
