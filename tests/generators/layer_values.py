"""The arrays of a :class:`LayerSpec`, and what the layer computes, in float64 NumPy.

The arrays are drawn to suit the layer's own input: BN roughly normalises it, and thresholds lie
within its spread, so that the bits of every layer are a real mixture of zeros and ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from abc_tvm.reference import abc_conv2d, solve_alpha, weight_bases

from .layer_spec import LayerSpec

Array32 = npt.NDArray[np.float32]
Array64 = npt.NDArray[np.float64]
# Float32 holds 24 bits; BN folded into the weights before it may need one or two more.
MAX_BITS = 22
MARGIN_TRIES = 48


class NotExactError(Exception):
    """An "exact" spec whose float32 sums could round after all: draw another one."""


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """``gamma * (x - mean) / sqrt(var + epsilon) + beta``; float32 arrays ``[C]``."""

    gamma: Array32
    beta: Array32
    mean: Array32
    var: Array32
    epsilon: float

    @property
    def scale(self) -> Array64:
        """``gamma / sigma``, float64 ``[C]``."""
        return self.gamma / self.sigma

    @property
    def sigma(self) -> Array64:
        """``sqrt(var + epsilon)``, float64 ``[C]``."""
        return np.sqrt(self.var.astype(np.float64) + self.epsilon)

    @property
    def shift(self) -> Array64:
        """What BN adds after ``scale``, float64 ``[C]``."""
        return self.beta - self.mean * self.scale


@dataclass(frozen=True, eq=False)
class LayerValues:
    """The arrays of one layer, and its result on the input that they were drawn for.

    bases: ``[M, O, C/groups, KH, KW]`` of ±1. alpha: ``[M]`` or ``[M, O]``. v, beta: ``[N]``.
    bias, slope: ``[O]`` or None. output: float64 NCHW. margin: the smallest distance of an
    activation's input from its threshold; only ties make it 0.
    """

    bases: Array32
    alpha: Array32
    v: Array32
    beta: Array32
    bias: Array32 | None
    slope: Array32 | None
    bn: BatchNorm | None
    output: Array64
    margin: float

    @property
    def alpha_columns(self) -> Array64:
        """alpha as float64 ``[M, O, 1, 1, 1]``, whichever form it has."""
        out_channels = self.bases.shape[1]
        columns = self.alpha.astype(np.float64).reshape(len(self.alpha), -1)
        return np.broadcast_to(columns, (len(columns), out_channels))[..., None, None, None]


def layer_input(spec: LayerSpec) -> Array32:
    """A float32 NCHW input: quarters (some of them -0.0) if exact, else a few hundred reals."""
    rng = np.random.default_rng([spec.seed, 1])
    if not spec.exact:
        # Few distinct values, so that thresholds can keep their distance from all of them.
        return rng.choice(rng.normal(0, 1.2, 200).astype(np.float32), spec.input_shape)
    quarters = np.round(rng.normal(0, 5, spec.input_shape)) / 4
    negative = rng.random(spec.input_shape) < 0.5
    return np.where((quarters == 0) & negative, -0.0, quarters).astype(np.float32)


@lru_cache(maxsize=64)
def realize_spec(spec: LayerSpec) -> tuple[LayerValues, ...]:
    """Values of every layer of ``spec.chain`` on :func:`layer_input`."""
    return realize_chain(spec, layer_input(spec).astype(np.float64))


def realize_chain(spec: LayerSpec, real: Array64) -> tuple[LayerValues, ...]:
    """Values of every layer of ``spec.chain`` on the given NCHW input.

    Raises :class:`NotExactError` when an exact spec turns out to need too many bits.
    """
    values: list[LayerValues] = []
    for layer in spec.chain:
        values.append(_realize(layer, real))
        real = values[-1].output
    return tuple(values)


def max_pool(x: Array64, pool: tuple[int, int, int]) -> Array64:
    """MaxPool over NCHW; pool is (size, stride, pad), padded places never win."""
    size, stride, pad = pool
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    pooled: Array64 = windows[:, :, ::stride, ::stride].max(axis=(-1, -2))
    return pooled


def grid_of(values: npt.ArrayLike) -> float:
    """The largest power of two (1 at most) that divides all values; 0 when finer than 2^-40."""
    array = np.asarray(values, dtype=np.float64)
    for exponent in range(41):
        scaled = array * 2.0**exponent
        if np.array_equal(scaled, np.rint(scaled)):
            return 2.0**-exponent
    return 0.0


def require_exact(*terms: npt.ArrayLike, factor: float = 1.0) -> None:
    """Raise unless any sum of one value of each term, times ``factor``, fits float32."""
    grid = min(grid_of(term) for term in terms)
    bound = sum(float(np.max(np.abs(term), initial=0.0)) for term in terms) * factor
    if grid == 0 or bound / grid > 2.0**MAX_BITS:
        raise NotExactError(f"sums up to {bound} on a grid of {grid}")


def _realize(spec: LayerSpec, real: Array64) -> LayerValues:
    rng = np.random.default_rng([spec.seed, 2])
    pooled = real if spec.pool is None else max_pool(real, spec.pool)
    bases, alpha = _draw_weights(spec, rng)
    beta = _draw_beta(spec, rng)
    bias = slope = bn = None
    if spec.bias:
        bias = _quarters(rng, spec.out_channels) if spec.exact else rng.normal(0, 1, len(bases[0]))
    if spec.post == "prelu":
        slope = _draw_slope(spec, rng)
    x = pooled
    if spec.bn:
        bn = _draw_exact_bn(pooled, rng) if spec.exact else _draw_bn(pooled, rng)
        x = _apply_bn(bn, pooled)
    v = _draw_v(spec, x, rng)
    if bn is not None and not spec.exact:
        bn = _keep_clear(bn, pooled, v, rng)
        x = _apply_bn(bn, pooled)

    output = abc_conv2d(
        x,
        bases,
        alpha,
        v.astype(np.float64),
        beta,
        bias=bias,
        stride=spec.strides,
        padding=spec.pads,
        dilation=spec.dilations,
        groups=spec.groups,
    )
    if spec.exact:
        require_exact(x, v)
        taps = bases[0, 0].size * len(alpha) * len(beta)
        require_exact(np.multiply.outer(alpha, beta), factor=taps)
        require_exact(output, 0.0 if bias is None else bias)
    if spec.residual:
        output = output + pooled
    if spec.post is not None:
        negative = 0.0 if slope is None else slope.astype(np.float64)[:, None, None]
        output = np.where(output < 0, output * negative, output)
    if spec.exact:
        require_exact(output)
    margin = float(np.min(np.abs(x[None] + v.astype(np.float64).reshape(-1, 1, 1, 1, 1) - 0.5)))
    bias32 = None if bias is None else bias.astype(np.float32)
    return LayerValues(bases, alpha, v, beta, bias32, slope, bn, output, margin)


def _draw_weights(spec: LayerSpec, rng: np.random.Generator) -> tuple[Array32, Array32]:
    shape = (spec.out_channels, spec.in_channels // spec.groups, *spec.kernel)
    weights = rng.normal(0, 1, shape)
    if spec.thermometer:
        bases = weight_bases(weights, spec.M)
    else:
        bases = np.where(rng.random((spec.M, *shape)) < 0.5, 1.0, -1.0)
    if spec.exact:
        size = (spec.M, spec.out_channels) if spec.per_channel else (spec.M,)
        alpha = rng.choice(
            [0.25, 0.5, 0.75, 1.0, 1.25, -0.5], size, p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.1]
        )
    else:
        alpha = solve_alpha(weights, bases, spec.per_channel)
    return bases.astype(np.float32), alpha.astype(np.float32)


def _draw_beta(spec: LayerSpec, rng: np.random.Generator) -> Array32:
    sign = np.where(rng.random(spec.N) < 0.15, -1.0, 1.0)
    size = rng.choice([0.25, 0.5, 0.75, 1.0], spec.N) if spec.exact else rng.uniform(0.2, 1, spec.N)
    return (sign * size).astype(np.float32)


def _draw_slope(spec: LayerSpec, rng: np.random.Generator) -> Array32:
    choices = [0.0, 0.125, 0.25, 0.5]
    if rng.random() < 0.1:
        choices.append(-0.25)  # not monotone: a compiler has to notice
    slope = rng.choice(choices, spec.out_channels)
    if not spec.exact:
        slope = slope + rng.uniform(0, 0.1, spec.out_channels)
    return slope.astype(np.float32)


def _draw_exact_bn(x: Array64, rng: np.random.Generator) -> BatchNorm:
    """Scales are ±1 or ±1.5 times a power of two, some are 0, and sigma a power of two."""
    channels = int(x.shape[1])
    exponent: Array64 = np.asarray(-_log2_spread(x, axis=(0, 2, 3)))
    sigma_exponent: Array64 = rng.integers(-1, 2, channels).astype(np.float64)
    sign: Array64 = np.asarray(rng.choice([-1.0, 0.0, 1.0], channels, p=[0.3, 0.08, 0.62]))
    gamma: Array64 = (
        sign * rng.choice([1.0, 1.0, 1.5], channels) * 2.0 ** (exponent + sigma_exponent)
    )
    step = np.maximum(2.0**-exponent / 4, grid_of(x))
    mean: Array64 = np.rint(x.mean(axis=(0, 2, 3)) / step) * step
    beta = rng.integers(-4, 5, channels) / 4
    epsilon = 2.0**-10
    var: Array64 = np.power(4.0, sigma_exponent) - epsilon
    bn = BatchNorm(
        gamma.astype(np.float32),
        beta.astype(np.float32),
        mean.astype(np.float32),
        var.astype(np.float32),
        epsilon,
    )
    scaled = x * bn.scale[:, None, None]
    require_exact(x, bn.mean)
    require_exact(scaled, bn.shift, bn.beta)
    return bn


def _draw_bn(x: Array64, rng: np.random.Generator) -> BatchNorm:
    channels = int(x.shape[1])
    spread: Array64 = np.maximum(x.std(axis=(0, 2, 3)), 0.1)
    mean: Array64 = x.mean(axis=(0, 2, 3)) + rng.normal(0, 0.2, channels) * spread
    sign: Array64 = np.asarray(rng.choice([-1.0, 0.0, 1.0], channels, p=[0.3, 0.08, 0.62]))
    return BatchNorm(
        (sign * rng.uniform(0.5, 1.5, channels)).astype(np.float32),
        rng.normal(0, 0.5, channels).astype(np.float32),
        mean.astype(np.float32),
        (spread**2 * rng.uniform(0.7, 1.5, channels)).astype(np.float32),
        1e-5,
    )


def _keep_clear(bn: BatchNorm, pooled: Array64, v: Array32, rng: np.random.Generator) -> BatchNorm:
    """BN with each channel's beta moved to where its values are farthest from the thresholds."""
    x = _apply_bn(bn, pooled)
    thresholds = 0.5 - v.astype(np.float64)
    best = np.full(x.shape[1], -1.0)
    beta = bn.beta.copy()
    for move in rng.uniform(-0.3, 0.3, MARGIN_TRIES):
        distances = np.abs(x[..., None] + move - thresholds).min(axis=(0, 2, 3, 4))
        better = distances > best
        beta = np.where(better, bn.beta + np.float32(move), beta)
        best = np.maximum(best, distances)
    return BatchNorm(bn.gamma, beta.astype(np.float32), bn.mean, bn.var, bn.epsilon)


