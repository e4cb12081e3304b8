"""Graph number i of seed S."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import onnx
from onnx import checker, helper, shape_inference

from . import binarized, operators_elementwise, operators_layers, operators_shapes
from .case import Build, Case
from .draft import QONNX, Draft, store
from .onnx_node import IR_VERSION, RejectedError
from .run_c import emulates
from .values import Value

Proposal = Callable[[Draft], None]

_E, _L, _S, _B = operators_elementwise, operators_layers, operators_shapes, binarized

PROPOSALS: dict[Proposal, float] = {
    _B.layer: 14, _B.step: 3, _B.shared: 2, _B.both_signs: 1,
    _E.unary: 6, _E.activation: 4, _E.clip: 2, _E.binary_constant: 6, _E.binary_two: 6,
    _E.square: 1, _E.where: 3, _E.logic: 1, _E.compare: 3, _E.cast: 1, _E.integers: 1,
    _E.floats_of_other_width: 1,
    _L.convolution: 8, _L.transposed: 2, _L.dense: 5, _L.matmul_two: 1, _L.pool: 6,
    _L.global_pool: 2, _L.batch_norm: 4, _L.normalisation: 2, _L.softmax: 2, _L.resize: 2,
    _L.quantise: 2, _L.integer_layer: 0.5, _L.other_width: 0.5, _L.lp_pool: 0.3,
    _S.transpose: 4, _S.reshape: 4, _S.flatten: 3, _S.squeeze: 2, _S.shuffle: 2, _S.concat: 4,
    _S.split: 2, _S.slice_: 3, _S.gather: 2, _S.pad: 4, _S.expand: 1, _S.reduce: 3,
    _S.arg_reduce: 1, _S.top_k: 0.5, _S.space: 1, _S.cumulate: 0.5, _S.computed_shape: 1,
    _S.one_hot: 0.3, _S.trilu: 0.3,
}  # fmt: skip
_BINARIZED = frozenset({_B.layer, _B.shared, _B.both_signs})
_RARE = frozenset(
    {_L.other_width, _E.cast, _E.integers, _E.floats_of_other_width, _L.integer_layer, _S.top_k}
)

TARGETS = ("haswell", "skylake-avx512", "x86-64", "icelake-server")
"""Besides ``native``; those that do not run on this machine are left out."""


def draw(seed: int, number: int, targets: tuple[str, ...] = ()) -> Case:
    """The same case for the same arguments."""
    rng = np.random.default_rng([seed, number, 15])
    for _ in range(50):
        with contextlib.suppress(RejectedError):
            return _attempt(rng, f"{seed}-{number}", targets)
    raise RuntimeError(f"graph {number} of seed {seed}: fifty attempts made nothing")


def _attempt(rng: np.random.Generator, label: str, targets: tuple[str, ...]) -> Case:
    opset = int(rng.choice([11, 12, 13, 14, 15, 16, 17, 17, 18, 19, 20, 21, 22]))
    draft = Draft(rng, opset, dyadic=bool(rng.random() < 0.5), open_batch=bool(rng.random() < 0.25))
    _enter(draft)
    weights = {p: w * float(rng.choice([0.2, 1.0, 3.0])) for p, w in PROPOSALS.items()}
    if draft.chance(0.6):
        weights = {p: 3 * w if p in _BINARIZED else w for p, w in weights.items()}
    if draft.chance(0.85):
        weights = {p: 0.0 if p in _RARE else w for p, w in weights.items()}
    shares = np.array(list(weights.values()))
    proposals = list(weights)
    size = int(rng.integers(1, 13))
    for _ in range(4 * size):
        if len(draft.nodes) >= size:
            break
        _propose(draft, proposals[int(rng.choice(len(proposals), p=shares / shares.sum()))])
    outputs = _outputs(draft)
    case = Case(
        label,
        _model(draft, outputs),
        {v.name: v.array for v in _read(draft, outputs)},
        frozenset(v.name for v in outputs if v.exact),
        _build(draft, targets),
        dict(draft.expansions),
    )
    try:
        checker.check_model(case.standard, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        # onnx and onnxruntime differ on some shapes (dilated pools with auto_pad).
        raise RejectedError("onnx refuses it") from error
    return case


def _propose(draft: Draft, proposal: Proposal) -> None:
    mark = draft.mark()
    try:
        proposal(draft)
    except RejectedError:
        draft.back(mark)


def _enter(d: Draft) -> None:
    """One to three inputs; the first is an image, a signal or a vector."""
    batch = int(d.choose((1, 1, 1, 2, 3)))
    for number in range(d.choose((1, 1, 1, 2, 2, 3))):
        channels = d.choose((1, 2, 3, 4, 4, 6, 8, 8, 16, 17, 32, 33))
        shape: tuple[int, ...]
        match d.choose("iiiiiissvvv" if not number else "iisv"):
            case "i":
                side = int(d.rng.integers(1, 10))
                shape = (
                    batch,
                    channels,
                    side,
                    side if d.chance(0.6) else int(d.rng.integers(1, 10)),
                )
            case "s":
                shape = (batch, channels, int(d.rng.integers(1, 20)))
            case _:
                shape = (batch, d.choose((1, 3, 8, 15, 16, 31, 32, 33, 64, 100)))
        if d.values and d.chance(0.5):
            shape = d.values[0].shape
        if number and not d.open_batch and d.chance(0.1):
            shape = shape[1:]
        value = d.enter(numbers(d, shape), None if d.odd_names else f"x{number}")
        if not value.is_float and d.chance(0.8):
            with contextlib.suppress(RejectedError):
                d.op("Cast", value, to=1)


def numbers(d: Draft, shape: tuple[int, ...]) -> np.ndarray:
    """An input: with zeros and −0.0, integers, large numbers, pixels, noise."""
    if d.chance(0.06):
        kind = d.choose((np.int64, np.int8, np.uint8, np.int32, np.bool_, np.float16, np.float64))
        return np.asarray(d.rng.integers(-8, 9, shape) if kind is not np.uint8 else
                          d.rng.integers(0, 255, shape)).astype(kind)  # fmt: skip
    if d.dyadic:
        choice = d.choose(("small", "small", "halves", "pixels", "signs"))
        drawn = {
            "small": lambda: d.rng.integers(-3, 4, shape) * 1.0,
            "halves": lambda: d.rng.integers(-16, 17, shape) / 8,
            "pixels": lambda: d.rng.integers(0, 256, shape) * 1.0,
            "signs": lambda: d.rng.choice([-1.0, 0.0, 1.0], shape),
        }[choice]()
    else:
        drawn = d.rng.normal(0, d.choose((1.0, 1.0, 1.0, 0.1, 100.0)), shape)
        if d.chance(0.4):
            drawn = np.where(d.rng.random(shape) < 0.1, 0.0, drawn)
        elif d.chance(0.2):
            drawn = np.abs(drawn)
    if d.chance(0.2):
        drawn = np.where((drawn == 0) & (d.rng.random(shape) < 0.5), -0.0, drawn)
    return np.asarray(drawn, dtype=np.float32)


def _outputs(d: Draft) -> list[Value]:
    """What nothing reads, at most three of them, and now and then a tensor inside."""
    if not d.nodes:
        raise RejectedError("no node")
    read = {name for node in d.nodes for name in node.input}
    made = [v for v in d.values if all(v is not x for x in d.inputs)]
    if not made:
        raise RejectedError("no output")
    leaves = [v for v in made if v.name not in read]
    chosen = leaves[-3:] or made[-1:]
    if d.chance(0.15):
        inner = d.choose(made)
        if all(v is not inner for v in chosen):
            chosen.append(inner)
    return chosen


def _live(d: Draft, outputs: list[Value]) -> list[onnx.NodeProto]:
    wanted = {v.name for v in outputs}
    kept = []
    for node in reversed(d.nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _read(d: Draft, outputs: list[Value]) -> list[Value]:
    used = {name for node in _live(d, outputs) for name in node.input}
    return [v for v in d.inputs if v.name in used]


def _model(d: Draft, outputs: list[Value]) -> onnx.ModelProto:
    nodes = _live(d, outputs)
    used = {name for node in nodes for name in node.input}
    standard = [n for node in nodes for n in d.expansions.get(node.output[0], [node])]
    used_standard = used | {name for node in standard for name in node.input}
    infos = [_info(v, d.open_batch) for v in _read(d, outputs)]
    stored = store([c for c in d.constants if c.name in used_standard])
    opsets = [helper.make_opsetid("", d.opset)]
    if any(node.domain for node in nodes):
        opsets.append(helper.make_opsetid(QONNX, 1))
    ends = [_info(v, d.open_batch) for v in outputs]
    if d.open_batch:
        ends = _inferred(standard, infos, stored, outputs, d.opset)
    graph = helper.make_graph(nodes, "graph", infos, ends, stored)
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _info(value: Value, open_batch: bool) -> onnx.ValueInfoProto:
    shape: list[int | str] = [*value.shape]
    if open_batch and value.batched and shape:
        shape[0] = "N"
    kind = helper.np_dtype_to_tensor_dtype(value.array.dtype)
    return helper.make_tensor_value_info(value.name, kind, shape)


def _inferred(
    nodes: list[onnx.NodeProto],
    infos: list[onnx.ValueInfoProto],
    stored: list[onnx.TensorProto],
    outputs: list[Value],
    opset: int,
) -> list[onnx.ValueInfoProto]:
    """The outputs as ONNX's shape inference knows them: which dimensions follow the batch."""
    bare = [onnx.ValueInfoProto(name=v.name) for v in outputs]
    graph = helper.make_graph(nodes, "graph", infos, bare, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        found = shape_inference.infer_shapes(model, data_prop=True).graph.output
    except shape_inference.InferenceError as error:
        raise RejectedError("no shapes") from error
    for value, info in zip(outputs, found, strict=True):
        if len(info.type.tensor_type.shape.dim) != value.rank:
            raise RejectedError("no shape of an output")
    return list(found)


def _build(d: Draft, targets: tuple[str, ...]) -> Build:
    lowering = d.choose(("auto", "auto", "bitserial", "bitserial", "int8", "float"))
    target = "native"
    if targets and d.chance(0.35):
        target = d.choose(targets)
    form = "so"
    if not d.open_batch and d.chance(0.03):
        form = "c"
        if emulates() and d.chance(0.4):
            target = d.choose(("aarch64", "rpi4", "rpi5"))
    return Build(lowering, target, form, optimise=d.chance(0.06))
