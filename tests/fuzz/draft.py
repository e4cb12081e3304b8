"""A graph that grows: each node is run when it is proposed, and kept if its values are sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from .onnx_node import ARITHMETIC, CONTRACTIONS, SELECTING, NodeRunner, RejectedError
from .values import Array, Value, is_dyadic

T = TypeVar("T")

ROUNDING = 5e-7
"""What an operator may add, relative to the size of what it sums."""

MOST_BLUR = 1.5e-5
"""The largest blur of a tensor, relative to its largest value: the judge allows 1e-4."""

QONNX = "qonnx.custom_op.general"
MOST_ELEMENTS = 20_000
MOST_SIZE = 1e9
_ROUNDS_INSIDE = frozenset(
    ["QuantizeLinear", "DynamicQuantizeLinear", "Mod", "Resize", "Upsample", "LpNormalization"]
    + ["InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN"]
)
"""Operators with a step or a difference inside: their inputs are moved by some rounding too."""
_HALF = 2e-3
"""As ``ROUNDING``, for float16."""


class Draft:
    """The graph so far.

    Args:
        rng: All choices come from it.
        opset: Version of the operator set.
        dyadic: Constants and inputs are small multiples of a power of two.
        open_batch: The inputs' first dimension is symbolic: no constant may hold it.
    """

    def __init__(
        self, rng: np.random.Generator, opset: int, *, dyadic: bool, open_batch: bool = False
    ) -> None:
        self.rng = rng
        self.opset = opset
        self.dyadic = dyadic
        self.open_batch = open_batch
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[Value] = []
        self.constants: list[Value] = []
        self.values: list[Value] = []
        self.expansions: dict[str, list[onnx.NodeProto]] = {}
        self._names = 0
        self.odd_names = rng.random() < 0.05

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choose(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]

    def pick(self, wanted: Callable[[Value], bool]) -> Value:
        """A tensor with that property; late ones are likelier.

        Raises:
            RejectedError: There is none.
        """
        found = [value for value in self.values if wanted(value)]
        if not found:
            raise RejectedError("no such tensor")
        weights = 1.6 ** np.arange(len(found))
        return found[int(self.rng.choice(len(found), p=weights / weights.sum()))]

    def floats(self, *ranks: int) -> Value:
        """A float32 tensor, of one of the ranks if any are given."""
        return self.pick(lambda v: v.dtype == "float32" and (not ranks or v.rank in ranks))

    def numbers(self, shape: Sequence[int], scale: float = 1.0) -> npt.NDArray[np.float32]:
        """Random constants: multiples of 1/4 where the graph is dyadic, else normal."""
        if self.dyadic:
            spread = self.choose((2, 4, 8))
            drawn = self.rng.integers(-spread, spread + 1, shape) / 4
        else:
            drawn = self.rng.normal(0, scale, shape)
        return np.asarray(drawn, dtype=np.float32)

    def constant(self, array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> Value:
        stored = np.array(array, dtype=dtype)
        value = Value(self._name("c"), stored, np.zeros(stored.shape), is_dyadic(stored), True)
        self.constants.append(value)
        return value

    def ints(self, *numbers: int) -> Value:
        return self.constant(list(numbers), np.int64)

    def enter(self, array: Array, name: str | None = None) -> Value:
        """A graph input."""
        label = name or self._name("x")
        value = Value(label, array, np.zeros(array.shape), is_dyadic(array), batched=True)
        self.inputs.append(value)
        self.values.append(value)
        return value

    def op(
        self,
        op_type: str,
        *operands: Value | None,
        discrete: bool = False,
        **attributes: Any,
    ) -> Value:
        """The only output of one node; see :meth:`ops`."""
        return self.ops(op_type, *operands, discrete=discrete, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *operands: Value | None,
        outputs: int = 1,
        discrete: bool = False,
        **attributes: Any,
    ) -> list[Value]:
        """Append one node, and return its outputs.

        ``discrete``: its sums are integers times one number, so that ties are ONNX's own (E2).

        Raises:
            RejectedError: onnxruntime refuses it, or its values are not finite, too large, too
                many, or depend on rounding.
        """
        given = list(operands)
        while given and given[-1] is None:
            given.pop()
        names = [self._name(op_type.lower()) for _ in range(outputs)]
        node = helper.make_node(
            op_type, ["" if v is None else v.name for v in given], names, names[0], **attributes
        )
        made = self._evaluate(node, given, discrete)
        self.nodes.append(node)
        self.values.extend(made)
        return made

    def dialect(
        self,
        op_type: str,
        operands: Sequence[Value],
        meaning: Callable[[], Value],
        **attributes: Any,
    ) -> Value:
        """One QONNX node in the place of the standard nodes that ``meaning`` appends."""
        nodes, values, _ = self.mark()
        result = meaning()
        names = [v.name for v in operands]
        node = helper.make_node(
            op_type, names, [result.name], result.name, domain=QONNX, **attributes
        )
        self.expansions[result.name] = self.nodes[nodes:]
        del self.nodes[nodes:], self.values[values:]
        self.nodes.append(node)
        self.values.append(result)
        return result

    def mark(self) -> tuple[int, int, int]:
        """A point to go back to."""
        return len(self.nodes), len(self.values), len(self.constants)

    def back(self, mark: tuple[int, int, int]) -> None:
        """Forget what came after ``mark``."""
        del self.nodes[mark[0] :], self.values[mark[1] :], self.constants[mark[2] :]

    def _name(self, stem: str) -> str:
        self._names += 1
        if self.odd_names and self.chance(0.2):
            odd = self.choose(("main", "step", "a/b:0", "1x", "x.y", "größe", "lambda", "T", ""))
            return f"{odd}{self._names}" if odd not in ("main", "step") or self._taken(odd) else odd
        return f"{stem}{self._names}"

    def _taken(self, name: str) -> bool:
        used = (*self.inputs, *self.constants, *self.values)
        return any(value.name == name for value in used)

    def _evaluate(
        self, node: onnx.NodeProto, given: list[Value | None], discrete: bool
    ) -> list[Value]:
        arrays = [None if v is None else v.array for v in given]
        runner = NodeRunner(node, arrays, self.opset)
        results = runner.run(arrays)
        for array in results:
            _refuse_unsound(array)
        present = [v for v in given if v is not None]
        op_type = node.op_type
        exact = all(v.exact for v in present) and _exact_operator(op_type, present, results)
        moved = [np.zeros(a.shape) for a in results]
        own = op_type in _ROUNDS_INSIDE and not all(v.exact for v in present)
        if own or any(v.blur.any() for v in present):
            moved = self._moved(runner, given, results)
        sizes = [_size(a) for a in results]
        if op_type in CONTRACTIONS or op_type in ARITHMETIC:
            # What is summed, not what is left of it, says how much is rounded.
            absolute = [_absolute(a) for a in arrays]
            large = runner.run(absolute)
            if op_type == "Sub":
                large = [np.asarray(absolute[0] + absolute[1])]  # type: ignore[operator]
            sizes = [np.maximum(s, _size(a)) for s, a in zip(sizes, large, strict=True)]
        made = []
        batched = any(v.batched for v in present)
        for name, array, blur, size in zip(node.output, results, moved, sizes, strict=True):
            noise = 0.0
            if array.dtype.kind == "f" and op_type not in SELECTING:
                continuous = op_type in CONTRACTIONS and not discrete
                if not exact or continuous:
                    noise = ROUNDING if array.dtype.itemsize > 2 else _HALF
            total = blur + noise * size
            _refuse_blurred(array, total)
            made.append(Value(name, array, total, exact, batched=batched))
        return made

    def _moved(
        self, runner: NodeRunner, given: list[Value | None], results: list[Array]
    ) -> list[npt.NDArray[np.float64]]:
        """How far the results move when the operands move by their blur."""
        most = [np.zeros(a.shape) for a in results]
        generator = np.random.default_rng(len(self.nodes))
        for trial in range(4):
            arrays: list[Array | None] = []
            for value in given:
                if value is None or not value.is_float:
                    arrays.append(None if value is None else value.array)
                    continue
                sign = (1.0, -1.0)[trial] if trial < 2 else generator.choice((-1, 1), value.shape)
                blur = 2 * value.blur
                if runner.op_type in _ROUNDS_INSIDE:
                    blur = blur + ROUNDING * _size(value.array)
                shifted = value.array.astype(np.float64) + sign * blur
                arrays.append(np.asarray(shifted, dtype=value.array.dtype))
            for n, array in enumerate(runner.run(arrays)):
                if array.shape != results[n].shape:
                    raise RejectedError("its shape depends on rounding")
                distance = np.abs(array.astype(np.float64) - results[n].astype(np.float64))
                most[n] = np.maximum(most[n], distance)
        return most


def _exact_operator(op_type: str, given: list[Value], results: list[Array]) -> bool:
    if op_type in SELECTING:
        return True
    known = op_type in ARITHMETIC or op_type in CONTRACTIONS
    whole = all(v.array.dtype.kind != "f" for v in given)
    return (known or whole) and all(is_dyadic(a) for a in results)


def _absolute(array: Array | None) -> Array | None:
    if array is None or array.dtype.kind != "f":
        return array
    return np.asarray(np.abs(array))


def _size(array: Array) -> npt.NDArray[np.float64]:
    large = np.abs(np.nan_to_num(array.astype(np.float64)))
    return np.asarray(large + 0.1 * np.max(large, initial=0.0))


def _refuse_unsound(array: Array) -> None:
    if array.size > MOST_ELEMENTS or array.size == 0:
        raise RejectedError("too many elements, or none")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise RejectedError("not finite")
        if float(np.max(np.abs(array), initial=0.0)) > MOST_SIZE:
            raise RejectedError("too large")


def _refuse_blurred(array: Array, blur: npt.NDArray[np.float64]) -> None:
    largest = float(np.max(np.abs(array.astype(np.float64)), initial=0.0))
    most = MOST_BLUR if array.dtype != np.float16 else 0.02
    if array.dtype.kind != "f" and blur.any():
        raise RejectedError("depends on rounding")
    if float(np.max(blur, initial=0.0)) > most * largest:
        raise RejectedError("depends on rounding")


def store(values: Sequence[Value]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(v.array), v.name) for v in values]
