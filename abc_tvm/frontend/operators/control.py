"""Control flow: an If whose condition is stored is one of its branches; all other is refused."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from abc_tvm.frontend.graph_edit import constant_of
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter
from abc_tvm.frontend.refusals.finite import check_finite


def inline_branches(model: onnx.ModelProto, label: str) -> bool:
    """Put, in place, the branch that is taken where an If with a stored condition stands.

    Bodies are seen by nothing but this: what is to be done to every node, as the check of stored
    numbers, is to be done again where this returns that there was one.

    Raises:
        UnsupportedError: Sparse tensors in a branch.
    """
    graph = model.graph
    if not any(_is_if(node) for node in graph.node):
        return False
    edit = Rewriter(model, label)
    changed = False
    for node in graph.node:
        if _is_if(node) and edit.value(node.input[0]) is not None:
            _inline(edit, node)
            changed = True
        else:
            edit.nodes.append(node)
    nodes = list(edit.nodes)
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def _is_if(node: onnx.NodeProto) -> bool:
    return node.op_type == "If" and not node.domain


def _inline(edit: Rewriter, node: onnx.NodeProto) -> None:
    """ONNX forbids a branch to use a name of the graph round it anew, but not one of another
    branch."""
    branch, graph = _branch(edit, node), edit.graph
    if branch.sparse_initializer:
        raise edit.refuse(node, "has sparse initializers in its branch; store them dense")
    taken = {out for other in (*graph.node, *edit.nodes) for out in other.output}
    taken |= {value.name for value in graph.input} | {t.name for t in graph.initializer}
    names = {}
    for tensor in branch.initializer:
        names[tensor.name] = edit.constant(numpy_helper.to_array(tensor), tensor.name)
    for inner in branch.node:
        value = constant_of(inner)
        if value is not None:
            names[inner.output[0]] = edit.constant(np.asarray(value), inner.output[0])
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        rename(copy, names)
        for index, out in enumerate(copy.output):
            if out in taken:
                names[out] = copy.output[index] = edit.fresh(out)
        edit.nodes.append(copy)
    for source, out in zip(branch.output, node.output, strict=True):
        if out:
            edit.op(node, "Identity", names.get(source.name, source.name), out=out)


def _if(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """One whose condition became a stored one when operators were rewritten."""
    if edit.value(node.input[0]) is None:
        raise edit.refuse(
            node, "takes a branch that only its run decides; export the model without control flow"
        )
    body = onnx.ModelProto()
    body.graph.CopyFrom(_branch(edit, node))
    check_finite(body, edit.label)
    _inline(edit, node)
    return True


def _branch(edit: Rewriter, node: onnx.NodeProto) -> onnx.GraphProto:
    condition = np.asarray(edit.value(node.input[0]))
    name = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    return next(attribute.g for attribute in node.attribute if attribute.name == name)


def rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Give the inputs of a node, and of all nodes in its graphs, the names that they have now."""
    for index, name in enumerate(node.input):
        node.input[index] = names.get(name, name)
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
            for inner in graph.node:
                rename(inner, names)
            for value in graph.output:
                value.name = names.get(value.name, value.name)


def rename_inside(node: onnx.NodeProto, names: dict[str, str], edit: Rewriter) -> None:
    """Give what a node's graphs make fresh names, and what they read those of ``names``."""
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
            known = dict(names)
            for inner in graph.node:
                for index, name in enumerate(inner.input):
                    inner.input[index] = known.get(name, name)
                rename_inside(inner, known, edit)
                for index, name in enumerate(inner.output):
                    if name:
                        known[name] = edit.fresh(f"{node.output[0]}/{name}")
                        inner.output[index] = known[name]
            for value in graph.output:
                value.name = known.get(value.name, value.name)


def _refuse(edit: Rewriter, node: onnx.NodeProto) -> bool:
    raise edit.refuse(node, "is control flow, which is not supported; export the model without it")


REWRITES: dict[str, Rewrite] = {"If": _if, "Loop": _refuse, "Scan": _refuse}
