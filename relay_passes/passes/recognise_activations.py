"""Element-wise chains with few results become step functions.

For the input of every ``abc.bconv2d`` (or of the max-pool before it) the chain behind it is
followed back to the deepest single tensor that determines it, and evaluated (see
:mod:`.step_function`); ``abc.step(x, thresholds, sense, levels)`` replaces it. The spelling does
not matter: Sign, Clip and Sign, GreaterOrEqual and Where or Cast, sums of such branches, Round,
batch normalisation before them, PReLU.

Ties. ``Sign(0) = 0`` in ONNX. Where the tensor has an atom at the tie (see :mod:`.atoms`) the level
is kept; on an exact integer sum, if the sum can be reached. A tensor that is spread continuously
meets the point by accident, and it is given to the side of ``>=``, as the paper's H does.

Refuses, with the reason in the layer's row: chains over several tensors, of more than 256 values,
that differ over positions, or whose channels do not share their levels. Such a layer goes back to
``nn.conv2d``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.analysis.accumulator import Accumulator, accumulator
from abc_tvm.relay_passes.analysis.atom_analysis import AtomAnalysis
from abc_tvm.relay_passes.analysis.rounding import LARGE, in_range
from abc_tvm.relay_passes.analysis.step_function import (
    Chain,
    NotAStep,
    StepFunction,
    find_steps,
    find_steps_without_ties,
)
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.lowerings.floats import to_float
from abc_tvm.relay_passes.ops import conv_window, make
from abc_tvm.relay_passes.rewrite import (
    Content,
    array_of,
    bindings,
    const,
    content,
    dtype_of,
    emit,
    hint,
    op_name,
    rebuild,
    shape_of,
    substitute,
)

MOVES = ("permute_dims", "reshape")


@dataclass(frozen=True)
class Found:
    """A step function of ``root``; ``nominal`` thresholds do not count ties."""

    root: Any
    steps: StepFunction
    nominal: int


class RecogniseActivations:
    """See the module's text."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        self.defined = dict(bindings(mod["main"]))
        self.atoms = AtomAnalysis(list(mod["main"].params), self.integer)
        self.env: dict[Any, Any] = {}
        self.new: dict[Any, Any] = {}
        self.done: dict[Any, Found] = {}
        self.read: dict[Any, Any] = {}
        self.emitted: dict[Content, Any] = {}
        return rebuild(mod, self.visit)

    def visit(self, builder: relax.BlockBuilder, var: Any, call: Any) -> Any:
        result = call
        if op_name(call) == "abc.bconv2d":
            result = self.convolution(builder, var, call)
        expr = emit(builder, result, hint(var))
        self.env[var] = expr
        self.new[expr] = result
        self.atoms.add(var, self.defined[var])
        return expr

    def convolution(self, builder: Any, var: Any, call: Any) -> Any:
        layer = self.context.layers[hint(var)]
        old_data = self.defined[var].args[0]
        pool: Any = self.defined.get(old_data)
        pooled = op_name(pool) == "nn.max_pool2d"
        if op_name(self.defined.get(pool.args[0] if pooled else old_data)) == "abc.step":
            return call
        try:
            found = self.activation(pool.args[0] if pooled else old_data)
            if pooled and not found.steps.rising:
                raise NotAStep("max-pooling after levels that do not rise with the input")
            found, power = _normalised(found)
            if not _holds(call, found.steps.levels, float(power)):
                raise NotAStep(
                    f"weights and levels (up to {power:g}) are together larger than {LARGE:.0e}: "
                    "their sums may overflow"
                )
        except NotAStep as error:
            layer.reason = str(error)
            return to_float(call)
        # What is found, normalised and pooled follows from the old data alone.
        if old_data not in self.read:
            data = self.emit_step(builder, found)
            if pooled:
                replaced = substitute(pool, {pool.args[0]: data})
                data = builder.emit(replaced, hint(old_data))
                self.new[data] = replaced
            self.read[old_data] = data
        layer.N = found.nominal
        alpha, weight = (const(array_of(a) * power) for a in call.args[2:4])
        args = [self.read[old_data], call.args[1], alpha, weight]
        return relax.Call(call.op, args, call.attrs)

    def emit_step(self, builder: Any, found: Found) -> Any:
        s = found.steps
        key = content(found.root, s.thresholds, s.sense, s.levels)
        if key not in self.emitted:
            root = self.env.get(found.root, found.root)
            call = make("step", [root, const(s.thresholds), const(s.sense), const(s.levels)])
            data = builder.emit(call, "step")
            self.new[data] = call
            self.emitted[key] = data
        return self.emitted[key]

    def activation(self, data: Any) -> Found:
        if data not in self.done:
            self.done[data] = self.find(data)
        return self.done[data]

    def find(self, data: Any) -> Found:
        if op_name(self.defined.get(data)) not in pointwise.TABLE:
            raise NotAStep(f"its input is a float tensor: {self.describe(data)}")
        reason: NotAStep | None = None
        for root, rest in roots(self.defined, data):
            if root is data:
                break
            found = self.attempt(root, rest, data)
            if isinstance(found, Found):
                return found
            reason = reason or found  # the deepest root's says most
        raise reason or NotAStep("the activation mixes several tensors")

    def attempt(self, root: Any, chain: list[tuple[Any, Any]], data: Any) -> Found | NotAStep:
        try:
            return self.steps(root, chain, data)
        except NotAStep as error:
            return error

    def describe(self, data: Any) -> str:
        while op_name(self.defined.get(data)) in MOVES:
            data = self.defined[data].args[0]
        call: Any = self.defined.get(data)
        name = op_name(call)
        if name is None:
            return "the network's input"
        if name == "call_tir":
            return str(call.args[0].name_hint)
        return {"abc.bconv2d": "conv2d", "abc.step": "step"}.get(name, name.removeprefix("nn."))

    def steps(self, root: Any, chain: list[tuple[Any, Any]], data: Any) -> Found:
        dims = shape_of(root)
        if len(dims) != 4 or not isinstance(dims[3], int):
            raise NotAStep("the activation is no image or feature vector")
        if dtype_of(root) != "float32":
            raise NotAStep(f"the activation starts from {dtype_of(root)}, not float32")
        channels = dims[3]
        if shape_of(data)[1:] != dims[1:]:
            raise NotAStep("the activation broadcasts its input")

        evaluate = evaluator(chain, root, data)
        exact = self.integer(root)
        if exact is not None:
            return self.integer_steps(root, evaluate, channels, exact)
        atoms = self.atoms.of(root)
        return Found(root, *find_steps_without_ties(evaluate, channels, atoms.at))

    def integer_steps(self, root: Any, evaluate: Any, channels: int, exact: Accumulator) -> Found:
        kept = reachable(find_steps(evaluate, channels), exact)
        return Found(root, kept, len(kept.thresholds))

    def integer(self, root: Any) -> Accumulator | None:
        """The integer form of the convolution that made ``root``, if it has one."""
        call: Any = self.new.get(self.env.get(root))
        return integer_form(call, self.new)


