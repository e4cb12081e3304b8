"""Spellings of ``sum_m alpha_m Conv(B_m, .)``, with what BN folding adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .layer_spec import LayerSpec
from .layer_values import Array64, LayerValues
from .spell_activations import quant
from .writer import Writer


@dataclass(frozen=True, eq=False)
class Affine:
    """``scale * y + shift`` per output channel: the BN folded into a convolution."""

    scale: Array64
    shift: Array64

    @staticmethod
    def identity(channels: int) -> Affine:
        """No BN: scale 1, shift 0."""
        return Affine(np.ones(channels), np.zeros(channels))


def emit_convolution(
    writer: Writer,
    spec: LayerSpec,
    values: LayerValues,
    planes: Sequence[str],
    betas: Sequence[float],
    form: str,
    affine: Affine,
) -> str:
    """``affine(sum_m sum_n alpha_m beta_n Conv(B_m, plane_n) + bias)``.

    The one plane may be the sum of all bases, with a beta of 1.
    """
    alpha = values.alpha_columns[..., 0, 0, 0] * affine.scale
    uniform = spec.per_channel is False and bool(np.all(affine.scale == 1))
    bias = affine.shift + (0 if values.bias is None else values.bias * affine.scale)
    if form == "dense":
        dense = np.einsum("mo,moikl->oikl", alpha, values.bases)
        in_conv = bias if np.any(bias) or writer.flip() else None
        return _conv(writer, spec, planes[0], writer.const(dense), in_conv)

    terms: list[str] = []
    for m, basis in enumerate(values.bases):
        column = alpha[m, :, None, None, None]
        size = alpha[m, 0] if uniform else alpha[m]
        for plane, beta in zip(planes, betas, strict=True):
            if form == "alpha_in_weights":
                terms.append(_conv(writer, spec, plane, writer.const(basis * column * beta)))
            elif form == "bipolar_quant":
                scale = writer.const(size if uniform else column)
                weight = writer.qonnx("BipolarQuant", _latent(writer, basis), scale)
                terms.append(_conv(writer, spec, plane, weight))
            elif form == "sign_of_float":
                weight = writer.op("Sign", _latent(writer, basis))
                factor = writer.const(size if uniform else column)
                terms.append(_conv(writer, spec, plane, writer.op("Mul", weight, factor)))
            else:
                weight = writer.const(basis)
                if form == "quant":
                    weight = quant(writer, weight, bits=2, signed=True, narrow=True)
                product = _conv(writer, spec, plane, weight)
                factor = writer.const(size) if uniform else writer.channels(size)
                terms.append(writer.scale(writer.op("Mul", product, factor), beta))
    total = writer.add_all(terms)
    return writer.op("Add", total, writer.channels(bias)) if np.any(bias) else total


def _latent(writer: Writer, basis: np.ndarray) -> str:
    """Real weights with the basis as their signs, as training leaves them."""
    return writer.const(basis * writer.rng.uniform(0.05, 1.0, basis.shape))


def _conv(writer: Writer, spec: LayerSpec, x: str, weight: str, bias: Array64 | None = None) -> str:
    x = writer.leave(x)
    pads = list(spec.pads)
    if any(pads) and writer.rng.random() < 0.2:
        amounts = writer.ints(0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3])
        x = writer.op("Pad", x, amounts, writer.const(0.0))
        pads = [0] * 4
    result = writer.op(
        "Conv",
        x,
        weight,
        *([] if bias is None else [writer.const(bias)]),
        kernel_shape=list(spec.kernel),
        strides=list(spec.strides),
        dilations=list(spec.dilations),
        pads=pads,
        group=spec.groups,
    )
    return writer.enter(result)
