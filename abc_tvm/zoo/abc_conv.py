"""The ABC convolution, spelled out as the paper's graph (ABC-Net, NIPS 2017, sections 3.1, 3.2).

For a real input R and real weights W::

    A_n = 2·[clip(R + v_n, 0, 1) ≥ 0.5] − 1                 R ≈ Σ_n β_n A_n
    B_m = sign(W − mean(W) + u_m·std(W)),  sign(0) = +1     W ≈ Σ_m α_m B_m
    conv(R, W) ≈ Σ_n β_n Σ_m α_m conv(A_n, B_m)

Every operation above is one ONNX node, M·N convolutions among them. Each B_m is one int8
initializer with one Cast, shared by all n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from abc_tvm.reference.bases import basis_shifts, on_grid, weight_bases
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.layers import he_normal, window
from abc_tvm.zoo.numpy_moves import Array

SCALE_SAMPLES = 4096
"""Normal samples for fitting β: few enough that symmetric thresholds get unequal β."""


def least_squares(bases: Array, target: Array) -> Array:
    """Return float64 coefficients [count] that minimise |target − Σ_i coefficient_i bases_i|.

    Solved through the normal equations: the bases are few and ±1, so their Gram matrix is exact
    and small, where the tall system would take seconds for a large layer. Bases that coincide
    share their coefficient (least norm).
    """
    tall = bases.reshape(len(bases), -1).astype(np.float64)
    return np.linalg.lstsq(tall @ tall.T, tall @ target.reshape(-1), rcond=None)[0]


@dataclass(frozen=True)
class Binarized:
    """The activation bases of one real tensor.

    Attributes:
        planes: A_1 … A_N, ±1, each of the real tensor's shape.
        beta: float32 [N].
    """

    planes: list[Tensor]
    beta: Array


def binarize(g: GraphBuilder, x: Tensor, count: int, name: str) -> Binarized:
    """Add the ``count`` step functions of x.

    The thresholds 0.5 − v_n are spread evenly over [-1, 1], or at 0 when there is one: x is
    expected to be normalized. β is fitted to a standard normal sample.
    """
    normal = g.rng.standard_normal(SCALE_SAMPLES)
    v = 0.5 - basis_shifts(count)
    steps = np.where(normal + v[:, None] >= 0.5, 1, -1)
    beta = _scales(g, least_squares(steps, normal))
    planes = []
    for n in range(count):
        at = f"{name}.A{n}"
        shift = g.constant(f"{at}.v", v[n].astype(np.float32))
        real = g.op("Add", [x, shift], f"{at}.shifted")
        real = g.op("Clip", [real, g.scalar(0.0), g.scalar(1.0)], f"{at}.clipped")
        bit = g.op("GreaterOrEqual", [real, g.scalar(0.5)], f"{at}.bit")
        real = g.op("Cast", [bit], f"{at}.real", to=TensorProto.FLOAT)
        real = g.op("Mul", [real, g.scalar(2.0)], f"{at}.doubled")
        planes.append(g.op("Sub", [real, g.scalar(1.0)], at))
    return Binarized(planes, beta)


def conv(
    g: GraphBuilder,
    x: Binarized,
    channels: int,
    bases: int,
    name: str,
    kernel: int,
    stride: int = 1,
    pad: int = 0,
) -> Tensor:
    """Add an ABC convolution with M = ``bases``: [B, C, H, W] -> [B, channels, H', W']."""
    shape = (channels, x.planes[0].channels, kernel, kernel)
    weight = he_normal(g, shape, math.prod(shape[1:]))
    return _combine(g, x, weight, bases, name, "Conv", **window(kernel, stride, pad))


def dense(g: GraphBuilder, x: Binarized, features: int, bases: int, name: str) -> Tensor:
    """Add an ABC dense layer with M = ``bases``, as MatMul nodes: [B, C] -> [B, features]."""
    channels = x.planes[0].channels
    weight = he_normal(g, (channels, features), channels)
    return _combine(g, x, weight, bases, name, "MatMul")


def _combine(
    g: GraphBuilder,
    x: Binarized,
    weight: Array,
    bases: int,
    name: str,
    kind: str,
    **attributes: Any,
) -> Tensor:
    """Add Σ_n β_n Σ_m α_m kind(A_n, B_m) for the bases of ``weight``."""
    signs = weight_bases(weight, bases).astype(np.int8)
    alpha = _scales(g, least_squares(signs, weight))
    scales = [g.constant(f"{name}.alpha{m}", alpha[m]) for m in range(bases)]
    filters = []
    for m in range(bases):
        stored = g.constant(f"{name}.B{m}.int8", signs[m])
        filters.append(g.op("Cast", [stored], f"{name}.B{m}", to=TensorProto.FLOAT))
    weighted = []
    for n, plane in enumerate(x.planes):
        terms = []
        for m in range(bases):
            at = f"{name}.A{n}B{m}"
            product = g.op(kind, [plane, filters[m]], at, **attributes)
            terms.append(g.op("Mul", [product, scales[m]], f"{at}.scaled"))
        total = _sum(g, terms, f"{name}.A{n}")
        scale = g.constant(f"{name}.beta{n}", x.beta[n])
        weighted.append(g.op("Mul", [total, scale], f"{name}.A{n}.scaled"))
    return _sum(g, weighted, name)


def _scales(g: GraphBuilder, fitted: Array) -> Array:
    return on_grid(fitted) if g.grid else fitted.astype(np.float32)


def _sum(g: GraphBuilder, terms: list[Tensor], name: str) -> Tensor:
    return g.op("Sum", terms, name) if len(terms) > 1 else terms[0]
