"""Operators that TVM's importer lacks or gets wrong, made explicit in ONNX before it sees them.

``REWRITES`` names a function for each such operator; each family of operators is one file beside
this one, with a table of its own. A function looks at one node, whose inputs' shapes and types are
known where ONNX infers them, and does one of three things:

- it returns ``False``: the importer does this form right, so the node stays as it is;
- it adds nodes that compute the same (``edit.op``) and returns ``True``: they take the node's
  place, and are looked at in their turn;
- it raises ``edit.refuse(node, why)``: nobody does this form right.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from abc_tvm.frontend.operators import (
    convolution,
    elementwise,
    functions,
    indexing,
    normalisation,
    padding,
    pooling,
    quantized,
    rearrange,
    reductions,
    resize,
)
from abc_tvm.frontend.operators.rewriter import Rewriter

Rewrite = Callable[[Rewriter, onnx.NodeProto], bool]

REWRITES: dict[str, Rewrite] = {
    **elementwise.REWRITES,
    **functions.REWRITES,
    **indexing.REWRITES,
    **quantized.REWRITES,
    **reductions.REWRITES,
    **convolution.REWRITES,
    **normalisation.REWRITES,
    **padding.REWRITES,
    **pooling.REWRITES,
    **rearrange.REWRITES,
    **resize.REWRITES,
}

_ROUNDS = 8
"""More than any operator needs: a rewrite that makes another operator's node is one round."""


def rewrite_operators(
    model: onnx.ModelProto, label: str = "model", only: frozenset[str] | None = None
) -> bool:
    """Rewrite, in place, the nodes that a rule of ``REWRITES`` takes; returns whether any was.

    Args:
        model: In standard operators, with constants folded.
        label: What messages call the model.
        only: Outputs of nodes to look at; by default of all.

    Raises:
        UnsupportedError: A form of an operator that is not supported.
        ModelError: A node that breaks its operator's rules.
    """
    graph = model.graph
    todo = {n.output[0] for n in graph.node if _has_rule(n)}
    todo &= todo if only is None else only
    changed = False
    rounds = 0
    while todo and rounds < _ROUNDS:
        edit = Rewriter(model, label)
        made: set[str] = set()
        for node in graph.node:
            if edit.stale or not (_has_rule(node) and node.output[0] in todo):
                edit.nodes.append(node)
                continue
            todo.remove(node.output[0])
            before = len(edit.nodes)
            if REWRITES[node.op_type](edit, node):
                made.update(name for new in edit.nodes[before:] for name in new.output[:1])
            else:
                del edit.nodes[before:]
                edit.nodes.append(node)
        nodes = list(edit.nodes)
        if made or len(nodes) != len(graph.node):
            changed = True
            del graph.node[:]
            graph.node.extend(nodes)
        rounds += not edit.stale
        todo |= made - edit.settled
        todo &= {n.output[0] for n in graph.node if _has_rule(n)}
    return changed


def _has_rule(node: onnx.NodeProto) -> bool:
    return not node.domain and node.op_type in REWRITES and bool(node.output)
