"""Random networks: 2 to 6 binarized layers in a row, float stem and classifier or not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx

from abc_tvm.reference import conv2d

from .graph import OPSETS, GraphBuilder
from .layer_spec import LayerSpec, draw_channels, draw_spec
from .layer_values import (
    Array32,
    Array64,
    LayerValues,
    NotExactError,
    layer_input,
    realize_chain,
    require_exact,
)
from .random_layers import MIN_MARGIN
from .spell_weights import Affine
from .spellings import NO_TIES, QONNX_SPELLINGS, SPELLINGS, Spelling, emit_chain
from .writer import Writer

CLASSES = 10


class Network(NamedTuple):
    """A model, one input for it, and a line that says what it is."""

    model: onnx.ModelProto
    inputs: dict[str, Array32]
    description: str

    @property
    def exact(self) -> bool:
        """Whether every correct build must agree bit for bit."""
        return self.description.startswith("exact")


class _Plan(NamedTuple):
    x: Array32
    stem: Array64 | None
    spec: LayerSpec
    values: tuple[LayerValues, ...]


def random_network(seed: int, exact: bool | None = None, qonnx: bool = False) -> Network:
    """A network of 2 to 6 binarized layers with residuals, pools and BN, spelled at random.

    ``exact`` None draws it (70 % exact). QONNX operators appear only with ``qonnx``.
    """
    rng = np.random.default_rng([seed, 10])
    if exact is None:
        exact = bool(rng.random() < 0.7)
    depth = int(rng.integers(2, 7))
    with_stem = bool(rng.random() < 0.6)
    plan = _draw_plan(rng, exact, depth, with_stem)
    return _write(rng, plan, exact, qonnx, seed)


def _draw_plan(rng: np.random.Generator, exact: bool, depth: int, with_stem: bool) -> _Plan:
    while True:
        first = draw_spec(rng, exact=exact)
        x = layer_input(first)
        shape = first.input_shape
        stem = None
        real = x.astype(np.float64)
        try:
            if with_stem:
                in_channels = int(rng.integers(1, 5))
                x = np.ascontiguousarray(np.resize(x, (shape[0], in_channels, *shape[2:])))
                size = (draw_channels(rng), in_channels, 3, 3)
                stem = rng.integers(-4, 5, size) / 4 if exact else rng.normal(0, 0.3, size)
                stem = stem.astype(np.float32).astype(np.float64)
                real = conv2d(x, stem, 1, 1)
                if exact:
                    require_exact(real)
            spec = draw_spec(
                rng,
                exact=exact,
                input_shape=real.shape,
                chain=depth,
                force_bn=with_stem and not exact,
            )
            values = realize_chain(spec, real)
        except NotExactError:
            continue
        if exact or min(layer.margin for layer in values) >= MIN_MARGIN:
            return _Plan(x, stem, spec, values)


def _write(rng: np.random.Generator, plan: _Plan, exact: bool, qonnx: bool, seed: int) -> Network:
    ties = any(layer.ties for layer in plan.spec.chain)
    names = [
        name
        for name in SPELLINGS
        if not (ties and name in NO_TIES) and (qonnx or name not in QONNX_SPELLINGS)
    ]
    spelling_name = str(rng.choice([*names, "mixed"]))
    spelling = SPELLINGS.get(spelling_name, Spelling())
    builder = GraphBuilder(int(rng.choice(OPSETS)), constant_nodes=bool(rng.random() < 0.2))
    writer = Writer(builder, rng, nhwc=spelling.nhwc)
    x = writer.enter("input")
    folded = False
    if plan.stem is not None:
        first, bn = plan.spec, plan.values[0].bn
        folded = bn is not None and first.pool is None and not first.residual and writer.flip()
        affine = Affine.identity(len(plan.stem))
        if folded and bn is not None:
            affine = Affine(bn.scale, bn.shift)
        weight = writer.const(plan.stem * affine.scale[:, None, None, None])
        x = writer.nchw_op(
            "Conv", x, weight, writer.const(affine.shift), kernel_shape=[3, 3], pads=[1] * 4
        )
    x = writer.leave(emit_chain(writer, plan.spec, plan.values, x, spelling, folded))
    output_shape: tuple[int, ...] = plan.spec.chain[-1].output_shape
    with_head = bool(rng.random() < 0.5)
    if with_head:
        x = _head(writer, x, output_shape, exact)
        output_shape = (output_shape[0], CLASSES)
    model = builder.finish(x, plan.x.shape, output_shape, symbolic_batch=writer.flip())
    parts = [
        "exact" if exact else "inexact",
        f"seed {seed}",
        f"{len(plan.spec.chain)} layers",
        f"spelling {spelling_name}",
        f"stem {plan.stem is not None}",
        f"head {with_head}",
        f"{plan.spec}",
    ]
    return Network(model, {"input": plan.x}, ", ".join(parts))


def _head(writer: Writer, x: str, shape: tuple[int, ...], exact: bool) -> str:
    """Global pooling and a float classifier; the mean only where dividing by H*W is exact."""
    area = shape[2] * shape[3]
    mean = not exact or area in (1, 2, 4, 8, 16)
    x = writer.op("GlobalAveragePool" if mean else "GlobalMaxPool", x)
    x = writer.op("Flatten", x, axis=1)
    weight = writer.rng.integers(-2, 3, (CLASSES, shape[1])) / 2
    if not exact:
        weight = weight + writer.rng.normal(0, 0.1, weight.shape)
    bias = writer.const(writer.rng.integers(-4, 5, CLASSES) / 4)
    return writer.op("Gemm", x, writer.const(weight), bias, transB=1)
