"""Which tensors of the ONNX graph may stand still at a value: the checker's own account of atoms.

Simpler than that of the passes, and shares no code with it: inputs may stand still anywhere, sums
of layers at multiples of their scales; operators keep, set or lose that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from tvm import relax

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.opinion.anchors import CommonTensor
from abc_tvm.checks.opinion.known_atoms import KnownAtoms
from abc_tvm.checks.opinion.whole import TRUTHS

KEEPING = frozenset({
    "Concat", "DepthToSpace", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "ReduceMax",
    "ReduceMin", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose",
    "Unsqueeze", "Upsample",
})  # fmt: skip
"""Operators whose results are values of their inputs, and have atoms where these have."""

IN_PLACE = frozenset({"Identity", "MaxPool", "Resize", "Upsample"})
"""Of those, the ones that leave every channel where it is."""

FEW_VALUES = {"Sign": (-1.0, 0.0, 1.0), **dict.fromkeys(TRUTHS, (0.0, 1.0))}
"""Operators that have these results alone."""

MOST_VALUES = 64
"""Values of a constant that are remembered."""

SPREADING = frozenset({
    "Attention", "Conv", "ConvInteger", "ConvTranspose", "Einsum", "GRU", "Gemm",
    "GroupNormalization", "InstanceNormalization", "LRN", "LSTM", "LayerNormalization",
    "LogSoftmax", "LpNormalization", "MatMul", "MatMulInteger", "MeanVarianceNormalization", "RNN",
    "Softmax",
})  # fmt: skip
"""Operators that mix so many values that what comes out is spread continuously.

A layer's own sums are known by their integers. Of any other operator whose inputs may stand still
anywhere, so may the result: what is known of it does not matter.
"""


@dataclass(frozen=True)
class TensorAtoms:
    """Atoms of all tensors of a graph.

    ``anchors`` are tensors that variables of the compiled module make, ``sums`` the integer
    forms of these; ``values`` of tensors tell their shapes; what an ``opaque`` operator makes has
    the atoms that its inputs give it.
    """

    graph: OnnxGraph
    anchors: Sequence[CommonTensor]
    sums: Mapping[relax.Var, IntegerSums]
    values: Mapping[str, np.ndarray] | None
    opaque: frozenset[str]

    def all(self) -> dict[str, KnownAtoms]:
        """Atoms by tensor; one that is absent has none that are known."""
        known: dict[str, KnownAtoms] = {name: KnownAtoms(True) for name in self.graph.inputs}
        for anchor in self.anchors:
            forms = [self.sums[v] for v in anchor.variables if v in self.sums]
            if len(anchor.variables) == 1 and forms:
                scales = np.unique(np.abs(forms[0].scale))
                if len(scales) <= 16:
                    known[anchor.tensor] = KnownAtoms(scales=tuple(float(s) for s in scales if s))
            elif anchor.tensor not in known and self._kind_of(anchor.tensor) not in self.opaque:
                known[anchor.tensor] = KnownAtoms()
        for node in self.graph.nodes:
            names = [n for n in node.input if n and self.graph.constant(n) is None]
            if names:
                passed = self._passed(node, [known.get(n, KnownAtoms()) for n in names], names)
                for name in node.output:
                    known.setdefault(name, passed)
        return known

    def _kind_of(self, tensor: str) -> str:
        """The operator that makes a tensor."""
        at = self.graph.maker.get(tensor)
        return "" if at is None else str(self.graph.nodes[at].op_type)

    def _passed(
        self, node: onnx.NodeProto, inputs: list[KnownAtoms], names: list[str]
    ) -> KnownAtoms:
        """Atoms of a node's results, given those of its inputs that are no constants."""
        kind, first = node.op_type, inputs[0]
        if kind == "Pad":
            value = self._pad_value(node)
            kept = first.whole()
            return kept if value is None else replace(kept, values=kept.values | {value})
        if kind == "Concat":
            return self._put_together(node, inputs, names)
        if kind in KEEPING:
            return first if kind in IN_PLACE else first.whole()
        if kind in SPREADING:
            return KnownAtoms()
        if kind in FEW_VALUES:
            return KnownAtoms(values=frozenset(FEW_VALUES[kind]))
        if kind == "Where":
            return self._chosen(node, dict(zip(names, inputs, strict=True)))
        if kind in ("Add", "Sub"):
            return KnownAtoms(any(a.everywhere for a in inputs) and all(inputs))
        return KnownAtoms(all(a.everywhere for a in inputs))

    def _chosen(self, node: onnx.NodeProto, known: dict[str, KnownAtoms]) -> KnownAtoms:
        """Of the two tensors that a Where chooses from: what either has."""
        both = []
        for name in node.input[1:]:
            stored = self.graph.constant(name)
            if stored is None:
                both.append(known.get(name, KnownAtoms()).whole())
            else:
                few = np.unique(stored)[:MOST_VALUES]
                both.append(KnownAtoms(values=frozenset(float(v) for v in few)))
        first, second = both
        return KnownAtoms(
            first.everywhere or second.everywhere,
            tuple(sorted({*first.scales, *second.scales}))[:16],
            first.values | second.values,
        )

    def _pad_value(self, node: onnx.NodeProto) -> float | None:
        given = {a.name: a for a in node.attribute}
        mode = given["mode"].s if "mode" in given else b"constant"
        if mode != b"constant":
            return None
        if len(node.input) > 2 and node.input[2]:
            stored = self.graph.constant(node.input[2])
            return None if stored is None or stored.size != 1 else float(stored.reshape(()))
        return float(given["value"].f) if "value" in given else 0.0

    def _put_together(
        self, node: onnx.NodeProto, inputs: list[KnownAtoms], names: list[str]
    ) -> KnownAtoms:
        """Of tensors put together: what holds in all, and of channels what holds in each."""
        if len(names) < len(node.input):
            return KnownAtoms()
        scales = set.intersection(*(set(a.scales) for a in inputs))
        values = frozenset.intersection(*(a.values for a in inputs))
        common = KnownAtoms(
            all(a.everywhere for a in inputs), tuple(sorted(scales))[:16], frozenset(values)
        )
        arrays = [None if self.values is None else self.values.get(n) for n in names]
        shapes = [np.shape(a) for a in arrays if a is not None]
        axis = next(int(a.i) for a in node.attribute if a.name == "axis")
        if len(shapes) < len(names) or len(shapes[0]) != 4 or axis not in (1, -3):
            return common
        stops = np.cumsum([shape[1] for shape in shapes])
        parts = tuple(
            (int(stop) - shape[1], int(stop), one)
            for stop, shape, one in zip(stops, shapes, inputs, strict=True)
        )
        return replace(common, parts=parts)
