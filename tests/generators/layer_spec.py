"""What a binarized layer is, as numbers: the part that no spelling can change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOUNDARY_CHANNELS = (1, 31, 32, 33, 63, 64, 65)
MAX_PLANE_MACS = 3_000_000


@dataclass(frozen=True)
class LayerSpec:
    """One ABC layer: MaxPool, BN, activation bases, convolution, bias, residual Add, PReLU.

    The order is fixed; every part but bases and convolution is optional. ``then`` is a second
    layer that reads this one's output, so that what lies between folds into its thresholds.
    The arrays (weights, thresholds, BN, input) follow from ``seed``; :mod:`layer_values` makes
    them. Hashable, and its repr reproduces a failing test.

    exact: all values are dyadic with few bits, so every correct build is equal bit for bit;
        otherwise real values, and the caller compares with a tolerance.
    ties: inputs of the activation may lie exactly on a threshold (only where exact).
    pads: top, left, bottom, right. pool: (size, stride, pad) of a square MaxPool.
    post: None, "relu" or "prelu". thermometer: weight bases from ``weight_bases``, else random.
    """

    seed: int
    batch: int
    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    M: int = 1
    N: int = 1
    exact: bool = True
    ties: bool = False
    per_channel: bool = False
    thermometer: bool = False
    pool: tuple[int, int, int] | None = None
    bn: bool = False
    bias: bool = False
    residual: bool = False
    post: str | None = None
    then: LayerSpec | None = None

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the layer's input, NCHW."""
        return (self.batch, self.in_channels, self.height, self.width)

    @property
    def pooled_size(self) -> tuple[int, int]:
        """Height and width after the MaxPool."""
        if self.pool is None:
            return (self.height, self.width)
        size, stride, pad = self.pool
        return tuple((d + 2 * pad - size) // stride + 1 for d in (self.height, self.width))  # type: ignore[return-value]

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """Shape of this layer's own output (``then`` not applied), NCHW."""
        sizes = [
            (size + self.pads[i] + self.pads[i + 2] - self.dilations[i] * (self.kernel[i] - 1) - 1)
            // self.strides[i]
            + 1
            for i, size in enumerate(self.pooled_size)
        ]
        return (self.batch, self.out_channels, sizes[0], sizes[1])

    @property
    def chain(self) -> list[LayerSpec]:
        """This layer and those after it."""
        return [self, *(self.then.chain if self.then else [])]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one binary convolution, batch included."""
        taps = self.in_channels // self.groups * self.kernel[0] * self.kernel[1]
        return int(np.prod(self.output_shape)) * taps

    def is_valid(self) -> bool:
        """Whether sizes fit, the residual has the output's shape, and a test stays quick."""
        if min(self.pooled_size) < 1 or min(self.output_shape) < 1:
            return False
        if self.in_channels % self.groups or self.out_channels % self.groups:
            return False
        pooled = (self.batch, self.in_channels, *self.pooled_size)
        if self.residual and pooled != self.output_shape:
            return False
        return self.macs * self.M * self.N <= MAX_PLANE_MACS


def draw_spec(
    rng: np.random.Generator,
    *,
    exact: bool,
    input_shape: tuple[int, int, int, int] | None = None,
    chain: int = 1,
    force_bn: bool = False,
) -> LayerSpec:
    """Draw until a valid spec comes out; ``chain`` layers one after another.

    ``input_shape`` fixes the input. Layers of inexact specs that do not read the free input get
    a BN, whose shift keeps their values away from the thresholds.
    """
    while True:
        spec = _draw_once(rng, exact, input_shape, force_bn)
        if not spec.is_valid():
            continue
        if chain == 1:
            return spec
        then = draw_spec(
            rng,
            exact=exact,
            input_shape=spec.output_shape,
            chain=chain - 1,
            force_bn=not exact,
        )
        return LayerSpec(**{**spec.__dict__, "then": then})


def _draw_once(
    rng: np.random.Generator,
    exact: bool,
    input_shape: tuple[int, int, int, int] | None,
    force_bn: bool,
) -> LayerSpec:
    if input_shape is None:
        batch, in_channels = int(rng.choice([1, 1, 2, 3, 4])), draw_channels(rng)
        height, width = map(int, rng.integers(1, 18, 2))
    else:
        batch, in_channels, height, width = input_shape
    residual = bool(rng.random() < 0.3)
    out_channels = in_channels if residual else draw_channels(rng)
    kernel, strides, dilations, pads = _draw_window(rng, residual)
    common = [g for g in range(2, 131) if in_channels % g == 0 and out_channels % g == 0]
    groups = int(rng.choice(common)) if common and rng.random() < 0.2 else 1
    pools = ((2, 2, 0), (3, 2, 1), (2, 1, 0), (3, 1, 1))
    pool = pools[rng.integers(len(pools))] if rng.random() < 0.25 else None
    return LayerSpec(
        seed=int(rng.integers(2**31)),
        batch=batch,
        in_channels=in_channels,
        out_channels=out_channels,
        height=height,
        width=width,
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads=pads,
        groups=groups,
        M=int(rng.integers(1, 5)),
        N=int(rng.integers(1, 5)),
        exact=exact,
        ties=bool(exact and rng.random() < 0.6),
        per_channel=bool(rng.random() < 0.4),
        thermometer=bool(rng.random() < 0.5),
        pool=pool,
        bn=bool(force_bn or rng.random() < 0.6),
        bias=bool(rng.random() < 0.4),
        residual=residual,
        post=(None, None, "relu", "prelu")[rng.integers(4)],
    )


def draw_channels(rng: np.random.Generator) -> int:
    """1 to 130 channels; half of the draws sit around a word's boundary."""
    if rng.random() < 0.5:
        return int(rng.choice(BOUNDARY_CHANNELS))
    return int(rng.integers(1, 131))


def _draw_window(
    rng: np.random.Generator, same_size: bool
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Kernel, strides, dilations, pads; with ``same_size`` the output keeps the input's size."""
    kernel = (int(rng.integers(1, 6)),) * 2
    if rng.random() < 0.3:
        kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    dilations = (1, 1) if rng.random() < 0.75 else (int(rng.integers(1, 3)), 2)
    if same_size:
        spans = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        begins = [span // 2 for span in spans]
        ends = [span - begin for span, begin in zip(spans, begins, strict=True)]
        return kernel, (1, 1), dilations, (begins[0], begins[1], ends[0], ends[1])
    strides = (int(rng.choice([1, 1, 2, 3])),) * 2
    if rng.random() < 0.15:
        strides = (strides[0], int(rng.integers(1, 4)))
    pads = (int(rng.integers(0, 4)),) * 4
    if rng.random() < 0.3:
        pads = tuple(map(int, rng.integers(0, 4, 4)))  # type: ignore[assignment]
    return kernel, strides, dilations, pads
