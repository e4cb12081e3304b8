"""The onnx package's own operator tests: models with inputs and the outputs that they must give.

Where an operator takes a shape, an axis or the like as an input, these tests feed it at run time.
An exported network stores it, and a compiler of fixed shapes needs it: ``stored`` makes an
initializer of it. ``STORED`` is the whole list of such inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

SETS = ("node", "pytorch-operator", "pytorch-converted", "simple")

STORED: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Compress": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
"""Per operator, the inputs that say what to compute on, not with what."""


@dataclass(frozen=True)
class Case:
    """One test of the onnx package.

    Attributes:
        name: The package's own, which is unique.
        origin: One of ``SETS``.
        model: The serialised model.
        inputs: Arrays by name, of those inputs that are left.
        outputs: Expected arrays, in order.
        stored: Names of the inputs that became initializers.
        plain: Whether all data are NumPy arrays, as in 1,666 of the operators' tests: no type
            that NumPy lacks, no sequence, no optional value.
    """

    name: str
    origin: str
    model: bytes
    inputs: dict[str, Any]
    outputs: list[Any]
    stored: tuple[str, ...] = ()
    plain: bool = True

    @property
    def expanded(self) -> bool:
        """Whether the operator stands as the body of its ONNX function."""
        return "_expanded" in self.name


def collect() -> list[Case]:
    """Every case of ``SETS`` whose inputs and outputs are tensors, in a fixed order."""
    found = {case.name: case for case in (*_node_cases(), *_data_cases())}
    cases = []
    for case in found.values():
        base = found.get(case.name.split("_expanded")[0], case)
        cases.append(_store(case, _stored_inputs(base) if base is not case else None))
    return sorted(cases, key=lambda case: (SETS.index(case.origin), case.name))


def _node_cases() -> Iterator[Case]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tests = collect_testcases(None)
    for test in tests:
        model = test.model
        if not _only_tensors(model):
            continue
        ((inputs, outputs),) = test.data_sets
        plain = all(isinstance(a, np.ndarray | np.generic) for a in (*inputs, *outputs))
        given = [_array(value) for value in inputs]
        names = [value.name for value in model.graph.input]
        yield Case(
            test.name,
            "node",
            model.SerializeToString(),
            dict(zip(names, given, strict=True)),
            [_array(value) for value in outputs],
            plain=plain,
        )


def _data_cases() -> Iterator[Case]:
    root = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for origin in SETS[1:]:
        for folder in sorted((root / origin).iterdir()):
            if not (folder / "model.onnx").is_file():
                continue
            model = onnx.load(folder / "model.onnx")
            if not _only_tensors(model):
                continue
            data = folder / "test_data_set_0"
            stored = {tensor.name for tensor in model.graph.initializer}
            names = [value.name for value in model.graph.input if value.name not in stored]
            given = [_load(data / f"input_{n}.pb") for n in range(len(names))]
            wanted = [_load(data / f"output_{n}.pb") for n in range(len(model.graph.output))]
            yield Case(
                f"{origin}/{folder.name}",
                origin,
                model.SerializeToString(),
                dict(zip(names, given, strict=True)),
                wanted,
            )


def _load(path: Path) -> Any:
    return numpy_helper.to_array(onnx.load_tensor(path))


def _array(value: Any) -> Any:
    return (
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    )


def _only_tensors(model: onnx.ModelProto) -> bool:
    values = (*model.graph.input, *model.graph.output)
    return all(value.type.WhichOneof("value") == "tensor_type" for value in values)


def _stored_inputs(case: Case) -> set[str]:
    graph = onnx.ModelProto.FromString(case.model).graph
    return {
        node.input[index]
        for node in graph.node
        for index in STORED.get(node.op_type, ())
        if index < len(node.input) and node.input[index] in case.inputs
    }


def _store(case: Case, names: set[str] | None) -> Case:
    """The case with the inputs ``names``, by default those of ``STORED``, as initializers."""
    chosen = (names if names is not None else _stored_inputs(case)) & set(case.inputs)
    if not chosen:
        return case
    model = onnx.ModelProto.FromString(case.model)
    kept = [value for value in model.graph.input if value.name not in chosen]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name in sorted(chosen):
        model.graph.initializer.append(numpy_helper.from_array(case.inputs[name], name))
    return replace(
        case,
        model=model.SerializeToString(),
        inputs={name: value for name, value in case.inputs.items() if name not in chosen},
        stored=tuple(sorted(chosen)),
    )
