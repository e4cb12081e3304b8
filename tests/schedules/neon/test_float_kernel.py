"""The loop of floats and of bytes: every product once, and no register too many."""

from __future__ import annotations

import pytest

from abc_tvm.schedules.neon.float_kernel import FloatKernel, weights_held
from tests.schedules.neon.kernels import inner


def test_fmla_takes_each_channel_once() -> None:
    kernel = FloatKernel((0, 16), (0, 64), (0, 128), 8, 3, in_order=False)
    loop = [line for line in inner(kernel) if line.startswith("fmla")]
    assert len(loop) == 2 * 3 * 2 * 8
    for n in range(3):
        assert sum(f"s[{n}]" in line for line in loop) == len(loop) // 3


def test_the_loop_is_that_of_floats_with_another_instruction() -> None:
    kernels = [FloatKernel((0, 16), (0, 64), (0, 128), 4, 4, False, dot) for dot in (False, True)]
    plain, dot = (kernel.assembly() for kernel in kernels)
    assert len(plain) == len(dot)
    changed = {(a.split()[0], b.split()[0]) for a, b in zip(plain, dot, strict=True) if a != b}
    assert changed == {("fmla", "sdot")}
    assert kernels[0].name != kernels[1].name


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_weights_take_what_sums_and_activations_leave(channels: int) -> None:
    for pixels in range(1, 9):
        for registers in (1, 2, 4, 8):
            held = weights_held(pixels, registers, channels)
            if held is None:
                assert pixels * registers + pixels > 30 or channels * registers == 1
                continue
            assert pixels * registers + pixels + held <= 32 and held <= 16
            assert channels * registers % held == 0


def test_loads_of_a_step_come_together_in_order() -> None:
    """Behind its arithmetic, where all its weights have registers."""

    def names(in_order: bool) -> list[str]:
        kernel = FloatKernel((0, 16), (0, 64), (0, 128), 2, 4, in_order)
        lines = [line.split()[0] for line in inner(kernel)]
        return lines[lines.index("fmla") : lines.index("b.ne")]

    assert names(True) == (["fmla"] * 16 + ["ldr"] * 10) * 2
    assert names(False) != names(True) and sorted(names(False)) == sorted(names(True))


def test_tiles_without_room_are_refused() -> None:
    assert weights_held(7, 4, 4) is None
    kernel = FloatKernel((0,), tuple(range(0, 448, 64)), tuple(range(0, 896, 128)), 4, 4, False)
    with pytest.raises(ValueError, match="no registers for 7 x 4 sums"):
        kernel.assembly()
