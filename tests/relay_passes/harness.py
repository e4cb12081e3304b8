"""Small networks, the passes up to a point, golden IR, and compiled results, for the pass tests."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import tvm
from tvm import relax
from tvm.ir import GenericConst

from abc_tvm import targets
from abc_tvm.frontend import import_onnx, standard_onnx
from abc_tvm.relay_passes import pipeline
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.rewrite import array_of, bindings, constant, op_name
from tests.generators import GraphBuilder

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "ABC_TVM_UPDATE_GOLDEN"
DEVICE = "zen4"
"""Graph passes only read a device's costs, so that any machine gives the same IR."""


class Net(GraphBuilder):
    """A graph builder with the few layers that the pass tests are made of."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0, opset: int = 13) -> None:
        super().__init__(opset)
        self.shape = shape
        self.rng = np.random.default_rng(seed)

    def signs(self, *shape: int) -> np.ndarray:
        """Random ±1, float32."""
        return np.where(self.rng.random(shape) < 0.5, -1, 1).astype(np.float32)

    def channels(self, values: Any) -> str:
        """A per-channel constant ``[C, 1, 1]``."""
        return self.constant(np.asarray(values, np.float32).reshape(-1, 1, 1))

    def step(self, x: str, threshold: float = 0.0) -> str:
        """+1 where ``x >= threshold``, else -1."""
        above = self.op("GreaterOrEqual", x, self.constant(threshold))
        return self.op("Where", above, self.constant(1.0), self.constant(-1.0))

    def conv(self, x: str, weight: np.ndarray, pad: int = 0, **attributes: Any) -> str:
        """A convolution with square padding."""
        size = list(weight.shape[2:])
        name = self.constant(weight)
        return self.op("Conv", x, name, kernel_shape=size, pads=[pad] * 4, **attributes)

    def bn(self, x: str, gamma: Any, beta: Any = 0.0, mean: Any = 0.0, var: Any = 1.0) -> str:
        """Batch normalisation; scalars apply to every channel, epsilon is 1e-5."""
        count = np.size(gamma)
        rows = [np.broadcast_to(np.float32(v), count).copy() for v in (gamma, beta, mean, var)]
        return self.op("BatchNormalization", x, *map(self.constant, rows))

    def model(self, result: str, symbolic_batch: bool = False) -> onnx.ModelProto:
        """The finished model; its output's shape comes from onnx's shape inference."""
        open_model = onnx.helper.make_model(
            onnx.helper.make_graph(
                self._nodes,
                "shapes",
                [onnx.helper.make_tensor_value_info("input", 1, self.shape)],
                [onnx.helper.make_empty_tensor_value_info(result)],
                self._initializers,
            ),
            opset_imports=[onnx.helper.make_opsetid("", self.opset)],
        )
        inferred = onnx.shape_inference.infer_shapes(open_model).graph.output[0]
        shape = tuple(d.dim_value for d in inferred.type.tensor_type.shape.dim)
        return self.finish(result, self.shape, shape, symbolic_batch)


def two_layers(**options: Any) -> onnx.ModelProto:
    """Step, convolution, batch normalisation with both signs, step, convolution; NCHW 4x6x6.

    Options: ``pool`` puts a MaxPool after the first convolution, ``pad`` pads both convolutions,
    ``alpha`` scales the first one's weights, ``symbolic`` makes the batch symbolic.
    """
    net = Net((2, 4, 6, 6))
    pad = options.get("pad", 0)
    x = net.conv(net.step("input", 0.25), options.get("alpha", 1.0) * net.signs(8, 4, 3, 3), pad)
    if options.get("pool"):
        x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.bn(x, [1, -1, 0.5, 2, -0.5, 1, 1, 3], 0.3, 1.0, 4.0)
    x = net.conv(net.step(x), net.signs(8, 8, 2, 2), pad)
    return net.model(x, options.get("symbolic", False))


def passes_until(
    model: onnx.ModelProto, last: str, lowering: str = "bitserial", device: str = DEVICE
) -> tuple[tvm.IRModule, Context]:
    """The module after the pass named ``last``, and what the passes found."""
    context = Context(targets.load(device), lowering)
    return continue_passes(import_onnx(model), context, "canonicalise", last), context


def continue_passes(mod: tvm.IRModule, context: Context, first: str, last: str) -> tvm.IRModule:
    """Run the passes from ``first`` to ``last``, both included, and check their contracts."""
    order = pipeline.passes(context)
    names = [name for name, _ in order]
    return pipeline.run(mod, order[names.index(first) : names.index(last) + 1], checked=True)


def compiled(
    model: onnx.ModelProto, lowering: str = "bitserial"
) -> tuple[Callable[[np.ndarray], np.ndarray], Context]:
    """The network as a function on this machine, and what the passes found."""
    mod, context = passes_until(model, "legalise", lowering, "native")
    return executable(mod, context), context


def executable(mod: tvm.IRModule, context: Context) -> Callable[[np.ndarray], np.ndarray]:
    """``legalise``'s result as a function."""
    target = context.device.tvm_target()
    with target:
        machine = relax.VirtualMachine(relax.build(mod, target), tvm.cpu())
    return lambda x: machine["main"](tvm.runtime.tensor(x)).numpy()