def _apply_bn(bn: BatchNorm, x: Array64) -> Array64:
    return x * bn.scale[:, None, None] + bn.shift[:, None, None]


def _draw_v(spec: LayerSpec, x: Array64, rng: np.random.Generator) -> Array32:
    """Shifts ``0.5 - threshold``, unsorted, sometimes two alike."""
    unit = float(2.0 ** _log2_spread(x, axis=None))
    if spec.exact:
        grid = grid_of(x)
        steps = rng.choice(np.arange(-6, 7), spec.N, replace=rng.random() < 0.1)
        thresholds: Array64 = np.rint(steps * (unit / 4) / grid) * grid
        if not spec.ties:
            thresholds = thresholds + grid / 2
        return (0.5 - thresholds).astype(np.float32)
    if spec.bn:
        return (0.5 - rng.normal(0, 0.8, spec.N) * unit).astype(np.float32)
    candidates = (0.5 - rng.normal(0, 0.8, (64, spec.N)) * unit).astype(np.float32)
    flat = np.unique(x)[:, None, None]
    margins = np.abs(flat + candidates.astype(np.float64) - 0.5).min(axis=0)
    clearest: Array32 = candidates[np.argmax(margins, axis=0), np.arange(spec.N)]
    return clearest


def _log2_spread(x: Array64, axis: tuple[int, ...] | None) -> npt.NDArray[np.float64]:
    """log2 of the standard deviation, rounded; 0 where x is constant."""
    spread = x.std(axis=axis)
    return np.clip(np.rint(np.log2(np.where(spread > 0, spread, 1.0))), -6, 10)


def _quarters(rng: np.random.Generator, size: int) -> Array64:
    return rng.integers(-8, 9, size) / 4
