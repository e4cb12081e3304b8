"""Loading: every damaged, hostile or out-of-range file is one ModelError that names it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend import import_onnx, load_onnx
from abc_tvm.frontend.onnx_file import check_onnx


def small_model(opset: int = 13) -> onnx.ModelProto:
    weight = np.random.default_rng(0).choice([-1.0, 1.0], (4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Sign", ["x"], ["s"], name="sign"),
            helper.make_node("Conv", ["s", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def fails(path: Path, *words: str, kind: type[ModelError] = ModelError) -> None:
    with pytest.raises(kind) as caught:
        load_onnx(path)
    text = str(caught.value)
    assert "\n" not in text
    for word in (path.name, *words):
        assert word in text


def test_loads_by_str_and_path(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", small_model())
    assert load_onnx(path) == load_onnx(str(path)) == onnx.load(path)


def test_unreadable_files(tmp_path: Path) -> None:
    fails(tmp_path / "none.onnx", "no such file")
    fails(tmp_path, "directory")
    (tmp_path / "empty.onnx").touch()
    fails(tmp_path / "empty.onnx", "empty")
    (tmp_path / "text.onnx").write_text("this is not a network\n" * 9)
    fails(tmp_path / "text.onnx", "not an ONNX model")


def test_incomplete_models(tmp_path: Path) -> None:
    fails(write(tmp_path / "a.onnx", onnx.ModelProto(ir_version=8)), "no graph")
    model = small_model()
    del model.graph.output[:]
    fails(write(tmp_path / "b.onnx", model), "no outputs")
    model = small_model()
    del model.graph.node[:]
    fails(write(tmp_path / "c.onnx", model), "no operators")
    model = small_model()
    model.graph.node[1].input[0] = "nowhere"
    fails(write(tmp_path / "d.onnx", model), "nowhere")
    model = small_model()
    model.graph.initializer[0].dims[1] = 5
    fails(write(tmp_path / "e.onnx", model), "'w'")


def test_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "name.onnx"
    path.write_bytes(small_model().SerializeToString().replace(b"relu", b"re\xff\xfe"))
    fails(path, "not valid text")


def test_type_error_found_by_shape_inference(tmp_path: Path) -> None:
    model = small_model()
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    fails(write(tmp_path / "type.onnx", model), "not a valid ONNX model")


def test_opset_bounds(tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    for opset in (9, 13, newest):
        load_onnx(write(tmp_path / f"{opset}.onnx", small_model(opset)))
    old = write(tmp_path / "old.onnx", small_model(8))
    fails(old, "opset 8", "older than 9", kind=UnsupportedError)
    new = write(tmp_path / "new.onnx", small_model(newest + 1))
    fails(new, f"opset {newest + 1}", "newer", kind=UnsupportedError)
    model = small_model()
    del model.opset_import[:]
    fails(write(tmp_path / "no.onnx", model), "operator set")


def survives(path: Path, data: bytes) -> bool:
    """Whether the damaged bytes load and import; anything but a ModelError fails the test."""
    path.write_bytes(data)
    refusal: ModelError | None = None
    try:
        import_onnx(path)
    except ModelError as error:
        refusal = error
    if refusal is None:
        return True
    assert "\n" not in str(refusal) and path.name in str(refusal)
    return False


def test_truncation_at_every_eighth_byte(tmp_path: Path) -> None:
    data = small_model().SerializeToString()
    path = tmp_path / "cut.onnx"
    for end in range(0, len(data) - 12, 8):
        assert not survives(path, data[:end]), end


def test_byte_flips(tmp_path: Path) -> None:
    model = small_model()
    data = model.SerializeToString()
    weights = data.index(model.graph.initializer[0].raw_data)
    # Flips in the weights make other weights; the structure around them is what can break.
    structure = [*range(weights), *range(weights + 432, len(data))]
    random_bytes = random.Random(1)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(data)
        damaged[random_bytes.choice(structure)] ^= random_bytes.randrange(1, 256)
        outcomes.add(survives(tmp_path / "flip.onnx", bytes(damaged)))
    assert outcomes == {True, False}


def test_an_unknown_element_type_is_named() -> None:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.data_type = 99
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    with pytest.raises(ModelError, match="tensor 'w' is of element type 99, which"):
        check_onnx(model, "m.onnx")
