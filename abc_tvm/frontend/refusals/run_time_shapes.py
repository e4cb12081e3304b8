"""Operators whose result's shape is not known when the network is compiled are refused by name.

1. A shape, axes or bounds that only the numbers of a run decide. What is computed from shapes alone
   (Shape, Gather, Concat …) is none of these.
2. An open batch that meets another extent: an Add of ``[N, 3]`` and ``[5, 3]`` is right where N is
   1 or 5, and TVM then knows nothing of the result.
3. Whatever else the importer leaves without a shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.graph_edit import describe
from abc_tvm.frontend.operators.rewriter import Rewriter

if TYPE_CHECKING:
    import tvm
    from tvm import relax
    from tvm.ir import Type

SHAPING: dict[str, dict[int, str]] = {
    "BlackmanWindow": {0: "size"},
    "ConstantOfShape": {0: "shape"},
    "Expand": {1: "shape"},
    "HammingWindow": {0: "size"},
    "HannWindow": {0: "size"},
    "Range": {0: "start", 1: "limit", 2: "delta"},
    "Reshape": {1: "shape"},
    "Slice": {1: "starts", 2: "ends", 3: "axes", 4: "steps"},
    "Split": {1: "sizes"},
    "Squeeze": {1: "axes"},
    "Tile": {1: "repeats"},
    "Unsqueeze": {1: "axes"},
}
"""Per operator, the inputs that decide a shape."""

BROADCASTING = frozenset(
    [
        *("Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal"),
        *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul"),
        *("Or", "Pow", "PRelu", "Sub", "Sum", "Where", "Xor"),
    ]
)

_ASK_SHAPES = ("Shape", "Size")


def check_run_time_shapes(model: onnx.ModelProto, label: str) -> None:
    """Cases 1 and 2, before the importer sees the model.

    Raises:
        UnsupportedError: With the node, the operator and the input.
    """
    computed = {value.name for value in model.graph.input}
    for node in model.graph.node:
        for index, what in SHAPING.get(node.op_type, {}).items():
            if index < len(node.input) and node.input[index] in computed:
                raise UnsupportedError(
                    f"{label}: {describe(node)} computes its {what} at run time from "
                    f"{node.input[index]!r}; export it as a constant"
                )
        random = node.op_type.startswith(("Random", "Bernoulli", "Multinomial"))
        if node.op_type not in _ASK_SHAPES and (random or computed.intersection(node.input)):
            computed.update(name for name in node.output if name)
    known = Rewriter(model, label)
    # What else is called by a name in the model's own declarations may be any number.
    opened = {d for value in model.graph.input for d in known.shapes[value.name] if type(d) is str}
    if opened:
        for node in model.graph.node:
            _check_open(known, node, opened)


def _check_open(known: Rewriter, node: onnx.NodeProto, opened: set[str]) -> None:
    if node.op_type not in BROADCASTING:
        return
    shapes = [known.shapes.get(name, ()) for name in node.input if name]
    for axis in range(1, 1 + max(map(len, shapes), default=0)):
        extents = {shape[-axis] for shape in shapes if len(shape) >= axis}
        names = sorted(opened & {d for d in extents if isinstance(d, str)})
        number = max((d for d in extents if isinstance(d, int)), default=1)
        if names and number > 1:
            raise known.refuse(
                node,
                f"meets an axis of {number} with one that is open ({names[0]}): their result has "
                "no known shape; compile with a fixed batch (--batch)",
            )


def check_known_shapes(module: tvm.IRModule, label: str) -> None:
    """Case 3, of an imported module.

    Raises:
        UnsupportedError: With the operator, as TVM names it, and the shapes of its operands.
    """
    from abc_tvm.relay_passes.rewrite import bindings, op_name

    for _, value in bindings(module["main"]):
        if all(kind.shape is not None for kind in _tensors(value.ty)):
            continue
        operands = [arg for arg in getattr(value, "args", []) for _ in _tensors(arg.ty)]
        shapes = ", ".join(_shown(arg.ty.shape) for arg in operands)
        raise UnsupportedError(
            f"{label}: the shape of what operator {op_name(value) or 'call'} makes of {shapes} is "
            "not known before the network runs; fix the batch (--batch), or export the network "
            "with fixed shapes"
        )


def _shown(shape: relax.Expr | None) -> str:
    """A shape as users write it: its numbers and names."""
    if shape is None:
        return "?"
    return f"[{', '.join(str(getattr(extent, 'value', extent)) for extent in shape)}]"


def _tensors(kind: Type) -> Iterator[relax.TensorType]:
    """The tensors of a type, which may be a tuple."""
    from tvm import relax

    if isinstance(kind, relax.TensorType):
        yield kind
    for field in getattr(kind, "fields", ()):
        yield from _tensors(field)
