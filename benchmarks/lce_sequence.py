"""The instruction sequence of Larq Compute Engine's bit convolution on AArch64, for comparison.

Written from the description of its kernel for eight output channels, four pixels and 128 input
channels a step (larq/compute-engine, ``core/indirect_bgemm/kernel_8x4x4_aarch64.h``): 32 ``eor``
and 32 ``cnt`` for 4,096 binary products; then pairwise additions in a tree, 28 ``addp``, until four
registers are left, and 4 ``uadalp`` into 16-bit sums; 12 loads of 16 bytes for the next step; three
instructions for the loop. First the products of four output channels, then those of the other four,
in which the registers of weights that have been used serve as temporaries; loads of activations
between the second half's ``cnt``, loads of weights between the last additions.
"""

from __future__ import annotations

from collections.abc import Iterator

PAIRS = 8 * 4 * 128
"""Binary products of one turn."""

CHANNELS = PIXELS = 4
_ACTS = range(16, 20)
_WEIGHTS = range(20, 28)
_SUMS = range(28, 32)
_FIRST = range(16)


def loop() -> list[str]:
    """One turn of the loop, without its label."""
    return ["subs w1, w1, #1", *_first_half(), *_second_half(), "add x6, x6, #128", "b.gt 1b"]


def _first_half() -> Iterator[str]:
    products = [(weight, act) for weight in _WEIGHTS[:CHANNELS] for act in _ACTS]
    for temp, (weight, act) in zip(_FIRST, products, strict=True):
        yield f"eor v{temp}.16b, v{act}.16b, v{weight}.16b"
    yield from (_count(temp) for temp in _FIRST)
    for left in (0, 8):
        yield from (_pair(left + p, left + p, left + p + PIXELS) for p in range(PIXELS))


def _second_half() -> Iterator[str]:
    temps = [*range(4, 8), *range(12, 16), *_WEIGHTS]
    products = [(weight, act) for weight in _WEIGHTS[CHANNELS:] for act in _ACTS]
    for temp, (weight, act) in zip(temps, products, strict=True):
        yield f"eor v{temp}.16b, v{act}.16b, v{weight}.16b"
    for n in range(PIXELS):
        yield from (_count(temp) for temp in temps[PIXELS * n : PIXELS * (n + 1)])
        yield f"ld1 {{v{_ACTS[n]}.4s}}, [x{2 + n}], #16"
    yield from (_pair(4 + p, 4 + p, 12 + p) for p in range(PIXELS))
    yield from (_pair(12 + p, _WEIGHTS[p], _WEIGHTS[4 + p]) for p in range(PIXELS))
    last = [
        *(_pair(p, p, 8 + p) for p in range(PIXELS)),
        *(_pair(4 + p, 4 + p, 12 + p) for p in range(PIXELS)),
        *(_pair(p, p, 4 + p) for p in range(PIXELS)),
        *(f"uadalp v{_SUMS[p]}.8h, v{p}.16b" for p in range(PIXELS)),
    ]
    for n, weight in enumerate(_WEIGHTS):
        yield f"ldr q{weight}, [x6, #{16 * n}]"
        yield from last[2 * n : 2 * n + 2]


def _count(register: int) -> str:
    return f"cnt v{register}.16b, v{register}.16b"


def _pair(to: int, left: int, right: int) -> str:
    return f"addp v{to}.16b, v{left}.16b, v{right}.16b"