def _normalised(found: Found) -> tuple[Found, np.float32]:
    """Levels scaled by a power of two to a largest size in [1, 2), and the inverse factor.

    A scale may stand before or after the convolution; scaled so, equal layers get equal levels.
    """
    largest = float(np.abs(found.steps.levels).max())
    sizes = np.abs(found.steps.levels)
    if not np.isfinite(largest) or np.any((sizes > 0) & (sizes < 1 / LARGE)):
        raise NotAStep(
            "the activation takes values that are too large or small to be levels "
            f"({sizes[sizes > 0].min():g} to {largest:g})"
        )
    if largest == 0:
        return found, np.float32(1)
    power = np.float32(2.0 ** np.floor(np.log2(largest)))
    return replace(found, steps=replace(found.steps, levels=found.steps.levels / power)), power


def _holds(call: Any, levels: np.ndarray, power: float) -> bool:
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


def integer_form(call: Any, defined: dict[Any, Any]) -> Accumulator | None:
    """Accumulator of an ``abc.bconv2d`` whose input is a step, given the bindings around it."""
    if op_name(call) != "abc.bconv2d":
        return None
    source: Any = defined.get(call.args[0])
    if op_name(source) == "nn.max_pool2d":
        source = defined.get(source.args[0])
    if op_name(source) != "abc.step":
        return None
    planes, alpha, levels = (array_of(a) for a in (call.args[1], call.args[2], source.args[3]))
    padded = any(conv_window(call).padding)
    return accumulator(planes, alpha, levels, padded)