def onnxruntime_output(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What onnxruntime computes without optimising the graph."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    standard = standard_onnx(model).SerializeToString()
    session = ort.InferenceSession(standard, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


def assert_same_bits(
    model: onnx.ModelProto, lowering: str = "bitserial", seed: int = 0, x: np.ndarray | None = None
) -> Context:
    """Compile, run on quarters (ties included), and demand onnxruntime's very bits."""
    run, context = compiled(model, lowering)
    if x is None:
        dims = model.graph.input[0].type.tensor_type.shape.dim
        shape = [d.dim_value or 2 for d in dims]
        x = (np.random.default_rng(seed).integers(-8, 9, shape) / 4).astype(np.float32)
    np.testing.assert_array_equal(run(x), onnxruntime_output(model, x))
    return context


def calls(mod: tvm.IRModule, name: str) -> list[Any]:
    """All calls of one operator, in every Relax function."""
    functions = [f for _, f in mod.functions_items() if isinstance(f, relax.Function)]
    return [v for f in functions for _, v in bindings(f) if op_name(v) == name]


def assert_equal_ir(first: tvm.IRModule, second: tvm.IRModule) -> None:
    """Structural equality, constants included; ``a = b`` counts as nothing."""
    plain = relax.transform.CanonicalizeBindings()
    tvm.ir.assert_structural_equal(plain(first), plain(second), map_free_vars=True)


SMALL = 32
"""Constants of at most so many elements are written out in golden IR."""


def text_of(mod: tvm.IRModule) -> str:
    """TVMScript of the Relax functions, then the values of small constants.

    A constant stands in the script as its type and shape; one that is written out below has a
    number as well, ``<c0: float32[1, 4]>``, and one of one or two elements has them there.
    """
    relaxed = {g: f for g, f in mod.functions_items() if isinstance(f, relax.Function)}
    script = tvm.IRModule(relaxed).script(show_meta=False)
    by_name = {g.name_hint: f for g, f in relaxed.items()}
    names = re.findall(r"def (\w+)\(", script)
    constants: list[GenericConst] = []  # in the order of TVMScript's own table
    for name in names:
        for _, value in bindings(by_name[name]):
            _collect(constants, value)
    arrays = [array_of(value) for value in constants]
    shown = {i: f"c{i}" for i, array in enumerate(arrays) if 2 < array.size <= SMALL}

    def label(match: re.Match[str]) -> str:
        number = int(match[1])
        array = arrays[number]
        text = f"{array.dtype}{list(array.shape)}"
        if number in shown:
            text = f"{shown[number]}: {text}"
        return f"<{text} = {_values(array.ravel())}>" if array.size <= 2 else f"<{text}>"

    script = re.sub(r'metadata\["[\w.]+"\]\[(\d+)\]', label, script)
    script = re.sub(r'R\.Tensor\((\([^()]*\)), dtype="(\w+)"\)', r"\2\1", script)
    lines = [line.rstrip() for line in script.splitlines() if not line.startswith("#")]
    table = [f"{name} = {_values(arrays[number])}" for number, name in shown.items()]
    return "\n".join(["\n".join(lines).strip(), *table]) + "\n"


def _collect(known: list[GenericConst], value: relax.Expr) -> None:
    """Add the constants of an expression that are no scalars, each object once."""
    array = constant(value)
    if array is not None:
        if array.ndim and not any(other.same_as(value) for other in known):
            known.append(value)
    elif not isinstance(value, relax.Var):
        for part in [*getattr(value, "args", []), *getattr(value, "fields", [])]:
            _collect(known, part)


def _values(array: np.ndarray) -> str:
    """Nested lists of the shortest numbers that are these floats."""
    if array.ndim:
        return f"[{', '.join(_values(part) for part in array)}]"
    return str(array[()])


def check_golden(name: str, mod: tvm.IRModule) -> None:
    """Compare with ``golden/<name>.txt``; ``ABC_TVM_UPDATE_GOLDEN=1`` writes it."""
    path = GOLDEN / f"{name}.txt"
    text = text_of(mod)
    if os.environ.get(UPDATE) == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name}: {UPDATE}=1 rewrites it"
