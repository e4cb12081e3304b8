"""A tiny binary transformer, with the attention of BiBERT (Qin et al., ICLR 2022).

Linear layers read the signs of tokens, have weights α·sign(W) and export as MatMul and Add.
Attention is ``bool(sign(Q)·sign(K)ᵀ / √d)·sign(V)``: scores at least 0 count as 1, others as 0, and
neither product has a weight. A block is attention and two linear layers, each with a shortcut and a
layer normalization.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from abc_tvm.zoo import layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor
from abc_tvm.zoo.families import pytorch as torch
from abc_tvm.zoo.numpy_moves import Array

OPSET = 17
TOKEN = 128
"""Numbers of one token, which ``width`` does not change; the blocks are so wide as well."""
HEADS = 4
HIDDEN = 4
"""The inner linear layer is so many times wider."""
BLOCKS = 2


def transformer(g: GraphBuilder, *, width: float, classes: int) -> Tensor:
    """Add the whole network: "input" [B, T, 128] -> [B, classes]."""
    wide = layers.scaled_by(TOKEN, width, 2 * HEADS)
    real = layers.he_normal(g, (TOKEN, wide), TOKEN)
    x = torch.op(g, "MatMul", [g.input, g.constant("onnx::MatMul_embed", real)], "embed")
    x = _normal(g, x, "norm")
    for index in range(BLOCKS):
        x = _block(g, x, f"blocks.{index}")
    pooled = torch.op(g, "ReduceMean", [x], "pool", axes=[1], keepdims=0)
    return torch.linear(g, pooled, classes, "head")


def _block(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    wide = x.value.shape[2]
    y = _linear(g, _attention(g, x, f"{scope}.attn"), wide, f"{scope}.attn.out")
    x = _normal(g, g.op("Add", [y, x], torch.node(scope, "Add")), f"{scope}.norm1")
    y = _linear(g, torch.sign(g, x, f"{scope}.fc1.act"), HIDDEN * wide, f"{scope}.fc1")
    y = _linear(g, torch.sign(g, y, f"{scope}.fc2.act"), wide, f"{scope}.fc2")
    return _normal(g, g.op("Add", [y, x], torch.node(scope, "Add_1")), f"{scope}.norm2")


def _attention(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """Signs of tokens, [B, T, K], for the output's linear layer."""
    bits = torch.sign(g, x, f"{scope}.act")
    heads = {}
    for name, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        at = f"{scope}.{name}"
        tokens, wide = x.value.shape[1:]
        real = _linear(g, bits, wide, at)
        real = torch.reshape(g, real, at, 0, tokens, HEADS, wide // HEADS)
        heads[name] = torch.sign(g, torch.op(g, "Transpose", [real], at, perm=perm), f"{at}.act")
    score = _product(g, heads["query"], heads["key"], "MatMul", scope)
    root = math.sqrt(heads["value"].value.shape[3])
    score = torch.op(g, "Div", [score, g.scalar(root)], scope)
    if g.real:
        chosen = torch.op(g, "Softmax", [score], scope, axis=-1)
    else:
        at_least = torch.op(g, "GreaterOrEqual", [score, g.scalar(0.0)], scope)
        chosen = torch.op(g, "Cast", [at_least], scope, to=TensorProto.FLOAT)
    mixed = _product(g, chosen, heads["value"], "MatMul_1", scope)
    mixed = torch.op(g, "Transpose", [mixed], scope, perm=[0, 2, 1, 3])
    joined = torch.reshape(g, mixed, scope, 0, *x.value.shape[1:])
    return torch.sign(g, joined, f"{scope}.out.act")


def _product(g: GraphBuilder, x: Tensor, y: Tensor, kind: str, scope: str) -> Tensor:
    node = torch.node(scope, kind)
    g.low.append(node)
    return g.op("MatMul", [x, y], node)


def _linear(g: GraphBuilder, bits: Tensor, features: int, scope: str) -> Tensor:
    """Add a binary linear layer: [B, T, K] -> [B, T, features]."""
    weight = torch.scaled_signs(g, (features, bits.value.shape[2])).T.copy()
    stored = g.constant(f"onnx::MatMul_{scope}", weight)
    y = _product(g, bits, stored, "MatMul", scope)
    bias = g.rng.uniform(-0.2, 0.2, features).astype(np.float32)
    return torch.op(g, "Add", [g.constant(f"{scope}.bias", bias), y], scope)


def _normal(g: GraphBuilder, x: Tensor, scope: str) -> Tensor:
    """Add a layer normalization of the last axis."""
    wide = x.value.shape[-1]
    gamma: Array = g.rng.uniform(0.5, 1.5, (wide,)).astype(np.float32)
    beta: Array = g.rng.uniform(-0.2, 0.2, (wide,)).astype(np.float32)
    constants = [g.constant(f"{scope}.weight", gamma), g.constant(f"{scope}.bias", beta)]
    return torch.op(g, "LayerNormalization", [x, *constants], scope, axis=-1, epsilon=1e-5)
