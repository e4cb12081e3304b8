"""External data is read from the model's own folder alone, whole, in the size that is stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.errors import ModelError
from abc_tvm.frontend import import_onnx, load_onnx
from abc_tvm.frontend.refusals.external_data import is_external, model_tensors
from tests.abc_tvm.frontend.test_onnx_file import fails, small_model, write


def external_model(folder: Path, location: str, **entries: int) -> Path:
    model = small_model()
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    folder.mkdir(exist_ok=True)
    (folder.parent / "w.bin").write_bytes(data)
    (folder / "w.bin").write_bytes(b"\0" * 4 + data)
    return write(folder / "ext.onnx", model)


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    path = external_model(tmp_path / "in", "w.bin", offset=4, length=432)
    loaded = load_onnx(path)
    weight = numpy_helper.to_array(loaded.graph.initializer[0])
    assert weight.shape == (4, 3, 3, 3) and set(np.unique(weight)) == {-1.0, 1.0}
    with pytest.raises(ModelError, match="by its path"):
        import_onnx(onnx.load(path, load_external_data=False))


def test_external_data_never_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    fails(external_model(folder, str(tmp_path / "w.bin")), "'w'", "absolute")
    fails(external_model(folder, "C:\\w.bin"), "absolute")
    fails(external_model(folder, "../w.bin"), "'w'", "'..'")
    fails(external_model(folder, "a\\..\\..\\w.bin"), "'..'")
    fails(external_model(folder, ""), "location")
    path = external_model(folder, "link.bin")
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    fails(path, "link.bin", "leaves")
    path = external_model(folder, "sub/w.bin")
    (folder / "sub").symlink_to(tmp_path)
    fails(path, "sub/w.bin", "leaves")


def test_external_data_missing_short_or_malformed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    fails(external_model(folder, "gone.bin"), "'w'", "gone.bin", "missing")
    fails(external_model(folder, "w.bin", offset=8), "cut short")
    fails(external_model(folder, "w.bin", length=12), "432 bytes")
    fails(external_model(folder, "w.bin", offset=-1), "bad offset")
    (folder / "sub").mkdir()
    fails(external_model(folder, "sub"), "regular file")


def test_numbers_that_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for text in ("-1", "1e3", "", "9" * 20, "\u0663"):
        path = external_model(folder, "w.bin")
        model = onnx.load(path, load_external_data=False)
        model.graph.initializer[0].external_data.add(key="length", value=text)
        fails(write(path, model), "bad length")


def test_every_tensor_is_found() -> None:
    """In attributes, in branches and in functions, too."""
    model = small_model()
    one = numpy_helper.from_array(np.float32(1), "held")
    body = helper.make_graph([], "b", [], [], [one])
    constant = helper.make_node("Constant", [], ["k"], value=one)
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=body))
    function = helper.make_function("d", "F", [], ["k"], [constant], [helper.make_opsetid("", 13)])
    model.functions.append(function)
    assert [tensor.name for tensor in model_tensors(model)] == ["w", "held", "held"]
    assert not is_external(one)
    one.data_location = TensorProto.EXTERNAL
    assert is_external(one)
