"""The many ways in which exporters write one and the same binarized layer.

:func:`spell` writes a :class:`LayerSpec` in the named way; what the name leaves open (opset,
symbolic batch, Sum or Add, Pad node or attribute ...) is drawn from ``seed``. For an exact spec
all of them have equal outputs, apart from the sign of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from .graph import OPSETS, GraphBuilder
from .layer_spec import LayerSpec
from .layer_values import BatchNorm, LayerValues, realize_spec
from .spell_activations import SUM_ONLY, emit_bases, emit_sum
from .spell_weights import Affine, emit_convolution
from .writer import Writer


@dataclass(frozen=True)
class Spelling:
    """Which form each part of a layer takes; None leaves it to the seed."""

    activation: str | None = None
    weights: str | None = None
    bn: str | None = None
    nhwc: bool = False


SPELLINGS: dict[str, Spelling] = {
    "sign_clip": Spelling("sign_clip", "planes"),
    "greater_equal": Spelling("greater_equal", "planes"),
    "alpha_in_weights": Spelling(None, "alpha_in_weights"),
    "dense_weights": Spelling("greater_equal", "dense"),
    "float_weights": Spelling(None, "sign_of_float"),
    "where": Spelling("where", None),
    "cast": Spelling("cast", None),
    "stack": Spelling("stack", "dense"),
    "broadcast": Spelling("broadcast", "dense"),
    "larq": Spelling("larq", None),
    "bipolar_quant": Spelling("bipolar_quant", "bipolar_quant"),
    "quant": Spelling("quant", "quant"),
    "batch_norm": Spelling(None, None, "batch_norm"),
    "bn_mul_add": Spelling(None, None, "mul_add"),
    "bn_folded": Spelling(None, None, "folded"),
    "nhwc": Spelling(None, None, None, nhwc=True),
}
QONNX_SPELLINGS = frozenset({"bipolar_quant", "quant"})
# Sign(0) is 0, and Quant rounds 0.5 to 0: neither is the paper's >= on a tie.
NO_TIES = frozenset({"sign_clip", "quant"})
FREE_ACTIVATIONS = ("greater_equal", "where", "cast", "larq", "stack", "broadcast", "sign_clip")
FREE_WEIGHTS = ("planes", "alpha_in_weights", "dense", "sign_of_float")
BN_FORMS = ("batch_norm", "mul_add", "folded")


def spellings_for(spec: LayerSpec, qonnx: bool = True) -> list[str]:
    """Names of the spellings that mean ``spec`` exactly, in a fixed order."""
    ties = any(layer.ties for layer in spec.chain)
    return [
        name
        for name in SPELLINGS
        if not (ties and name in NO_TIES) and (qonnx or name not in QONNX_SPELLINGS)
    ]


def spell(spec: LayerSpec, spelling: str, seed: int) -> onnx.ModelProto:
    """The layer (and those in ``then``) as a model, spelled as named; NCHW in and out.

    Raises ValueError when the spelling is unknown or wrong on the spec's ties.
    """
    if spelling not in spellings_for(spec):
        raise ValueError(f"spelling {spelling!r} is unknown or cannot express this spec")
    rng = np.random.default_rng([seed, 3])
    builder = GraphBuilder(int(rng.choice(OPSETS)), constant_nodes=bool(rng.random() < 0.2))
    writer = Writer(builder, rng, nhwc=SPELLINGS[spelling].nhwc)
    values = realize_spec(spec)
    result = emit_chain(writer, spec, values, writer.enter("input"), SPELLINGS[spelling])
    return builder.finish(
        writer.leave(result),
        spec.input_shape,
        spec.chain[-1].output_shape,
        symbolic_batch=bool(rng.random() < 0.5),
    )


def emit_chain(
    writer: Writer,
    spec: LayerSpec,
    values: tuple[LayerValues, ...],
    x: str,
    spelling: Spelling,
    first_bn_done: bool = False,
) -> str:
    """Append every layer of the chain; the name of the last one's output.

    With ``first_bn_done`` the caller has folded the first layer's BN into what makes ``x``.
    """
    layers = spec.chain
    skip_bn = first_bn_done
    for i, (layer, layer_values) in enumerate(zip(layers, values, strict=True)):
        bn_form = spelling.bn or str(writer.pick(BN_FORMS))
        following = layers[i + 1] if i + 1 < len(layers) else None
        fold = bn_form == "folded" and following is not None and can_fold(layer, following)
        affine = Affine.identity(layer.out_channels)
        if fold:
            next_bn = values[i + 1].bn
            affine = Affine(next_bn.scale, next_bn.shift) if next_bn else affine
        bn = None if skip_bn else layer_values.bn
        x = _emit_layer(writer, layer, layer_values, x, spelling, bn, bn_form, affine)
        skip_bn = fold
    return x


def can_fold(layer: LayerSpec, following: LayerSpec) -> bool:
    """Whether the second layer's BN directly follows the first one's convolution."""
    plain = layer.post is None and not layer.residual
    return plain and following.bn and following.pool is None and not following.residual


def _emit_layer(
    writer: Writer,
    spec: LayerSpec,
    values: LayerValues,
    x: str,
    spelling: Spelling,
    bn: BatchNorm | None,
    bn_form: str,
    affine: Affine,
) -> str:
    if spec.pool is not None:
        size, stride, pad = spec.pool
        x = writer.nchw_op(
            "MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4
        )
    shortcut = x
    if bn is not None:
        x = emit_bn(writer, bn, x, bn_form)

    free_activations = [form for form in FREE_ACTIVATIONS if not (spec.ties and form in NO_TIES)]
    free_weights = list(FREE_WEIGHTS)
    if spelling.weights == "planes":
        free_activations = [form for form in free_activations if form not in SUM_ONLY]
    activation = spelling.activation or str(writer.pick(free_activations))
    if activation in SUM_ONLY:
        free_weights.remove("planes")
    weights = spelling.weights or str(writer.pick(free_weights))
    if weights == "planes" or (
        weights == "alpha_in_weights" and activation not in SUM_ONLY and writer.flip()
    ):
        planes = emit_bases(writer, x, values.v, activation)
        betas = [float(b) for b in values.beta]
    else:
        planes = [emit_sum(writer, x, values.v, values.beta, activation)]
        betas = [1.0]
    x = emit_convolution(writer, spec, values, planes, betas, weights, affine)
    if spec.residual:
        x = writer.op("Add", *((x, shortcut) if writer.flip() else (shortcut, x)))
    if spec.post == "relu":
        x = writer.op("Relu", x)
    elif values.slope is not None:
        x = writer.op("PRelu", x, writer.channels(values.slope))
    return x


def emit_bn(writer: Writer, bn: BatchNorm, x: str, form: str) -> str:
    """BN as BatchNormalization, or as Mul and Add in one of three ways."""
    if form == "batch_norm":
        parameters = [writer.const(a) for a in (bn.gamma, bn.beta, bn.mean, bn.var)]
        return writer.nchw_op("BatchNormalization", x, *parameters, epsilon=bn.epsilon)
    way = int(writer.pick((0, 1, 2)))
    if way == 0:
        scaled = writer.op("Mul", x, writer.channels(bn.scale))
        return writer.op("Add", scaled, writer.channels(bn.shift))
    centred = writer.op("Sub", x, writer.channels(bn.mean))
    if way == 1:
        scaled = writer.op("Mul", centred, writer.channels(bn.scale))
    else:
        normal = writer.op("Div", centred, writer.channels(bn.sigma))
        scaled = writer.op("Mul", normal, writer.channels(bn.gamma))
    return writer.op("Add", scaled, writer.channels(bn.beta))
