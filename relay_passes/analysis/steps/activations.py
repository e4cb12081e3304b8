"""The step functions that the inputs of convolutions are, however they are spelled.

A tensor is followed back through element-wise operators to the deepest single tensor that
determines it, its *root*, and the chain between them is evaluated. So Sign, Clip and Sign,
GreaterOrEqual and Where or Cast, sums of such branches, Round, batch normalisation before them and
PReLU are all one. The root decides what becomes of ties (``Sign(0) = 0`` in ONNX):

1. Of an exact integer sum the levels stay that the sum can reach.
2. Elsewhere a level at a tie stays where the root has an atom (see :mod:`.atoms`). A tensor that is
   spread continuously meets the point by accident, and it is given to the side of ``>=``, as the
   paper's H does.
3. A tensor that takes few values, though no single other one decides which (:mod:`.few_values`), is
   a step function of itself.

Operators that only move values may stand between the step and what reads it, or between two parts
of it (:mod:`.travelled`): each tensor that they move is looked at for itself, and what comes after
them changes its levels.

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
from abc_tvm.relay_passes.analysis.moves.index_maps import (
    FILL,
    MAY_MOVE,
    moved_indices,
    static_shape,
)
from abc_tvm.relay_passes.analysis.padding import Functions
from abc_tvm.relay_passes.analysis.pointwise import TABLE, attributes
from abc_tvm.relay_passes.analysis.rounding import LARGE
from abc_tvm.relay_passes.analysis.steps.chain_bounds import chain_between
from abc_tvm.relay_passes.analysis.steps.chains import chain_behind, roots
from abc_tvm.relay_passes.analysis.steps.few_values import ValueSets, own_steps
from abc_tvm.relay_passes.analysis.steps.find_steps import find_steps, find_steps_without_ties
from abc_tvm.relay_passes.analysis.steps.pools import pools_as_one
from abc_tvm.relay_passes.analysis.steps.reachable_levels import reachable_steps
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep, StepFunction
from abc_tvm.relay_passes.analysis.steps.travelled import (
    Leaf,
    Travelled,
    at_rest,
    channels_read,
    common_levels,
    image_dims,
    pooled_behind,
    together,
)
from abc_tvm.relay_passes.analysis.weights.accumulator import Accumulator
from abc_tvm.relay_passes.rewrite import Binding, Definitions, array_of, dtype_of, op_name, shape_of

_MOVES = ("permute_dims", "reshape")


@dataclass(frozen=True)
class Activation:
    """A step function of ``root``; ``nominal`` thresholds do not count ties.

    Its channels are the last axis, or, ``turned``, the second one, as of NCHW.
    """

    root: relax.Var
    steps: StepFunction
    nominal: int
    turned: bool = False

    @property
    def levels(self) -> np.ndarray:
        """float32 ``[N + 1]``."""
        return self.steps.levels

    def scaled(self, power: np.float32) -> Activation:
        """The same with levels divided by a power of two."""
        return replace(self, steps=replace(self.steps, levels=self.levels / power))


def power_of(levels: np.ndarray) -> np.float32:
    """The power of two that scales levels to a largest size in [1, 2).

    A scale may stand before or after the convolution; scaled so, equal layers get equal levels.

    Raises:
        NotAStep: Levels are so large or small that their products are no floats.
    """
    sizes = np.abs(levels)
    largest = float(sizes.max())
    if not np.isfinite(largest) or np.any((sizes > 0) & (sizes < 1 / LARGE)):
        raise NotAStep(
            "the activation takes values that are too large or small to be levels "
            f"({sizes[sizes > 0].min():g} to {largest:g})"
        )
    return np.float32(1 if largest == 0 else 2.0 ** np.floor(np.log2(largest)))


class Activations:
    """Step functions behind the tensors of one graph; each is looked for once.

    ``defined``: the graph. ``atoms(root)`` and ``integer(root)``: what is known of the tensors
    before; the integer form of a convolution, where it has one. ``functions``: the module's.
    """

    def __init__(
        self,
        defined: Definitions,
        atoms: Callable[[relax.Var], Atoms],
        integer: Callable[[relax.Var], Accumulator | None],
        functions: Functions,
    ) -> None:
        self.defined, self.atoms, self.integer = dict(defined), atoms, integer
        self.functions = functions
        self.few = ValueSets(self.defined, self.levels_of, self.levels_of_moved)
        self.virtual: set[relax.Var] = set()
        self.known: dict[relax.Var, Activation] = {}
        self.moved: dict[relax.Var, Travelled | NotAStep] = {}

    def of(self, data: relax.Var) -> Activation:
        """The step function that ``data`` is of its root.

        Raises:
            NotAStep: There is none; the message says why.
        """
        if data not in self.known:
            self.known[data] = self.find(data)
        return self.known[data]

    def find(self, data: relax.Var) -> Activation:
        try:
            return self.find_root(data)
        except NotAStep:
            # What no graph binds is no root.
            values = None if data in self.virtual else self.few.of(data)
            if values is None or dtype_of(data) != "float32":
                raise
            channels = image_dims(static_shape(data), False)[2]
            return Activation(data, own_steps(values, channels), len(values) - 1)  # case 3

    def levels_of(self, data: relax.Var) -> np.ndarray | None:
        """The levels of what is a step function of one tensor, or ``None``."""
        try:
            return self.find_root(data).levels
        except NotAStep:
            return None

    def levels_of_moved(self, data: relax.Var) -> np.ndarray | None:
        """The levels of what was moved, or ``None``."""
        if not self.may_move(data):
            return None
        try:
            return self.travelled(data).levels
        except NotAStep:
            return None

    def find_root(self, data: relax.Var) -> Activation:
        if op_name(self.defined.get(data)) not in TABLE:  # case a
            raise NotAStep(f"its input is a float tensor: {self.describe(data)}")
        reason: NotAStep | None = None
        for root, chain in roots(self.defined, data):
            if root is data:
                break
            if root in self.virtual:
                continue
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

    def moves(self, data: relax.Var) -> bool:
        """Whether ``data`` may be moved, or computed from what is."""
        if op_name(self.defined.get(data)) not in TABLE:
            return self.may_move(data)
        _, leaves = chain_behind(self.defined, data)
        return any(self.may_move(leaf) for leaf in leaves)

    def may_move(self, data: relax.Var) -> bool:
        """Whether ``data`` is the result of an operator that moves (or pools) values."""
        call = self.defined.get(data)
        if isinstance(call, relax.TupleGetItem):
            return True
        return op_name(call) in (*MAY_MOVE, "nn.max_pool2d")

    def travelled(self, data: relax.Var) -> Travelled:
        """The step functions that ``data`` is made of, and how they were moved.

        Raises:
            NotAStep: It is made of something else, too; the message says of what.
        """
        if data not in self.moved:
            try:
                self.moved[data] = self.find_travelled(data)
            except NotAStep as error:
                self.moved[data] = error
        found = self.moved[data]
        if isinstance(found, NotAStep):
            raise found
        return found

    def find_travelled(self, data: relax.Var) -> Travelled:
        call = self.defined.get(data)
        name = op_name(call)
        if call is not None and name == "nn.max_pool2d" and str(call.attrs.layout) == "NHWC":
            return self.max_pooled(call.args[0], data)
        if name not in TABLE and self.may_move(data):
            fills: list[float] = []
            moved = moved_indices(data, self.defined, self.functions, fills)
            if moved is None:
                raise NotAStep(f"its input is a float tensor: {self.describe(data)}")
            return together([self.travelled(v) for v in moved[0]], moved[1], fills)
        reason: NotAStep | None = None
        for root, chain in roots(self.defined, data):
            if not self.may_move(root):  # ties are decided in whole chains
                continue
            try:
                return self.changed(self.travelled(root), root, chain, data)
            except NotAStep as error:
                reason = reason or error
        try:
            found = self.of(data)
            return at_rest(Leaf(found.root, found.steps, found.nominal, turned=found.turned))
        except NotAStep as error:
            try:
                return self.before_moves(data)
            except NotAStep:
                raise (error if name in TABLE else reason or error) from None

    def max_pooled(self, data: relax.Var, pooled: relax.Var) -> Travelled:
        """``data`` max-pooled to ``pooled``."""
        both = pools_as_one(self.defined.get(data), self.defined[pooled])
        if both is not None:
            one = relax.Var(str(pooled.name), both.ty)
            self.virtual.add(one)
            self.defined[one] = both
            return self.max_pooled(both.args[0], one)
        if self.moves(data):
            return pooled_behind(self.travelled(data), pooled)
        inner = self.of(data)
        if not inner.steps.rising:
            raise NotAStep("max-pooling after levels that do not rise with the input")
        if inner.turned:
            raise NotAStep("max-pooling of an image whose channels are not its last axis")
        return at_rest(Leaf(inner.root, inner.steps, inner.nominal, pooled))

    def before_moves(self, data: relax.Var) -> Travelled:
        """``data`` where all that it is computed from was moved in one way: it moves once, after.

        Bases that are padded or transposed one by one are such. The operators are written once more
        on what was moved; those bindings are in no graph.
        """
        chain, leaves = chain_behind(self.defined, data)
        env: dict[relax.Var, relax.Var] = {}
        fills: dict[relax.Var, float] = {}
        first: np.ndarray | None = None
        for leaf in leaves:
            numbers: list[float] = []
            moved = moved_indices(leaf, self.defined, self.functions, numbers)
            if moved is None or len(moved[0]) != 1:
                raise NotAStep("the activation mixes several tensors")
            (env[leaf],), (index,) = moved
            first = index if first is None else first
            if not np.array_equal(index, first) or len(numbers) > 1:
                raise NotAStep("the activation puts tensors together that were moved differently")
            fills[leaf] = numbers[0] if numbers else 0.0
        shapes = {str(shape_of(source)) for source in env.values()}
        constants = [a for _, call in chain for a in call.args if not isinstance(a, relax.Var)]
        if first is None or len(shapes) > 1 or any(array_of(a).size > 1 for a in constants):
            raise NotAStep("the activation mixes several tensors")
        values: dict[object, np.ndarray] = {
            leaf: np.asarray(fill, np.float32) for leaf, fill in fills.items()
        }
        shape = shape_of(next(iter(env.values())))
        for var, call in chain:
            args = [env.get(a, a) for a in call.args]
            env[var] = relax.Var(str(var.name), relax.TensorType(list(shape), dtype_of(var)))
            self.virtual.add(env[var])
            self.defined[env[var]] = relax.Call(call.op, args, call.attrs, call.ty_args)
            name = str(op_name(call))
            given = [values[a] if a in values else array_of(a).reshape(()) for a in call.args]
            with np.errstate(all="ignore"):
                values[var] = TABLE[name].numpy(*given, **attributes(name, call))
        inner = self.travelled(env[data])
        holes = [float(values[data])] if np.any(first == FILL) else []
        return together([inner], [first], holes)

    def changed(
        self, inner: Travelled, root: relax.Var, chain: Sequence[Binding], data: relax.Var
    ) -> Travelled:
        """``inner`` with the levels that element-wise operators behind the moves make of its."""
        if shape_of(data)[1:] != shape_of(root)[1:]:
            raise NotAStep("the activation broadcasts its input")
        function = chain_between(root, chain, data)
        wide = any(a.ndim and a.shape[-1] > 1 for a in function.constants.values())
        channels = int(inner.index.shape[-1]) if wide else 1

        def of(values: np.ndarray) -> np.ndarray:
            at = np.repeat(values[:, None], channels, 1)
            low, high = function((at, at))
            if not np.array_equal(low, high):
                raise NotAStep("the activation is not known at its own levels")
            return np.asarray(low, np.float32) + np.float32(0)

        values = of(inner.levels)
        tables = [values[:, :1] for _ in inner.leaves]
        if wide:
            owners, own, standing = channels_read(inner)
            for k, leaf in enumerate(inner.leaves):
                mine = owners == k
                table = np.zeros((len(values), leaf.steps.thresholds.shape[1]), np.float32)
                table[:] = values[:, standing[mine][:1]]
                table[:, own[mine]] = values[:, standing[mine]]
                if not np.array_equal(table[:, own[mine]], values[:, standing[mine]]):
                    raise NotAStep("channels that stand in several places differ from there on")
                tables[k] = table
        fill = None
        if inner.fill is not None:
            fills = np.unique(of(np.array([inner.fill], np.float32)))
            if len(fills) > 1:
                raise NotAStep("the activation is padded with several numbers")
            fill = float(fills[0])
        leaves = tuple(common_levels(inner.leaves, tables))
        if fill is not None and not np.any(leaves[0].steps.levels == np.float32(fill)):
            raise NotAStep(f"its input is padded with {fill:g}, which is no level of its step")
        return Travelled(leaves, inner.index, fill)

    def steps(self, root: relax.Var, chain: Sequence[Binding], data: relax.Var) -> Activation:
        dims = shape_of(root)
        if len(dims) < 2 or not all(isinstance(n, int) for n in dims[1:]):
            raise NotAStep("the activation is no image or feature vector")  # case c, as the next
        if dtype_of(root) != "float32":
            raise NotAStep(f"the activation starts from {dtype_of(root)}, not float32")
        if shape_of(data)[1:] != dims[1:]:
            raise NotAStep("the activation broadcasts its input")
        turned = False
        try:
            function = chain_between(root, chain, data)
        except NotAStep:
            if len(dims) < 3:
                raise
            function, turned = chain_between(root, chain, data, turned=True), True
        channels = image_dims(static_shape(root), turned)[2]
        exact = self.integer(root) if len(dims) == 4 and not turned else None
        if exact is not None:  # case 1
            steps = reachable_steps(find_steps(function, channels), exact)
            return Activation(root, steps, len(steps.thresholds))
        atoms = self.atoms(root)
        steps, nominal = find_steps_without_ties(  # case 2
            function, channels, atoms.spread().at if turned else atoms.at
        )
        return Activation(root, steps, nominal, turned)

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
