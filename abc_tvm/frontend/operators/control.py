"""Control flow: an If whose condition is stored is one of its branches; all other is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from abc_tvm.frontend.graph_edit import constant_of
from abc_tvm.frontend.operators.rewriter import Rewriter


def _if(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """ONNX forbids a branch to use a name of the graph round it anew, so its nodes just move."""
    condition = edit.value(node.input[0])
    if condition is None:
        raise edit.refuse(
            node, "takes a branch that only its run decides; export the model without control flow"
        )
    name = "then_branch" if bool(np.asarray(condition).reshape(-1)[0]) else "else_branch"
    branch = next(attribute.g for attribute in node.attribute if attribute.name == name)
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
        edit.nodes.append(copy)
    for source, out in zip(branch.output, node.output, strict=True):
        if out:
            edit.op(node, "Identity", names.get(source.name, source.name), out=out)
    return True


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


REWRITES: dict[str, Any] = {"If": _if, "Loop": _refuse, "Scan": _refuse}
