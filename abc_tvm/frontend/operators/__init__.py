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

from collections.abc import Callable, Mapping, Sequence

import onnx

from abc_tvm.frontend.operators import (
    control,
    division,
    einsum,
    elementwise,
    functions,
    indexing,
    linear_quantization,
    normalisation,
    products,
    quantized,
    rearrange,
    reductions,
    shapes,
)
from abc_tvm.frontend.operators.images import convolution, padding, pooling, resize
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter


def one_table(tables: Sequence[Mapping[str, Rewrite]]) -> dict[str, Rewrite]:
    """All rewrites of all families.

    Raises:
        ValueError: Two families have an operator, and which rewrite counts would be their order's.
    """
    rewrites: dict[str, Rewrite] = {}
    for table in tables:
        twice = sorted(rewrites.keys() & table.keys())
        if twice:
            raise ValueError(f"two families of operators rewrite {', '.join(twice)}")
        rewrites.update(table)
    return rewrites


_FAMILIES = (
    control,
    convolution,
    division,
    einsum,
    elementwise,
    functions,
    indexing,
    linear_quantization,
    normalisation,
    padding,
    pooling,
    products,
    quantized,
    rearrange,
    reductions,
    resize,
    shapes,
)
REWRITES = one_table([family.REWRITES for family in _FAMILIES])

_ROUNDS = 8
"""More than any operator needs: a rewrite that makes another operator's node is one round."""


def rewrite_operators(
    model: onnx.ModelProto,
    label: str = "model",
    settle: Callable[[onnx.ModelProto], None] = lambda model: None,
    only: frozenset[str] | None = None,
) -> bool:
    """Rewrite, in place, the nodes that a rule of ``REWRITES`` takes; returns whether any was.

    Args:
        model: In standard operators, with constants folded.
        label: What messages call the model.
        settle: Folds constants; called after a round, because a rule may ask what it can fold.
        only: Outputs of nodes to look at; by default of all.

    Raises:
        UnsupportedError: A form of an operator that is not supported.
        ModelError: A node that breaks its operator's rules.
    """
    graph = model.graph
    todo = {_key(node) for node in graph.node if _has_rule(node)}
    todo &= todo if only is None else only
    changed = False
    rounds = 0
    while todo and rounds < _ROUNDS:
        edit = Rewriter(model, label)
        made: set[str] = set()
        replaced = False
        for node in graph.node:
            if edit.stale or not (_has_rule(node) and _key(node) in todo):
                edit.nodes.append(node)
                continue
            todo.remove(_key(node))
            before = len(edit.nodes)
            if REWRITES[node.op_type](edit, node):
                replaced = True
                made.update(_key(new) for new in edit.nodes[before:] if _has_rule(new))
            else:
                del edit.nodes[before:]
                edit.nodes.append(node)
        if replaced:
            nodes = list(edit.nodes)
            changed = True
            del graph.node[:]
            graph.node.extend(nodes)
            settle(model)
        rounds += not edit.stale
        todo |= made - edit.settled
        todo &= {_key(node) for node in graph.node if _has_rule(node)}
    return changed


def _key(node: onnx.NodeProto) -> str:
    """The first output that has a name: outputs may be left out, names are of one node alone."""
    return next((name for name in node.output if name), "")


def _has_rule(node: onnx.NodeProto) -> bool:
    return not node.domain and node.op_type in REWRITES and any(node.output)
