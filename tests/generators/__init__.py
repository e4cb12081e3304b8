"""Seeded random ONNX networks in every spelling that exporters write.

- :func:`random_layer`, :func:`random_network`: one layer, a chain of them, from a seed.
- :func:`spell`: one :class:`LayerSpec` in a named spelling; :func:`spellings_for` names them.
- :data:`FAMILIES`: small networks of other binarized families, by name.
"""

from __future__ import annotations

from .families import FAMILIES
from .graph import GraphBuilder, is_qonnx
from .layer_spec import LayerSpec, draw_spec
from .layer_values import LayerValues, layer_input, realize_spec
from .random_layers import random_layer, random_spec
from .random_networks import Network, random_network
from .spellings import QONNX_SPELLINGS, SPELLINGS, spell, spellings_for

__all__ = [
    "FAMILIES",
    "QONNX_SPELLINGS",
    "SPELLINGS",
    "GraphBuilder",
    "LayerSpec",
    "LayerValues",
    "Network",
    "draw_spec",
    "is_qonnx",
    "layer_input",
    "random_layer",
    "random_network",
    "random_spec",
    "realize_spec",
    "spell",
    "spellings_for",
]
