"""Element-wise chains with few results become the step functions that convolutions read.

Of every ``abc.bconv2d``, in the order of the graph:

1. One that reads a step, or a max-pool of one, or either of them padded by a level, stays.
2. ``bconv2d(chain(x))`` becomes ``bconv2d(step(x, thresholds, sense, levels))``, where the chain is
   a step function of one tensor ``x`` (:mod:`.activations` says which are).
3. ``bconv2d(max_pool2d(chain(x)))`` becomes ``bconv2d(max_pool2d(step(x)))``, where its levels
   rise with the index: the largest of them is that of the largest ``x``.
4. ``bconv2d(pad(...))`` of what 2 or 3 takes becomes ``bconv2d(pad(step(x)))``, where rows and
   columns are padded by a number that is a level of the step.
5. ``bconv2d(moves(chain(x), …))``, where operators that only move values stand between steps and
   the layer, becomes ``bconv2d(move(step(x), …))``: one ``abc.move`` of all of them, of steps (or
   max-pools of such) that have their levels in common.
6. Any other goes back to ``nn.conv2d``, with the reason in the layer's row.
7. ``matmul(x, y)`` of two computed tensors, each of which is what 2 or 5 takes, becomes
   ``product(step(x), step(y'))``, whose channels are what is summed over; else it stays.

In 2 to 5 the levels are scaled to a largest size in [1, 2), and the scales of the weights by the
inverse. Refused where the products of both are so large that sums of them may overflow. A step
that several convolutions read is one step.

Example: ``bconv2d(sign(add(x, b)))`` becomes ``bconv2d(step(x, [-b], [+1], [-1, 1]))``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.atoms.analysis import AtomAnalysis
from abc_tvm.relay_passes.analysis.moves.index_maps import static_shape
from abc_tvm.relay_passes.analysis.moves.move import copied
from abc_tvm.relay_passes.analysis.padding import (
    level_index,
    pad,
    padding_of,
    pads_levels,
    unpadded,
)
from abc_tvm.relay_passes.analysis.rounding import LARGE, in_range
from abc_tvm.relay_passes.analysis.steps.activations import Activation, Activations, power_of
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep, StepFunction
from abc_tvm.relay_passes.analysis.steps.travelled import Leaf, Travelled, image_dims
from abc_tvm.relay_passes.analysis.weights.accumulator import Accumulator, accumulator, integer_form
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.contracts import binary, contract
from abc_tvm.relay_passes.lowerings.bit_products import WholeFactor, refusal
from abc_tvm.relay_passes.lowerings.bitserial import BITSERIAL
from abc_tvm.relay_passes.ops import conv_window, make, to_float
from abc_tvm.relay_passes.rewrite import (
    Content,
    array_of,
    const,
    content,
    definitions,
    dtype_of,
    emit,
    hint,
    op_name,
    rebuild,
    shape_of,
    substitute,
)


class RecogniseActivations(contract.Rewrite):
    """Every ``abc.bconv2d`` reads a step or a max-pool of one; others become ``nn.conv2d``."""

    requires = (binary.planes_are_signs, binary.planes_give_the_weights)
    ensures = (
        contract.well_formed,
        binary.planes_are_signs,
        binary.planes_give_the_weights,
        binary.steps_are_in_order,
        binary.binary_convolutions_read_steps,
        contract.nothing_is_dead,
    )

    def __init__(self, context: Context) -> None:
        self.context = context

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        self.defined = definitions(mod["main"])
        self.atoms = AtomAnalysis(list(mod["main"].params), self.integer)
        self.activations = Activations(
            self.defined, self.atoms.of, self.integer, dict(mod.functions_items())
        )
        self.env: dict[relax.Var, relax.Var] = {}
        self.new: dict[relax.Var, relax.Expr] = {}
        self.read: dict[relax.Var, relax.Var] = {}
        self.emitted: dict[Content, relax.Var] = {}
        return rebuild(mod, self.visit)

    def visit(self, builder: relax.BlockBuilder, var: relax.Var, call: relax.Expr) -> relax.Expr:
        result = call
        if op_name(call) == "abc.bconv2d":
            result = self.convolution(builder, var, call)
        if op_name(call) == "matmul" and hint(var) in self.context.layers:
            result = self.product(builder, var, call)
        expr = emit(builder, result, hint(var))
        self.env[var] = expr
        self.new[expr] = result
        self.atoms.add(var, self.defined[var])
        return expr

    def convolution(
        self, builder: relax.BlockBuilder, var: relax.Var, call: relax.Call
    ) -> relax.Call:
        layer = self.context.layers[hint(var)]
        data = self.defined[var].args[0]
        inner, padded = unpadded(data, self.defined)
        source: relax.Call = self.defined.get(inner)
        pool = source if op_name(source) == "nn.max_pool2d" else None
        if pool is not None and self.is_moved(pool.args[0]):
            pool = None  # what is pooled was moved, too
        stepped = inner if pool is None else pool.args[0]
        step = self.defined.get(stepped)
        if op_name(step) == "abc.step" and (padded is None or pads_levels(padded, step)):
            return call  # case 1
        try:
            activation = self.activation(stepped, pool)
            index = None if padded is None else _padded_index(padded, activation.levels)
            power = power_of(activation.levels)
            activation = activation.scaled(power)
            if not _holds(call, activation.levels, float(power)):
                raise NotAStep(
                    f"weights and levels (up to {power:g}) are together larger than {LARGE:.0e}: "
                    "their sums may overflow"
                )
            if data not in self.read:
                # The activation, its scale and its pool follow from the old data alone.
                self.emit_activation(builder, data, activation, pool)
                padding = padding_of(padded)
                if padding is not None and index is not None:  # case 4
                    level = float(activation.levels[index])
                    again = pad(self.read[data], replace(padding, value=level))
                    self.emit_read(builder, data, again)
        except NotAStep as error:
            layer.reason = str(error)
            return to_float(call)  # case 6
        layer.N = activation.nominal
        alpha, weight = (const(array_of(a) * power) for a in call.args[2:4])
        return relax.Call(call.op, [self.read[data], call.args[1], alpha, weight], call.attrs)

    def product(self, builder: relax.BlockBuilder, var: relax.Var, call: relax.Call) -> relax.Call:
        """Case 7: a product of two computed tensors."""
        layer = self.context.layers[hint(var)]
        if hint(var) in self.context.refused:
            layer.reason = self.context.refused[hint(var)]
            return call
        try:
            left, right = self.factors(self.defined[var])
            x, first = self.factor(left, "left")
            y, second = self.factor(right, "right")
            units = {"unit": float(first), "unit_y": float(second)}
            largest = float(first) * float(second)
            if not in_range(np.array(largest)):
                raise NotAStep(f"products of levels (up to {largest:g}) may overflow")
            channels, forced = int(shape_of(left)[3]), self.context.lowering == BITSERIAL.name
            refused = refusal(x.levels, y.levels, channels, self.context.device, forced)
            if refused:
                layer.reason = refused
                return call
            self.emit_activation(builder, left, x, None)
            self.emit_activation(builder, right, y, None)
        except NotAStep as error:
            layer.reason = f"both of its factors are computed, and {error}"
            return call
        layer.M, layer.N, layer.lowering, layer.reason = y.nominal, x.nominal, BITSERIAL.name, ""
        read = [self.read[left], self.read[right]]
        return make("product", read, rank=len(shape_of(var)), **units)

    def factor(self, data: relax.Var, side: str) -> tuple[Activation | Travelled, np.float32]:
        """The step function that a factor is, scaled, and by what.

        Raises:
            NotAStep: It is none; the message says which.
        """
        try:
            activation = self.activation(data, None)
            power = power_of(activation.levels)
            activation = activation.scaled(power)
            WholeFactor.of(activation.levels)
        except NotAStep as error:
            raise NotAStep(f"the {side} one is no step function on bits: {error}") from None
        return activation, power

    def factors(self, call: relax.Call) -> tuple[relax.Var, relax.Var]:
        """Both as images whose channels are what is summed over; perhaps of no graph.

        Raises:
            NotAStep: The product has another form than that of batches of matrices.
        """
        x, y = call.args
        dims = [shape_of(v) for v in (x, y)]
        rank = len(dims[0])
        inner = [n for shape in dims for n in shape[1:]]
        if rank not in (3, 4) or len(dims[1]) != rank:
            raise NotAStep("they are no matrices of one batch")
        if not all(isinstance(n, int) for n in inner) or any(
            str(a) != str(b) for a, b in zip(dims[0][:-2], dims[1][:-2], strict=True)
        ):
            raise NotAStep("one is repeated, or open in more than the batch")
        if any(dtype_of(v) != "float32" for v in (x, y)):
            raise NotAStep(f"it computes in {dtype_of(x)}, not in float32")
        axes = [*range(rank - 2), rank - 1, rank - 2]
        turned = self.virtual(relax.op.permute_dims(y, axes), "right")
        return self.as_image(x, "left"), self.as_image(turned, "right")

    def as_image(self, x: relax.Var, name: str) -> relax.Var:
        """``[B, H, W, C]`` of ``[B, W, C]``."""
        if len(shape_of(x)) == 4:
            return x
        batch, width, channels = shape_of(x)
        return self.virtual(relax.op.reshape(x, (batch, 1, width, channels)), name)

    def virtual(self, call: relax.Call, name: str) -> relax.Var:
        """A tensor that is asked for its step function, and bound nowhere."""
        made = relax.BlockBuilder().normalize(call)
        var = relax.Var(name, made.ty)
        self.activations.defined[var] = made
        self.activations.virtual.add(var)
        return var

    def is_moved(self, data: relax.Var) -> bool:
        """Whether ``data`` is made of step functions that something has moved or pooled."""
        if not self.activations.moves(data):
            return False
        try:
            travelled = self.activations.travelled(data)
        except NotAStep:
            return False
        return not travelled.identity() or travelled.leaves[0].pooled is not None

    def activation(self, stepped: relax.Var, pool: relax.Call | None) -> Activation | Travelled:
        """What a layer reads, before it is pooled and padded."""
        if pool is None and (
            self.activations.moves(stepped) or self.activations.of(stepped).turned
        ):
            travelled = self.activations.travelled(stepped)
            leaf = travelled.leaves[0]
            if not travelled.identity() or leaf.pooled is not None:
                return travelled
            return Activation(leaf.root, leaf.steps, leaf.nominal, leaf.turned)
        activation = self.activations.of(stepped)
        if pool is not None and activation.turned:
            raise NotAStep("max-pooling of an image whose channels are not its last axis")
        if pool is not None and not activation.steps.rising:
            raise NotAStep("max-pooling after levels that do not rise with the input")
        return activation

    def emit_activation(
        self,
        builder: relax.BlockBuilder,
        data: relax.Var,
        activation: Activation | Travelled,
        pool: relax.Call | None,
    ) -> None:
        """What is read in the place of ``data``, before it is padded."""
        if isinstance(activation, Travelled):  # case 5
            move = activation.move()
            leaves = [self.emit_leaf(builder, leaf) for leaf in activation.leaves]
            tables = move.tables
            fill = 0.0 if activation.fill is None else activation.fill
            self.emit_read(builder, data, make("move", [*leaves, *map(const, tables)], fill=fill))
            return
        self.read[data] = self.emit_step(
            builder, activation.root, activation.steps, activation.turned
        )  # case 2
        if pool is not None:  # case 3
            stepped = pool.args[0]
            self.emit_read(builder, data, substitute(pool, {stepped: self.read[data]}))

    def emit_leaf(self, builder: relax.BlockBuilder, leaf: Leaf) -> relax.Var:
        step = self.emit_step(builder, leaf.root, leaf.steps, leaf.turned, leaf.copies)
        if leaf.pooled is None:
            return step
        pool = self.activations.defined[leaf.pooled]
        key = content("pool", leaf.pooled, step)
        if key not in self.emitted:
            call = substitute(pool, {pool.args[0]: step})
            self.emitted[key] = builder.emit(call, hint(leaf.pooled))
            self.new[self.emitted[key]] = call
        return self.emitted[key]

    def emit_read(self, builder: relax.BlockBuilder, data: relax.Var, call: relax.Call) -> None:
        """``call`` is what is read in the place of ``data``."""
        self.read[data] = builder.emit(call, hint(data))
        self.new[self.read[data]] = call

    def emit_step(
        self,
        builder: relax.BlockBuilder,
        root: relax.Var,
        steps: StepFunction,
        turned: bool,
        copies: int = 1,
    ) -> relax.Var:
        """The step, or the one that is already there of the same root, thresholds and levels."""
        key = content(root, turned, copies, steps.thresholds, steps.sense, steps.levels)
        if key not in self.emitted:
            arrays = (steps.thresholds, steps.sense, steps.levels)
            image = self.image(builder, root, turned)
            if copies > 1:
                dims = image_dims(static_shape(root), turned)
                repeated = make("move", [image, *map(const, copied(dims, copies))], fill=0.0)
                image = builder.emit(repeated, "copies")
            call = make("step", [image, *map(const, arrays)])
            self.emitted[key] = builder.emit(call, "step")
            self.new[self.emitted[key]] = call
        return self.emitted[key]

    def image(self, builder: relax.BlockBuilder, root: relax.Var, turned: bool) -> relax.Expr:
        """A root as the image that its step is of."""
        new = self.env.get(root, root)
        rank = len(shape_of(root))
        if rank == 4 and not turned:
            return new
        key = content("image", root, turned)
        if key not in self.emitted:
            if turned:
                axes = [0, *range(2, rank), 1]
                new = builder.emit(relax.op.permute_dims(new, axes), "turned")
            if rank != 4:
                shape = [shape_of(root)[0], *image_dims(static_shape(root), turned)]
                new = builder.emit(relax.op.reshape(new, shape), "image")
            self.emitted[key] = new
        return self.emitted[key]

    def integer(self, root: relax.Var) -> Accumulator | None:
        """The integer form of the convolution that made ``root``, if it has one."""
        return integer_form(self.new.get(self.env.get(root)), self.new)


def _padded_index(call: relax.Call, levels: np.ndarray) -> int:
    """The index of the level that an ``nn.pad`` adds.

    Raises:
        NotAStep: It adds something else, or to another axis than rows and columns.
    """
    padding = padding_of(call)
    if padding is None or padding.of_image() is None:
        raise NotAStep(
            "its input is a float tensor: Pad of other axes than rows and columns, or by no number"
        )
    index = level_index(padding.value, levels)
    if index is None:
        some = ", ".join(map(_number, levels[:8]))
        raise NotAStep(
            f"its input is padded by Pad with {_number(padding.value)}, which is no level of its "
            f"step function ({some}{', …' if len(levels) > 8 else ''})"
        )
    return index


def _number(value: float) -> str:
    """The shortest number that is this float32."""
    return str(np.float32(value)).removesuffix(".0")


def _holds(call: relax.Call, levels: np.ndarray, power: float) -> bool:
    """Whether sums of weights and levels are floats, in whatever order they are added up.

    They are integers times one scale, which overflow where the real value does, or not large.
    """
    planes, alpha = array_of(call.args[1]), array_of(call.args[2]).astype(np.float64) * power
    if in_range(alpha):
        return True
    with np.errstate(over="ignore"):
        exact = accumulator(
            planes, alpha.astype(np.float32), levels, any(conv_window(call).padding)
        )
    return exact is not None and bool(np.all(np.isfinite(exact.scale)))