def reachable(steps: StepFunction, exact: Accumulator) -> StepFunction:
    """Drop levels that no integer accumulator of any channel takes."""
    count = len(steps.thresholds)
    if count < 2:
        return steps
    at = np.stack([exact.threshold(t) for t in steps.thresholds])
    edges = np.concatenate([-exact.bound[None], at, exact.bound[None] + 1])
    low, high = np.maximum(edges[:-1], -exact.bound), np.minimum(edges[1:], exact.bound + 1)
    size = high - low
    if exact.even:
        first = low + ((low - exact.bound) % 2)
        size = np.maximum(0, (high - first + 1) // 2)
    keep = np.any(size > 0, axis=1)
    forward = steps.sense > 0
    # Level q of a rising channel is level N - q of a falling one.
    used = np.any((size > 0) & forward, axis=1) | np.any((size > 0) & ~forward, axis=1)[::-1]
    if used.sum() == 1:  # a constant has two levels, of which one is never taken
        at_one = int(used.argmax())
        used[at_one - 1 if at_one else 1] = True
    if keep.all() or not used.any() or np.any((size[:, ~forward] > 0) & ~used[::-1, None]):
        return steps
    if used.sum() == 1:  # a step has a threshold, be it one that is never passed
        only = int(np.argmax(used))
        used[only + 1 if only == 0 else only - 1] = True
    return _keep_levels(steps, used)


def _keep_levels(steps: StepFunction, used: np.ndarray) -> StepFunction:
    """The same function on the levels that remain; each keeps its upper border."""
    index = np.nonzero(used)[0]
    rising = steps.sense > 0
    n = len(steps.thresholds)
    upper = steps.thresholds[index[1:] - 1]
    falling = steps.thresholds[n - index[:-1] - 1][::-1]
    thresholds = np.where(rising, upper, falling)
    return StepFunction(thresholds.astype(np.float32), steps.sense, steps.levels[index])


def evaluator(chain: list[tuple[Any, Any]], root: Any, data: Any) -> Chain:
    """What runs element-wise bindings on bounds ``[P, C]`` of ``root``.

    It raises :class:`NotAStep` where a binding is not the same at every pixel of every image.
    """
    constants: dict[Any, np.ndarray] = {}
    inner = {root, *(var for var, _ in chain)}
    steps = []
    for var, call in chain:
        name = str(op_name(call))
        for arg in call.args:
            if arg not in inner and arg not in constants:
                constants[arg] = _same_everywhere(array_of(arg))
        row = pointwise.TABLE[name]
        steps.append((var, list(call.args), row.bounds, pointwise.attributes(name, call)))

    def evaluate(x: pointwise.Bounds, constants: dict[Any, np.ndarray]) -> pointwise.Bounds:
        shape = (1, 1, *x[0].shape)
        values: dict[Any, pointwise.Bounds] = {name: (v, v) for name, v in constants.items()}
        values |= {root: (x[0].reshape(shape), x[1].reshape(shape))}
        with np.errstate(all="ignore"):
            for var, args, bounds, attributes in steps:
                values[var] = bounds(*(values[arg] for arg in args), **attributes)
        low, high = (np.broadcast_to(v, shape).reshape(x[0].shape) for v in values[data])
        return low, high

    return Chain(evaluate, constants)


def _same_everywhere(array: np.ndarray) -> np.ndarray:
    *images, height, width, _ = (1, 1, 1, 1, *array.shape)  # as it broadcasts: from its last axis
    if height > 1 or width > 1:
        raise NotAStep("the activation differs from pixel to pixel")
    if any(size > 1 for size in images):
        raise NotAStep("the activation differs from image to image")
    return array


def chain_behind(defined: dict[Any, Any], data: Any) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Element-wise bindings behind ``data`` in an order of computation, and where they start."""
    chain: list[tuple[Any, Any]] = []
    leaves: list[Any] = []
    met, waiting = {data}, [data]
    while waiting:
        var = waiting.pop()
        value = defined.get(var)
        if value is None or op_name(value) not in pointwise.TABLE:
            leaves.append(var)
            continue
        chain.append((var, value))
        inputs = dict.fromkeys(a for a in value.args if isinstance(a, relax.Var))
        new = [a for a in inputs if a not in met]
        met.update(new)
        waiting += new
    return _ordered(chain[::-1]), leaves


def _ordered(chain: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Bindings so that each comes behind what it reads."""
    values = dict(chain)
    readers: dict[Any, list[Any]] = {}
    open_inputs: dict[Any, int] = {}
    for var, value in chain:
        inner = {a for a in value.args if isinstance(a, relax.Var) and a in values}
        open_inputs[var] = len(inner)
        for arg in inner:
            readers.setdefault(arg, []).append(var)
    ready = deque(var for var, count in open_inputs.items() if count == 0)
    done = []
    while ready:
        var = ready.popleft()
        done.append((var, values[var]))
        for reader in readers.get(var, []):
            open_inputs[reader] -= 1
            if open_inputs[reader] == 0:
                ready.append(reader)
    return done


MOST_ROOTS = 64
"""Of longer chains the deepest and the last tensors are tried: half of these each."""


def roots(defined: dict[Any, Any], data: Any) -> Iterator[tuple[Any, list[tuple[Any, Any]]]]:
    """``(root, bindings after it)`` for every single tensor that determines ``data``.

    The deepest comes first, ``data`` itself last. In the order of computation a tensor is such a
    root when nothing else computed up to it is read after it.
    """
    chain, leaves = chain_behind(defined, data)
    born = dict.fromkeys(leaves, -1) | {var: i for i, (var, _) in enumerate(chain)}
    last_read = {a: i for i, (_, call) in enumerate(chain) for a in call.args if a in born}
    ends: list[list[Any]] = [[] for _ in chain]
    for var, position in last_read.items():
        ends[position].append(var)
    live = {leaf for leaf in leaves if leaf in last_read}
    found: dict[Any, int] = {}
    for position in range(-1, len(chain) - 1):
        if position >= 0:
            live.difference_update(ends[position])
            live.add(chain[position][0])
        if len(live) == 1:
            found.setdefault(next(iter(live)), position + 1)
    tried = list(found.items())
    if len(tried) > MOST_ROOTS:
        tried = tried[: MOST_ROOTS // 2] + tried[-MOST_ROOTS // 2 :]
    for root, start in tried:
        yield root, _needed(chain[start:], data)
    yield data, []


def _needed(chain: list[tuple[Any, Any]], end: Any) -> list[tuple[Any, Any]]:
    wanted = {end}
    out = []
    for var, call in reversed(chain):
        if var in wanted:
            out.append((var, call))
            wanted.update(a for a in call.args if isinstance(a, relax.Var))
    return out[::-1]
