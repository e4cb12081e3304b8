"""Questions about a traced network (``torch.fx``) that ``binarize`` asks."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from abc_tvm.errors import UnsupportedError
from abc_tvm.nn.activation import ABCActivation
from abc_tvm.nn.weight import ABCWeight

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardtanh, nn.SiLU, nn.GELU,
              nn.Hardswish, nn.ELU, nn.Tanh)  # fmt: skip
NEUTRAL = (nn.Identity, nn.Dropout, nn.Dropout2d)
POOLS = (nn.MaxPool2d,)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
LINEAR = (nn.Conv2d, nn.Linear)
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "rectifier": (F.relu, torch.relu, F.relu6, F.leaky_relu, F.hardtanh, F.silu, F.gelu, "relu",
                  "relu_", F.hardswish, F.elu, torch.tanh, F.tanh),
    "neutral": (F.dropout, F.dropout2d),
    "pool": (F.max_pool2d,),
    "reshape": (torch.flatten, "flatten", "view", "reshape"),
}  # fmt: skip
_MODULES = {
    "rectifier": RECTIFIERS,
    "neutral": NEUTRAL,
    "pool": POOLS,
    "reshape": (nn.Flatten,),
    "norm": NORMS,
    "linear": LINEAR,
}
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = isinstance(m, ABCWeight | ABCActivation)
        return ours or bool(super().is_leaf_module(m, module_qualified_name))


def trace(model: nn.Module) -> fx.GraphModule:
    """The network as a graph of its modules, over the same modules.

    Raises:
        UnsupportedError: its forward cannot be traced; the message says where.
    """
    try:
        return fx.GraphModule(model, _Tracer().trace(model), type(model).__name__)
    except Exception as error:  # anything: tracing runs the forward, which is the user's code
        raise UnsupportedError(
            f"{type(model).__name__}: torch.fx cannot trace its forward ({error}); rewrite it "
            "without control flow on tensors, or build the network from abc_tvm.nn layers"
        ) from error


def kind(graph: fx.GraphModule, node: fx.Node) -> str:
    """What a node is to ``binarize``: a key of the tables above, or ``"other"``."""
    if node.op == "call_module":
        module = graph.get_submodule(str(node.target))
        for name, classes in _MODULES.items():
            if isinstance(module, classes):
                return name
    elif node.op in ("call_function", "call_method"):
        for name, targets in _FUNCTIONS.items():
            if node.target in targets:
                return name
    return "other"


def source(node: fx.Node) -> fx.Node | None:
    """The node's tensor operand: its first argument."""
    first = node.args[0] if node.args else node.kwargs.get("input")
    return first if isinstance(first, fx.Node) else None


def chain(graph: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """``node`` and its sources, backwards, through operators of one operand with a known kind.

    Ends with the first that is a norm, linear or other: the last element.
    """
    nodes = [node]
    while kind(graph, nodes[-1]) in ("rectifier", "neutral", "pool", "reshape"):
        before = source(nodes[-1])
        if before is None:
            break
        nodes.append(before)
    return nodes
