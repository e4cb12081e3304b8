"""Straight-through estimators spelled with ``detach``: ``(a − x) + x`` becomes ``a``.

Training code writes ``x + (sign(x) - x).detach()`` so that the forward value is sign(x) and the
gradient that of x. Exporters drop the detach and keep the arithmetic, whose rounding turns two
values into thousands near them. In real arithmetic both differences cancel; what is left is the
step function that was meant.

Pattern::

    Add(Sub(a, x), x)    Add(x, Sub(a, x))

Refusals: ``a`` does not come from ``x``'s own source through element-wise operators within
``REACH`` steps (then the sum is somebody's arithmetic, not an estimator); the difference is read
elsewhere or is an output; the graph has subgraphs (If, Loop), which could read any of it.
"""

from __future__ import annotations

from collections import Counter

import onnx

from abc_tvm.frontend.graph_edit import graph_outputs
from abc_tvm.frontend.onnx_file import all_nodes, subgraphs

REACH = 16
_STEPS = frozenset(
    ["Sign", "Round", "Floor", "Ceil", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"]
)
_ELEMENT_WISE = _STEPS | frozenset(
    ["Abs", "Add", "Cast", "Clip", "Div", "HardSigmoid", "Identity", "Max", "Min", "Mul",
     "Neg", "Not", "Relu", "Sub", "Tanh", "Where", "Xor", "And", "Or"]
)  # fmt: skip


def remove_straight_through(model: onnx.ModelProto) -> bool:
    """Rewrite the pattern in place, wherever it is; returns whether it was anywhere."""
    graph = model.graph
    if any(True for node in graph.node for _ in subgraphs(node)):
        return False
    makers = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in all_nodes(graph) for name in node.input)
    outputs = set(graph_outputs(graph))
    renamed: dict[str, str] = {}
    kept = []
    changed = False
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        step = _step_of(node, makers, readers, outputs)
        changed = changed or step is not None
        if step is None:
            kept.append(node)
        elif node.output[0] in outputs:
            kept.append(onnx.helper.make_node("Identity", [step], [node.output[0]], node.name))
        else:
            renamed[node.output[0]] = step
    if changed:
        del graph.node[:]
        graph.node.extend(kept)
    return changed


def _step_of(
    node: onnx.NodeProto,
    makers: dict[str, onnx.NodeProto],
    readers: Counter[str],
    outputs: set[str],
) -> str | None:
    """``a`` of the pattern, or None."""
    if node.op_type != "Add" or node.domain:
        return None
    for difference, x in (node.input, tuple(reversed(node.input))):
        sub = makers.get(difference)
        if sub is None or sub.op_type != "Sub" or sub.domain or sub.input[1] != x:
            continue
        if readers[difference] != 1 or difference in outputs:
            continue
        if _comes_from(sub.input[0], x, makers):
            return str(sub.input[0])
    return None


def _comes_from(a: str, x: str, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether ``a`` is a step function of ``x``, or of what ``x`` itself is made from."""
    sources = {x}
    front = [x]
    for _ in range(REACH):
        front = [n for name in front for n in _operands(name, makers)]
        sources.update(front)
    stepped = False
    front = [a]
    for _ in range(REACH):
        stepped = stepped or any(n in makers and makers[n].op_type in _STEPS for n in front)
        front = [n for name in front for n in _operands(name, makers)]
        if stepped and sources.intersection(front):
            return True
    return False


def _operands(name: str, makers: dict[str, onnx.NodeProto]) -> list[str]:
    node = makers.get(name)
    if node is None or node.domain or node.op_type not in _ELEMENT_WISE:
        return []
    return [n for n in node.input if n]
