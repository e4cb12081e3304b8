"""Random bit convolutions with their NumPy meaning, for the tests of compute and schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import te, tirx

from abc_tvm.compute.accumulate import Tile, combine
from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.compute.lanes import Blocking, stage
from abc_tvm.compute.outputs import bit_output, float_output

Counts = Callable[["BitCase", Window], "tuple[te.Tensor, list[te.Tensor], list[np.ndarray]]"]
"""The accumulator of a window, its placeholders, and their values."""

Run = Callable[[Any, "list[np.ndarray]"], "list[np.ndarray]"]
"""Calls a PrimFunc with arguments and returns all of them afterwards."""


def pack(bits: np.ndarray) -> np.ndarray:
    """Truth values ``[..., C]`` to uint32 ``[..., words]``, channel ``c`` at bit ``c % 32``."""
    count = words(bits.shape[-1])
    wide = np.zeros((*bits.shape[:-1], count * WORD), np.uint8)
    wide[..., : bits.shape[-1]] = bits
    packed = np.packbits(wide, axis=-1, bitorder="little")
    return np.ascontiguousarray(packed).view("<u4")


def unpack(packed: np.ndarray, channels: int) -> np.ndarray:
    """The inverse of :func:`pack`."""
    data = np.ascontiguousarray(packed).view(np.uint8)
    return np.unpackbits(data, axis=-1, bitorder="little")[..., :channels]


@dataclass
class BitCase:
    """Random operands of one window.

    ``activations`` ``[B, H, W, P, C]`` and ``weights`` ``[M, O, KH, KW, C/groups]`` hold 0 and 1.
    """

    window: Window
    activations: np.ndarray
    weights: np.ndarray

    @property
    def blocking(self) -> Blocking:
        return Blocking(self.window.out_channels, self.window.groups)

    def bits(self) -> np.ndarray:
        """uint32 ``[B, H, W, P, G, words]``."""
        win = self.window
        grouped = self.activations.reshape(*self.activations.shape[:4], win.groups, win.group_in)
        return pack(grouped)

    def planes(self) -> np.ndarray:
        """uint32 ``[G*O, KH, KW, words, M, L]``; padded lanes are zero."""
        blocking = self.blocking
        packed = np.moveaxis(pack(self.weights), 1, -1)  # [M, KH, KW, words, O]
        spread = blocking.spread(packed)
        lanes = spread.reshape(*packed.shape[:-1], blocking.groups * blocking.blocks, WORD)
        return np.ascontiguousarray(lanes.transpose(4, 1, 2, 3, 0, 5))

    def counts(self) -> np.ndarray:
        """Differing bits int64 ``[B, OH, OW, O, M, P]``; outside the image bits are 0."""
        win = self.window
        top, left, bottom, right = win.padding
        border = ((0, 0), (top, bottom), (left, right), (0, 0), (0, 0))
        image = np.pad(self.activations, border).astype(np.float64)
        planes = self.weights.astype(np.float64)
        spatial = (len(image), win.out_height, win.out_width)
        total = np.zeros((*spatial, win.out_channels, len(planes), image.shape[3]))
        for kh in range(win.kernel[0]):
            for kw in range(win.kernel[1]):
                rows = kh * win.dilation[0] + win.stride[0] * np.arange(win.out_height)
                cols = kw * win.dilation[1] + win.stride[1] * np.arange(win.out_width)
                part = image[:, rows][:, :, cols]
                for g in range(win.groups):
                    a = part[..., g * win.group_in : (g + 1) * win.group_in]
                    at = slice(g * win.group_out, (g + 1) * win.group_out)
                    w = planes[:, at, kh, kw]
                    both = np.einsum("bhwpc,moc->bhwomp", a, w)
                    ones_a = a.sum(-1)[:, :, :, None, None, :]
                    ones_w = w.sum(-1).T[None, None, None, :, :, None]
                    total[:, :, :, at] += ones_a + ones_w - 2 * both
        return total.astype(np.int64)


def bit_case(
    seed: int,
    *,
    size: tuple[int, int],
    channels: tuple[int, int],
    batch: int = 1,
    M: int = 1,
    P: int = 1,
    **geometry: Any,
) -> BitCase:
    """Uniformly random operands; ``geometry`` goes to :class:`Window`."""
    rng = np.random.default_rng(seed)
    win = Window(batch, *size, *channels, **geometry)
    activations = rng.integers(0, 2, (batch, *size, P, channels[0]), dtype=np.uint8)
    weights = rng.integers(0, 2, (M, channels[1], *win.kernel, win.group_in), dtype=np.uint8)
    return BitCase(win, activations, weights)


def placeholder(name: str, array: np.ndarray, batch: Any = None) -> te.Tensor:
    """A TE placeholder of the array's shape and dtype, ``batch`` in place of its first extent."""
    shape = array.shape if batch is None else (batch, *array.shape[1:])
    return te.placeholder(shape, str(array.dtype), name=name)


