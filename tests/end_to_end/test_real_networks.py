"""Trained networks from public repositories, on real data: image by image as onnxruntime."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.end_to_end.judge import Compiled, reference

pytestmark = pytest.mark.shared
IMAGES = 500

EIGHT_BIT_INPUT = ("cifar10_cnv_w1a1", "cifar10_cnv_w1a2")

FLOAT_LAYERS = {
    "gtsrb_bnn_30x30": 1,  # reads the raw image
    "gtsrb_bnn_48x48": 1,
    "cifar10_cnv_w1a1": 1,  # 255 thresholds on 3 channels: the chooser's
    "cifar10_cnv_w1a2": 1,
    "mnist_lfc_w1a1": 0,
    "mnist_tfc_w1a1_qonnx": 0,
    "mnist_tfc_w1a2_qonnx": 0,
    "tinier_yolo_body_w1a3": 1,  # reads the network's input
}


def images(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs as the network was trained on, and labels."""
    if name.startswith("gtsrb"):
        size = name[-2:]
        with np.load(folder / f"gtsrb_test_{size}.npz") as data:
            return data["x"][:IMAGES].astype(np.float32), data["y"][:IMAGES]
    if name.startswith("cifar10"):
        with np.load(folder / "cifar10_test_jpeg.npz") as data:
            x = data["x"][:IMAGES].astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
            return np.ascontiguousarray(x, np.float32), data["y"][:IMAGES]
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:IMAGES]
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)[:IMAGES]
    if name.startswith("mnist_lfc"):
        return (pixels.reshape(-1, 784) / 127.5 - 1).astype(np.float32), labels
    return (pixels[:, None] / 255).astype(np.float32), labels


@pytest.mark.parametrize("name", sorted(n for n in FLOAT_LAYERS if "yolo" not in n))
def test_every_image_is_classified_as_by_onnxruntime(shared_dir: Path, name: str) -> None:
    model = onnx.load(shared_dir / "models" / f"{name}.onnx")
    x, labels = images(shared_dir / "data", name)
    compiled = Compiled(model, "auto")
    batch = 1 if "qonnx" in name else 100
    found, wanted = [], []
    for start in range(0, IMAGES, batch):
        part = {compiled.inputs[0]: x[start : start + batch]}
        found.append(compiled.run(part)[0])
        wanted.append(reference(model, part)[0] if batch > 1 else None)
    ours = np.concatenate(found)
    if batch > 1:
        theirs = np.concatenate(wanted)
        # Integer accumulators all the way to the last layer; only a Softmax may round.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(ours.argmax(1), theirs.argmax(1))
    assert (ours.argmax(1) == labels).mean() > 0.7
    floats = [layer for layer in compiled.layers if layer.lowering == "float"]
    # An 8-bit step on three channels: eight planes are slower than float, bytes are faster.
    dots = compiled.context.device.cost.dot is not None
    wanted_floats = FLOAT_LAYERS[name] - (dots and name in EIGHT_BIT_INPUT)
    assert len(floats) == wanted_floats, [layer.row() for layer in floats]
    assert all(layer.reason for layer in floats)


@pytest.mark.parametrize("name", ["mnist_tfc_w1a1_qonnx", "mnist_tfc_w1a2_qonnx"])
def test_qonnx_networks_equal_the_rewritten_graph(shared_dir: Path, name: str) -> None:
    import onnxruntime

    from abc_tvm.frontend import standard_onnx

    model = onnx.load(shared_dir / "models" / f"{name}.onnx")
    x, _ = images(shared_dir / "data", name)
    compiled = Compiled(model, "auto")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(standard_onnx(model).SerializeToString(), options)
    for image in x:
        part = {compiled.inputs[0]: image[None]}
        ours, theirs = compiled.run(part)[0], session.run(None, part)[0]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)  # a float affine at the end
        assert ours.argmax() == theirs.argmax()


def test_tinier_yolo_equals_the_vendors_output(shared_dir: Path) -> None:
    compiled = Compiled(str(shared_dir / "models" / "tinier_yolo_body_w1a3.onnx"), "auto")
    with np.load(shared_dir / "models" / "tinier_yolo_body_golden.npz") as golden:
        arrays = {key: golden[key] for key in golden.files}
    x = next(v for v in arrays.values() if v.shape[-1] == 208)
    y = next(v for v in arrays.values() if v.shape[-1] != 208)
    x = x if x.ndim == 4 else x[None]
    found = compiled.run({compiled.inputs[0]: x.astype(np.float32)})[0]
    np.testing.assert_array_equal(found, y.reshape(found.shape).astype(np.float32))
    assert sum(layer.lowering != "float" for layer in compiled.layers) == 6
