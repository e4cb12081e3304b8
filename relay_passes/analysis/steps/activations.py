"""The step functions that the inputs of convolutions are, however they are spelled.

A tensor is followed back through element-wise operators to the deepest single tensor that
determines it, its *root*, and the chain between them is evaluated. So Sign, Clip and Sign,
GreaterOrEqual and Where or Cast, sums of such branches, Round, batch normalisation before them and
PReLU are all one. The root decides what becomes of ties (``Sign(0) = 0`` in ONNX):

1. Of an exact integer sum the levels stay that the sum can reach.
2. Elsewhere a level at a tie stays where the root has an atom (see :mod:`.atoms`). A tensor that is
   spread continuously meets the point by accident, and it is given to the side of ``>=``, as the
   paper's H does.

There is no step function where

a. the tensor is none of an element-wise operator;
b. no single tensor determines it;
c. the root is no float32 image or feature vector, or one that is broadcast;
d. the chain takes more than 256 values, differs over positions, or has channels that do not share
   their levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.atoms.atoms import Atoms
from abc_tvm.relay_passes.analysis.pointwise import TABLE
from abc_tvm.relay_passes.analysis.rounding import LARGE
from abc_tvm.relay_passes.analysis.steps.chain_bounds import chain_between
from abc_tvm.relay_passes.analysis.steps.chains import roots
from abc_tvm.relay_passes.analysis.steps.find_steps import find_steps, find_steps_without_ties
from abc_tvm.relay_passes.analysis.steps.reachable_levels import reachable_steps
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep, StepFunction
from abc_tvm.relay_passes.analysis.weights.accumulator import Accumulator
from abc_tvm.relay_passes.rewrite import Binding, Definitions, dtype_of, op_name, shape_of

_MOVES = ("permute_dims", "reshape")


@dataclass(frozen=True)
class Activation:
    """A step function of ``root``; ``nominal`` thresholds do not count ties."""

    root: relax.Var
    steps: StepFunction
    nominal: int

    def normalised(self) -> tuple[Activation, np.float32]:
        """Levels scaled by a power of two to a largest size in [1, 2), and the inverse factor.

        A scale may stand before or after the convolution; scaled so, equal layers get equal levels.

        Raises:
            NotAStep: Levels are so large or small that their products are no floats.
        """
        sizes = np.abs(self.steps.levels)
        largest = float(sizes.max())
        if not np.isfinite(largest) or np.any((sizes > 0) & (sizes < 1 / LARGE)):
            raise NotAStep(
                "the activation takes values that are too large or small to be levels "
                f"({sizes[sizes > 0].min():g} to {largest:g})"
            )
        if largest == 0:
            return self, np.float32(1)
        power = np.float32(2.0 ** np.floor(np.log2(largest)))
        return replace(self, steps=replace(self.steps, levels=self.steps.levels / power)), power


class Activations:
    """Step functions behind the tensors of one graph; each is looked for once.

    ``defined``: the graph. ``atoms(root)`` and ``integer(root)``: what is known of the tensors
    before; the integer form of a convolution, where it has one.
    """

    def __init__(
        self,
        defined: Definitions,
        atoms: Callable[[relax.Var], Atoms],
        integer: Callable[[relax.Var], Accumulator | None],
    ) -> None:
        self.defined, self.atoms, self.integer = defined, atoms, integer
        self.known: dict[relax.Var, Activation] = {}

    def of(self, data: relax.Var) -> Activation:
        """The step function that ``data`` is of its root.

        Raises:
            NotAStep: There is none; the message says why.
        """
        if data not in self.known:
            self.known[data] = self.find(data)
        return self.known[data]

    def find(self, data: relax.Var) -> Activation:
        if op_name(self.defined.get(data)) not in TABLE:  # case a
            raise NotAStep(f"its input is a float tensor: {self.describe(data)}")
        reason: NotAStep | None = None
        for root, chain in roots(self.defined, data):
            if root is data:
                break
            outcome = self.attempt(root, chain, data)
            if isinstance(outcome, Activation):
                return outcome
            reason = reason or outcome  # the deepest root's says most
        raise reason or NotAStep("the activation mixes several tensors")  # case b

    def attempt(
        self, root: relax.Var, chain: Sequence[Binding], data: relax.Var
    ) -> Activation | NotAStep:
        try:
            return self.steps(root, chain, data)
        except NotAStep as error:
            return error

    def steps(self, root: relax.Var, chain: Sequence[Binding], data: relax.Var) -> Activation:
        dims = shape_of(root)
        if len(dims) != 4 or not isinstance(dims[3], int):  # case c, as the next two
            raise NotAStep("the activation is no image or feature vector")
        if dtype_of(root) != "float32":
            raise NotAStep(f"the activation starts from {dtype_of(root)}, not float32")
        if shape_of(data)[1:] != dims[1:]:
            raise NotAStep("the activation broadcasts its input")
        channels, function = dims[3], chain_between(root, chain, data)
        exact = self.integer(root)
        if exact is not None:  # case 1
            steps = reachable_steps(find_steps(function, channels), exact)
            return Activation(root, steps, len(steps.thresholds))
        return Activation(  # case 2
            root, *find_steps_without_ties(function, channels, self.atoms(root).at)
        )

    def describe(self, data: relax.Var) -> str:
        """What a tensor is the result of, for a reader of the report."""
        while op_name(self.defined.get(data)) in _MOVES:
            data = self.defined[data].args[0]
        call: relax.Call = self.defined.get(data)
        name = op_name(call)
        if name is None:
            return "the network's input"
        if name == "call_tir":
            return str(call.args[0].name_hint)
        return {"abc.bconv2d": "conv2d", "abc.step": "step"}.get(name, name.removeprefix("nn."))
