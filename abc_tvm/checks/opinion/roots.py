"""Where the root of an activation lies in the ONNX graph.

From random values at all anchors both graphs are computed once; a tensor of the ONNX graph with
the values of a root is that root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from tvm.relax import Var

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.graphs.layouts import Lying, lyings, slices
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_ops import run
from abc_tvm.checks.graphs.relax_graph import RelaxGraph
from abc_tvm.checks.opinion.anchors import OPAQUE, CommonTensor
from abc_tvm.checks.opinion.draws import Draws, common_factor
from abc_tvm.checks.opinion.known_atoms import KnownAtoms
from abc_tvm.checks.opinion.tensor_atoms import TensorAtoms

MOST_DRAWN = 2**25
"""Random values at all anchors together: more would take too much time and memory."""

MOST_ROOTS = 12
"""Tensors of equal values that are tried for a root."""


@dataclass
class Roots:
    """Finds the tensors of ``graph`` that variables of ``relax`` are.

    ``anchors`` are tensors that both have; ``sums`` the integer forms of layers' variables;
    ``batch`` how many images the model takes at once.
    """

    graph: OnnxGraph
    relax: RelaxGraph
    anchors: list[CommonTensor]
    sums: dict[Var, IntegerSums] = field(default_factory=dict)
    batch: int = 1

    def __post_init__(self) -> None:
        self._onnx: dict[str, np.ndarray] | None = None
        self._shrunk = False
        self._relax: dict[Var, np.ndarray] = {}
        self._atoms: dict[str, KnownAtoms] | None = None

    def direct(self, var: Var) -> CommonTensor | None:
        """The anchor that a variable alone makes."""
        return next((a for a in self.anchors if a.variables == (var,)), None)

    def compute(
        self,
        roots: list[Var],
        tensors: list[str],
        rng: np.random.Generator,
        whole: bool = False,
    ) -> None:
        """Values of roots, and of the tensors behind ``tensors``, from random anchors.

        On smaller images, or, ``whole``, on those that the graph has.
        """
        every = [var for anchor in self.anchors for var in anchor.variables]
        shrink = 1 if whole else common_factor(self.relax, every)
        draws = Draws(self.relax, self.sums, self.batch, shrink)
        self._shrunk = shrink > 1
        given: dict[Var, np.ndarray] = {}
        wanted = self._wanted(roots, tensors)
        variables = {v for anchor in wanted for v in anchor.variables}
        if sum(draws.elements(v) for v in variables) > MOST_DRAWN:
            self._onnx, self._relax = {}, {}
            return
        for anchor in wanted:
            for var in anchor.variables:
                if var not in given:
                    given[var] = draws.values(var, rng)
        known = {a.tensor: a.convert(*(given[v] for v in a.variables)) for a in wanted}
        self._relax = self.relax.evaluate(roots, given, lenient=True)
        values: dict[str, np.ndarray] = dict(known)
        order = self.graph.needed(tensors, known)
        narrow = self.graph.narrow(self.graph.nodes[at] for at in order) if shrink > 1 else {}
        for at in order:
            node = self.graph.nodes[at]
            args = [values[n] if n in values else self._stored(n, narrow) for n in node.input]
            if any(n and a is None for n, a in zip(node.input, args, strict=True)):
                continue
            try:
                outputs = run(node, args, self.graph.opset, 1)
            except NotChecked:
                continue
            for name, value in zip(node.output, outputs, strict=False):
                values.setdefault(name, value)
        self._onnx, self._atoms = values, None

    def _wanted(self, roots: list[Var], tensors: list[str]) -> list[CommonTensor]:
        """The anchors that something is computed from."""
        names = {a.tensor for a in self.anchors}
        variables = {v for a in self.anchors for v in a.variables}
        read = {n for at in self.graph.needed(tensors, names) for n in self.graph.reads[at]}
        order = self.relax.order
        used = {
            v for at in self.relax.needed(roots, variables) for v in self.relax.reads(order[at][1])
        }
        read.update(tensors)
        return [a for a in self.anchors if a.tensor in read or used.intersection(a.variables)]

    def _stored(self, name: str, narrow: Mapping[str, np.ndarray]) -> np.ndarray | None:
        if name in narrow:
            return narrow[name]
        return self.graph.constant(name) if name else None

    def find(self, root: Var, data: list[str], several: bool = False) -> list[tuple[str, Lying]]:
        """Tensors that ``root`` may be, on each of which alone the tensors ``data`` depend.

        ``several``: they depend on others, too.

        One, as a rule; several where some have the same values (``Mish(x)`` of large ``x``).

        Raises:
            NotChecked: There is none.
        """
        if self._onnx is None or root not in self._relax:
            raise NotChecked("operators before its activation are not known to the checker")
        value = np.asarray(self._relax[root])
        known = {a.tensor for a in self.anchors}
        nodes = [self.graph.nodes[i] for i in self.graph.needed(data, known)]
        names = [n for node in nodes for n in (*node.input, *node.output)] + data
        tensors = []
        for name in dict.fromkeys(names):
            if name not in self._onnx:
                continue
            other = self._onnx[name]
            ways = lyings(other.shape, value.shape)
            if several:
                ways += slices(other.shape, value.shape)
            tensors += [
                (name, lying)
                for lying in ways
                if _alike(lying.from_onnx(other), value) and (several or self._decides(name, data))
            ]
        if not tensors:
            raise NotChecked("the root of its activation is no tensor of the graph")
        if self._shrunk and len({name for name, _ in tensors}) > 1:
            # A pooling of one pixel, say, is none.
            raise NotChecked("the root of its activation may be one of several tensors")
        return tensors[:1] if self._shrunk else tensors[:MOST_ROOTS]

    def _decides(self, name: str, data: list[str]) -> bool:
        """Whether ``data`` depend on one tensor alone."""
        inputs = set(self.graph.inputs)
        for at in self.graph.needed(data, [name]):
            for read in self.graph.reads[at]:
                if read in inputs and read != name:
                    return False
        return name in data or all(d not in inputs for d in data)

    def atoms(self, tensor: str) -> KnownAtoms:
        """What is known of the atoms of a tensor."""
        if self._atoms is None:
            account = TensorAtoms(
                self.graph, self.anchors, self.sums, self._onnx, frozenset(OPAQUE)
            )
            self._atoms = account.all()
        known = self._atoms.get(tensor, KnownAtoms())
        if known.everywhere or self._onnx is None or tensor not in self._onnx:
            return known
        values, count = np.unique(self._onnx[tensor], return_counts=True)
        if len(values) > 4096:
            values, count = values[count > 1], count[count > 1]
        repeated = frozenset(float(v) for v in values[count > 1][:4096])
        return replace(known, values=known.values | repeated)


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal but for float32 rounding."""
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    first = np.abs(a[0, 0] - b[0, 0]).max(initial=0) if a.ndim > 2 else 0
    if first > 2.0**-8 * np.abs(a[0, 0]).max(initial=0):
        return False
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return False
    size = float(np.abs(np.where(finite, a, 0)).max(initial=0))
    return bool(np.all(np.abs(a[finite] - b[finite]) <= 2.0**-18 * size))
