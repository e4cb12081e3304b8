"""What a layer multiplies with what, as the graph has it: weights, each with its tensors.

A sum of convolutions that became one layer has several weights; those that are multiples of one
another are one weight, and a sum of tensors that it is multiplied with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import Joined, moved_from
from abc_tvm.checks.opinion.weights import proportion


@dataclass(frozen=True)
class Factor:
    """``scale`` times a tensor of the graph, or some of its channels, read with one weight."""

    scale: float
    tensor: str
    channels: slice | None


Term = tuple[np.ndarray, list[Factor]]
"""A weight, and what it is multiplied with."""


def clusters(graph: OnnxGraph, form: Joined, channels: int) -> list[Term]:
    """Weights that are multiples of one another, with the tensors that they read."""
    read: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    stored: dict[str, np.ndarray] = {}
    same: dict[
        tuple[str, tuple[int, ...] | None], str
    ] = {}  # one transposition may be written twice
    for coefficient, layer in zip(form.coefficients, form.layers, strict=True):
        weight, pieces = layer.weight, 1
        if not layer.dense and weight.shape[1] > channels and weight.shape[1] % channels == 0:
            pieces = weight.shape[1] // channels
        data = same.setdefault(moved_from(graph, layer.data), layer.data)
        for i in range(pieces):
            name = f"{layer.stored} {i}"
            stored[name] = weight[:, i * channels : (i + 1) * channels] if pieces > 1 else weight
            scales = read.setdefault((data, i if pieces > 1 else -1), {})
            scales[name] = scales.get(name, 0) + coefficient
    clustered: list[tuple[dict[str, np.ndarray], list[Factor]]] = []
    for (tensor, i), scales in read.items():
        at = None if i < 0 else slice(i * channels, (i + 1) * channels)
        for reference, parts in clustered:
            factor = _multiple(scales, reference, stored)
            if factor is not None:
                parts.append(Factor(factor, tensor, at))
                break
        else:
            clustered.append((scales, [Factor(1.0, tensor, at)]))
    return [(_total(scales, stored), parts) for scales, parts in clustered]


def _multiple(
    scales: dict[str, np.ndarray], reference: dict[str, np.ndarray], stored: dict[str, np.ndarray]
) -> float | None:
    """``r`` where one sum of weights is ``r`` times another, up to rounding."""
    if scales.keys() == reference.keys():
        a, b = (np.stack([s[name] for name in reference]).T for s in (scales, reference))
    else:
        a, b = _total(scales, stored), _total(reference, stored)
    if a.shape != b.shape:
        return None
    factor = proportion(a, b)
    near = np.abs(a - factor * b).max(initial=0) <= 2.0**-19 * np.abs(a).max(initial=0)
    return factor if near else None


def _total(scales: dict[str, np.ndarray], stored: dict[str, np.ndarray]) -> np.ndarray:
    """float32 sum of weights, each times its scales ``[OC]``."""
    total: np.ndarray | None = None
    for name, scale in scales.items():
        weight = stored[name]
        column = scale.astype(np.float32).reshape((-1,) + (1,) * (weight.ndim - 1))
        total = weight * column if total is None else total + weight * column
    return np.asarray(total)