def symbolic(window: Window) -> Window:
    """The same window on a batch that is known at run time only."""
    return replace(window, batch=tirx.Var("n", "int64"))


def call(func: Any, arguments: list[np.ndarray], cpu: str | None = None) -> list[np.ndarray]:
    """Compile a PrimFunc for this machine, call it, and return all arguments afterwards."""
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu or host_cpu()})
    tensors = [tvm.runtime.tensor(array) for array in arguments]
    tvm.compile(func, target).jit()["main"](*tensors)
    return [tensor.numpy() for tensor in tensors]


def host_cpu() -> str:
    """LLVM's name for the processor that runs the tests."""
    return str(tvm.target.codegen.llvm_get_system_cpu())


def bits_of(words: np.ndarray, blocking: Blocking) -> np.ndarray:
    """uint8 ``[B, H, W, channels]`` from one plane of packed words ``[B, H, W, G, O]``."""
    return unpack(words, blocking.group_channels).reshape(*words.shape[:3], -1)


@dataclass
class Kernel:
    """A fused kernel with every kind of output, and what NumPy says it computes."""

    inputs: list[te.Tensor]
    outputs: list[te.Tensor]
    values: list[np.ndarray]
    case: BitCase
    thresholds: np.ndarray
    expected: np.ndarray

    def func(self, int64: bool) -> Any:
        """The unscheduled PrimFunc; ``int64`` indices are what Relax gives."""
        index = "int64" if int64 else None
        return te.create_prim_func([*self.inputs, *self.outputs], index)

    def check(self, scheduled: Any, cpu: str | None = None, run: Run | None = None) -> None:
        """Run it, here or by ``run``, and compare all outputs."""
        win, blocking = self.case.window, self.case.blocking
        image = (len(self.case.activations), win.out_height, win.out_width)
        wide = (blocking.groups, blocking.blocks, WORD) if blocking.aligned else (win.out_channels,)
        empty = [
            np.zeros((*image, *wide), np.float32),
            np.zeros((*image, 2, blocking.groups, blocking.blocks), np.uint32),
            np.zeros((*image, 1, blocking.groups, blocking.blocks), np.uint32),
        ]
        arguments = self.values + empty
        real, two, one = (run(scheduled, arguments) if run else call(scheduled, arguments, cpu))[
            -3:
        ]
        total = self.case.counts().sum((4, 5))
        flat = real.reshape(*image, -1)
        np.testing.assert_allclose(flat, 2 * self.expected, rtol=1e-4, atol=2e-3)
        for p in range(2):
            np.testing.assert_array_equal(
                bits_of(two[:, :, :, p], blocking), total <= self.thresholds + p
            )
        clear = np.abs(self.expected) > 2e-3
        signs = bits_of(one[:, :, :, 0], blocking)
        np.testing.assert_array_equal(signs[clear], (self.expected >= 0)[clear])


