"""Normalise standard ONNX to what the importer handles well; the real expression does not change.

1. ``Constant`` nodes become initializers.
2. ``Identity``, and ``Dropout`` in inference, are removed.
3. ``CastLike`` becomes ``Cast`` (``cast_like``).
4. Straight-through spellings ``(a − x) + x`` become ``a`` (``straight_through``). Pools with
   ``ceil_mode`` get plain pads (``ceil_windows``).
5. Computed shapes become constants (``shape_values``); constant parts are evaluated (``fold``).
   Then an If whose condition is stored becomes its branch, and all of this is done to that too.
6. Operators that the importer lacks or gets wrong become explicit, float16 arithmetic too
   (``operators``).
7. Zero padding written as Pad moves into convolutions (``pads``).
8. Nodes and initializers that nothing reads are removed.
"""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.ceil_windows import forget_shapes, has_ceil_mode, is_ceil_pool
from abc_tvm.frontend.dialects.cast_like import settle_casts
from abc_tvm.frontend.dialects.straight_through import remove_straight_through
from abc_tvm.frontend.fold import fold_constants
from abc_tvm.frontend.graph_edit import (
    attributes,
    constant_of,
    describe,
    drop_unused_initializers,
    graph_outputs,
)
from abc_tvm.frontend.onnx_file import all_nodes, subgraphs
from abc_tvm.frontend.operators import rewrite_operators
from abc_tvm.frontend.operators.control import inline_branches
from abc_tvm.frontend.operators.half import widen_halves
from abc_tvm.frontend.operators.images.windows import known_image
from abc_tvm.frontend.operators.rewriter import Rewriter
from abc_tvm.frontend.pads import fold_pads
from abc_tvm.frontend.refusals.finite import check_finite
from abc_tvm.frontend.shape_values import resolve_shapes
from abc_tvm.frontend.whole_floats import read_as_floats


def simplify(model: onnx.ModelProto, label: str = "model") -> onnx.ModelProto:
    """A simpler model with the same inputs and outputs.

    Its values are the same bit for bit, but where a sum over stored tensors or a straight-through
    spelling was rounded: there they are the same real expression.

    Args:
        model: A checked model in standard operators; not changed.
        label: What messages call the model.

    Raises:
        UnsupportedError: A form of an operator that is not supported.
        ModelError: A stored tensor holds NaN, or infinity where it is no bound.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _settle(result, label)
    while inline_branches(result, label):
        _settle(result, label)
    _drop_dead_nodes(result)
    drop_unused_initializers(result)
    check_finite(result, label)  # before rewrites store infinities of their own
    rewritten = rewrite_operators(result, label, _settle_constants)
    widened = widen_halves(result, label)
    if read_as_floats(result, label) or widened or rewritten:
        _settle_constants(result)
    fold_pads(result)
    _drop_dead_nodes(result)
    drop_unused_initializers(result)
    _drop_stale_value_info(result)
    return result


def _settle(result: onnx.ModelProto, label: str) -> None:
    _lift_constants(result)
    _drop_identities(result)
    settle_casts(result)
    remove_straight_through(result)
    _settle_ceil_mode(result, label)
    _settle_constants(result)


def _settle_ceil_mode(model: onnx.ModelProto, label: str) -> None:
    """Give pools with ``ceil_mode`` plain pads before any shape behind them is followed."""
    if not has_ceil_mode(model):
        return
    forget_shapes(model)
    fold_constants(model)
    changed = True
    while changed:
        edit = Rewriter(model, label)
        pools = (node for node in model.graph.node if is_ceil_pool(node))
        known = frozenset(n.output[0] for n in pools if known_image(edit, n.input[0]))
        changed = bool(known) and rewrite_operators(model, label, only=known)
    left = next((node for node in model.graph.node if is_ceil_pool(node)), None)
    if left is not None and any(node.op_type == "Shape" for node in model.graph.node):
        raise UnsupportedError(
            f"{label}: {describe(left)} has ceil_mode on an image whose size the network computes; "
            "export it with fixed shapes"
        )


def _settle_constants(model: onnx.ModelProto) -> None:
    changed = True
    while changed:
        changed = fold_constants(model)
        changed = resolve_shapes(model) or changed


def _lift_constants(model: onnx.ModelProto) -> None:
    graph = model.graph
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        value = constant_of(node) if node.output[0] not in outputs else None
        if value is None:
            kept.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    _replace_nodes(graph, kept)


def _drop_identities(model: onnx.ModelProto) -> None:
    graph = model.graph
    outputs = {value.name for value in graph.output}
    # Names that a subgraph reads from outside stay as they are.
    captured = {
        name
        for node in graph.node
        for subgraph in subgraphs(node)
        for inner in all_nodes(subgraph)
        for name in inner.input
    }
    captured |= {n for node in graph.node for sub in subgraphs(node) for n in graph_outputs(sub)}
    producers = {name: node for node in graph.node for name in node.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if not _is_identity(node) or {*node.input, *node.output} & captured:
            kept.append(node)
            continue
        source, out = node.input[0], node.output[0]
        if out not in outputs:
            renamed[out] = source
            continue
        producer = producers.get(source)
        if producer is None or source in outputs:
            kept.append(node)
            continue
        # The graph's output keeps its name: rename the tensor where it is made.
        index = list(producer.output).index(source)
        producer.output[index] = out
        producers[out] = producer
        renamed[source] = out
        renamed = {old: out if new == source else new for old, new in renamed.items()}
        for reader in kept:
            for position, name in enumerate(reader.input):
                if name == source:
                    reader.input[position] = out
    _replace_nodes(graph, kept)


def _is_identity(node: onnx.NodeProto) -> bool:
    if node.domain or any(node.output[1:]):
        return False
    if node.op_type == "Identity":
        return True
    # Before opset 12 Dropout has no training input; the flag in attributes is older than opset 7.
    training = len(node.input) > 2 and bool(node.input[2])
    return node.op_type == "Dropout" and not training and "is_test" not in attributes(node)


def _drop_dead_nodes(model: onnx.ModelProto) -> None:
    graph = model.graph
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
            for subgraph in subgraphs(node):
                used.update(name for inner in all_nodes(subgraph) for name in inner.input)
                used.update(graph_outputs(subgraph))
    _replace_nodes(graph, kept[::-1])


def _drop_stale_value_info(model: onnx.ModelProto) -> None:
    graph = model.graph
    made = {name for node in graph.node for name in node.output}
    kept = [value for value in graph.value_info if value.name in made]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)
