"""A graph to be tried: what the compiler gets, what the judge runs, inputs, and how to compile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from .values import Array


@dataclass(frozen=True)
class Build:
    """How a case is compiled: ``form`` "so" or "c"; ``optimise``: LLVM's own optimisation."""

    lowering: str = "auto"
    target: str = "native"
    form: str = "so"
    optimise: bool = False


@dataclass(frozen=True)
class Case:
    """One test.

    ``expansions`` are the standard nodes of dialect nodes, by the name of their output.
    ``exact`` names the outputs that any order of summation makes equal.
    """

    label: str
    model: onnx.ModelProto
    inputs: Mapping[str, Array]
    exact: frozenset[str]
    build: Build
    expansions: Mapping[str, Sequence[onnx.NodeProto]]

    @property
    def standard(self) -> onnx.ModelProto:
        """The model in standard operators, for onnxruntime."""
        if not self.expansions:
            return self.model
        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        nodes: list[onnx.NodeProto] = []
        for node in self.model.graph.node:
            nodes.extend(self.expansions[node.output[0]] if node.domain else [node])
        del result.graph.node[:]
        result.graph.node.extend(nodes)
        kept = [o for o in result.opset_import if not o.domain]
        del result.opset_import[:]
        result.opset_import.extend(kept)
        return result

    def with_model(self, model: onnx.ModelProto, inputs: Mapping[str, Array]) -> Case:
        return replace(self, model=model, inputs=inputs)