def all_outputs(case: BitCase, window: Window, counts: Counts) -> Kernel:
    """A float output, two thresholds of the plain sum of counts, and the sign of a weighted sum.

    ``counts`` makes the accumulator from the window, and names the operands it needs.
    """
    rng = np.random.default_rng(7)
    blocking, reference = case.blocking, case.counts()
    total = reference.sum((4, 5))
    thresholds = rng.integers(total.min(), total.max() + 1, window.out_channels).astype(np.int32)
    factors = rng.normal(size=(*reference.shape[4:], 1)).astype(np.float32)
    bias = rng.normal(size=window.out_channels).astype(np.float32)
    values = {
        "TH": blocking.spread(thresholds),
        "BI": blocking.spread(bias),
        "K": factors,
        "ONE": np.ones(factors.shape, np.int32),
    }
    place = {name: placeholder(name, value) for name, value in values.items()}
    acc, inputs, operands = counts(case, window)
    size = (window.batch, window.out_height, window.out_width)
    plain = combine(acc, place["ONE"], window, blocking, "int32")
    weighted = combine(acc, place["K"], window, blocking, "float32")
    biased = stage(
        "stage_bias",
        blocking.shape(*size),
        lambda at: weighted[at] + place["BI"][blocking.slot(at)],
    )
    two = tirx.const(2, "float32")
    outputs = [
        float_output("real", *size, blocking, lambda at: biased[at] * two),
        bit_output(
            "two",
            *size,
            blocking,
            lambda p, at: plain[at] <= place["TH"][blocking.slot(at)] + p,
            2,
        ),
        bit_output("one", *size, blocking, lambda p, at: biased[at] >= tirx.const(0, "float32"), 1),
    ]
    expected = (reference * factors[..., 0]).sum((4, 5)) + bias
    return Kernel(
        [*inputs, *place.values()],
        outputs,
        [*operands, *values.values()],
        case,
        thresholds,
        expected,
    )


SAME: dict[str, Any] = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}

GEOMETRIES: list[tuple[dict[str, Any], Tile]] = [
    (
        {"size": (7, 7), "channels": (64, 64), "kernel": (3, 3), "padding": (1, 1, 1, 1)},
        Tile(1, 7, 1),
    ),
    (
        {"size": (7, 7), "channels": (64, 64), "kernel": (3, 3), "padding": (1, 1, 1, 1)},
        Tile(1, 5, 2),
    ),
    (
        {"size": (7, 7), "channels": (65, 130), "kernel": (3, 3), "padding": (1, 1, 1, 1)},
        Tile(3, 2, 1),
    ),
    (
        {
            "size": (8, 9),
            "channels": (66, 62),
            "kernel": (3, 3),
            "padding": (0, 1, 2, 1),
            "groups": 2,
            "stride": (2, 2),
            "batch": 3,
            "M": 2,
            "P": 3,
        },
        Tile(2, 3, 1),
    ),
    (
        {
            "size": (9, 9),
            "channels": (31, 33),
            "kernel": (3, 2),
            "padding": (2, 2, 2, 1),
            "dilation": (2, 1),
            "M": 3,
        },
        Tile(1, 4, 2),
    ),
    ({"size": (1, 1), "channels": (130, 130), "batch": 3, "M": 2, "P": 2}, Tile(1, 1, 5)),
    ({"size": (5, 5), "channels": (32, 64), "M": 3, "P": 3}, Tile(1, 2, 1)),
    ({"size": (5, 5), "channels": (1, 1), "kernel": (3, 3)}, Tile(3, 3, 1)),
    ({"size": (4, 4), "channels": (64, 63), "stride": (2, 2)}, Tile(1, 2, 2)),
    ({"size": (3, 2), "channels": (352, 31), "kernel": (3, 2), "groups": 1}, Tile(1, 1, 1)),
]
"""Windows with a tile; what is new in each: plain, tiles that do not divide, unaligned channels,
groups with stride, dilation, a dense layer, many planes, one channel, 1x1, eleven words."""
