"""The networks that are run on other processors, one image each, and how equal they must be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import abc_tvm
from abc_tvm import zoo
from tests.end_to_end.test_real_networks import FLOAT_LAYERS, images

SHARED = sorted(FLOAT_LAYERS)
ZOO = {
    "lenet": ("lenet", 2, 2, {}),
    "residual": ("resnet18", 2, 3, {"image_size": 32, "width": 0.5}),
}
ROUNDING = {"lenet": 1e-6, "residual": 1e-5}
"""Of the largest output: float layers may fuse a multiplication and an addition, or not."""

NAMES = [
    *ZOO,
    *(pytest.param(name, marks=pytest.mark.shared) for name in SHARED if "yolo" not in name),
    # Ten seconds and more in emulation.
    pytest.param("tinier_yolo_body_w1a3", marks=[pytest.mark.shared, pytest.mark.slow]),
]


@dataclass(frozen=True)
class Case:
    """A network, its inputs, and its outputs as computed on this machine."""

    name: str
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]

    def check(self, found: dict[str, np.ndarray], fused: bool = True) -> None:
        """Equal in every bit, where nothing but integers and single roundings lies between.

        ``fused`` says that the processor's compiler fuses multiplications and additions as this
        machine's does.
        """
        assert set(found) == set(self.outputs)
        for key, want in self.outputs.items():
            assert found[key].dtype == want.dtype and found[key].shape == want.shape
            limit = ROUNDING.get(self.name, 0.0 if fused else 2e-7)
            if limit == 0:
                np.testing.assert_array_equal(found[key], want)
            else:
                scale = float(np.abs(want).max())
                np.testing.assert_allclose(found[key], want, rtol=0, atol=limit * scale)


def case(name: str, shared: Path | None, scratch: Path) -> Case:
    """Build or load a network, and run it here."""
    if name in ZOO:
        kind, m, n, options = ZOO[name]
        model = zoo.build(kind, m, n, **options)  # type: ignore[arg-type]
        shape = [d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim]
        image = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    else:
        assert shared is not None
        model = onnx.load(shared / "models" / f"{name}.onnx")
        image = _image(shared, name)
    abc_tvm.compile(model).save(scratch / f"{name}.so")
    session = abc_tvm.load(scratch / f"{name}.so", threads=1)
    inputs = {session.info.inputs[0].name: image}
    return Case(name, model, inputs, session.run(inputs))


def _image(shared: Path, name: str) -> np.ndarray:
    if "yolo" not in name:
        return images(shared / "data", name)[0][:1]
    with np.load(shared / "models" / "tinier_yolo_body_golden.npz") as golden:
        image = next(golden[k] for k in golden.files if golden[k].shape[-1] == 208)
    return image.reshape(1, *image.shape[-3:]).astype(np.float32)
