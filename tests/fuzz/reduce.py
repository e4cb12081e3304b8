"""The smallest graph that still fails in the same way.

Cuts that are tried until none succeeds: fewer outputs; an inner tensor as the output; an inner
tensor as an input, with the value that onnxruntime gives it; a node left out; extents of inputs
and constants halved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .case import Case
from .judge import Outcome, difference, reference
from .onnx_node import RejectedError, execute, session
from .values import Array

Judge = Callable[[Case], Outcome]
SECONDS = 120.0


def reduce(case: Case, judge: Judge, seconds: float = SECONDS) -> Case:
    """A smaller case with an outcome of the same kind, and the same cause for an exception."""
    first = judge(case)
    until = time.monotonic() + seconds

    def fails(smaller: Case) -> bool:
        if first.kind == "wrong" and not _is_stable(smaller):
            return False
        found = judge(smaller)
        return found.kind == first.kind and (found.kind == "wrong" or found.cause == first.cause)

    smallest = case
    progress = True
    while progress and time.monotonic() < until:
        progress = False
        for smaller in _smaller(smallest):
            if time.monotonic() > until:
                break
            if fails(smaller):
                smallest, progress = smaller, True
                break
    return smallest


def _is_stable(case: Case) -> bool:
    """Whether onnxruntime's own results bear a little rounding of the inputs."""
    if case.exact:
        return True
    moved = {
        name: a * (1 + 1e-6 * np.sign(a)).astype(a.dtype) if a.dtype.kind == "f" else a
        for name, a in case.inputs.items()
    }
    try:
        right, again = reference(case.standard, case.inputs), reference(case.standard, moved)
    except RejectedError:
        return False
    return not any(difference(again[n], a, False) for n, a in right.items())


def _smaller(case: Case) -> Iterator[Case]:
    try:
        values = _inner_values(case)
    except RejectedError:
        return
    yield from _fewer_outputs(case)
    yield from _cut_end(case, values)
    yield from _cut_front(case, values)
    yield from _without_a_node(case, values)
    yield from _halved(case)


def _inner_values(case: Case) -> dict[str, Array]:
    """Every tensor of the subject's graph, as onnxruntime computes it."""
    model = onnx.ModelProto()
    model.CopyFrom(case.standard)
    names = [name for node in case.model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = dict(zip(names, execute(session(model), dict(case.inputs)), strict=True))
    stored = {t.name: numpy_helper.to_array(t) for t in case.model.graph.initializer}
    return {**stored, **case.inputs, **found}


def _fewer_outputs(case: Case) -> Iterator[Case]:
    outputs = list(case.model.graph.output)
    for output in outputs if len(outputs) > 1 else []:
        yield _rebuilt(case, list(case.model.graph.node), [output], list(case.model.graph.input))
    for output in outputs if len(outputs) > 2 else []:
        others = [other for other in outputs if other is not output]
        yield _rebuilt(case, list(case.model.graph.node), others, list(case.model.graph.input))


def _cut_end(case: Case, values: dict[str, Array]) -> Iterator[Case]:
    graph = case.model.graph
    ends = {output.name for output in graph.output}
    for node in graph.node:
        for name in node.output:
            if name in values and not {name} >= ends:
                yield _rebuilt(
                    case, list(graph.node), [_info(name, values[name])], list(graph.input)
                )


def _cut_front(case: Case, values: dict[str, Array]) -> Iterator[Case]:
    graph = case.model.graph
    ends = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if ends.intersection(node.output) or len(graph.node) < 2:
            continue
        kept = [other for other in graph.node if other is not node]
        inputs = [*graph.input, *(_info(n, values[n]) for n in node.output if n in values)]
        smaller = _rebuilt(case, kept, list(graph.output), inputs, values)
        if len(smaller.model.graph.node) < len(graph.node):
            yield smaller


def _without_a_node(case: Case, values: dict[str, Array]) -> Iterator[Case]:
    graph = case.model.graph
    ends = {output.name for output in graph.output}
    for node in graph.node:
        made = node.output[0]
        if made not in values or made in ends:
            continue
        for name in node.input:
            if name not in values or name == made:
                continue
            if (values[name].shape, values[name].dtype) != (values[made].shape, values[made].dtype):
                continue
            kept = []
            for other in graph.node:
                if other is node:
                    continue
                copy = onnx.NodeProto()
                copy.CopyFrom(other)
                copy.input[:] = [name if n == made else n for n in other.input]
                kept.append(copy)
            if not case.expansions:
                yield _rebuilt(case, kept, list(graph.output), list(graph.input))


def _halved(case: Case) -> Iterator[Case]:
    """An axis of a constant or an input cut in half, also along with others of that extent."""
    graph = case.model.graph
    arrays: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    arrays.update(case.inputs)
    extents = sorted({n for a in arrays.values() for n in a.shape if n > 1}, reverse=True)
    for extent in extents:
        for smaller in sorted({1, extent // 2, extent - 1}):
            cut = {name: _cut(a, extent, smaller) for name, a in arrays.items()}
            yield from _resized(case, cut)
    for name, array in arrays.items():
        for axis, extent in enumerate(array.shape):
            if extent > 1:
                part = np.take(array, range(extent // 2), axis)
                yield from _resized(case, {**arrays, name: part})


def _cut(array: Array, extent: int, smaller: int) -> Array:
    index = tuple(slice(smaller) if n == extent else slice(None) for n in array.shape)
    return array[index]


def _resized(case: Case, arrays: dict[str, Array]) -> Iterator[Case]:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    del model.graph.initializer[:]
    for tensor in case.model.graph.initializer:
        model.graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(arrays[tensor.name]), tensor.name)
        )
    inputs = {name: np.ascontiguousarray(arrays[name]) for name in case.inputs}
    for value in model.graph.input:
        for dim, extent in zip(
            value.type.tensor_type.shape.dim, inputs[value.name].shape, strict=True
        ):
            if dim.HasField("dim_value"):
                dim.dim_value = extent
    smaller = case.with_model(model, inputs)
    try:
        results = execute(session(_untyped(smaller.standard)), dict(inputs))
    except RejectedError:
        return
    for value, array in zip(model.graph.output, results, strict=True):
        dims = value.type.tensor_type.shape.dim
        if len(dims) != array.ndim or array.size == 0:
            return
        for dim, extent in zip(dims, array.shape, strict=True):
            if dim.HasField("dim_value"):
                dim.dim_value = extent
    yield case.with_model(model, inputs)


def _untyped(model: onnx.ModelProto) -> onnx.ModelProto:
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for value in bare.graph.output:
        value.ClearField("type")
    return bare


def _rebuilt(
    case: Case,
    nodes: list[onnx.NodeProto],
    outputs: list[onnx.ValueInfoProto],
    inputs: list[onnx.ValueInfoProto],
    values: dict[str, Array] | None = None,
) -> Case:
    """The case with these parts, without what no output needs."""
    wanted = {output.name for output in outputs}
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            for inner in case.expansions.get(node.output[0], ()) if node.domain else ():
                wanted.update(inner.input)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    read = [value for value in inputs if value.name in wanted]
    stored = [t for t in case.model.graph.initializer if t.name in wanted]
    for field, parts in (
        ("node", kept[::-1]),
        ("output", outputs),
        ("input", read),
        ("initializer", stored),
    ):
        copies = [type(part).FromString(part.SerializeToString()) for part in parts]
        del getattr(graph, field)[:]
        getattr(graph, field).extend(copies)
    known = {**(values or {}), **case.inputs}
    return case.with_model(model, {value.name: known[value.name] for value in read})


def _info(name: str, array: Array) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape)
