"""What ``compile -t cuda-sm90`` writes on a machine without a GPU: device code, never source."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from abc_tvm import zoo
from abc_tvm.deploy.cuda.device_code import NVRTC
from abc_tvm.runtime.container import read_info
from abc_tvm.runtime.cuda_device import pip_libraries

EM_CUDA = (190).to_bytes(2, "little")


def compiled(model: Path, folder: Path, target: str = "cuda-sm90") -> bytes:
    """The artifact's bytes, made by another process: nothing emulated is in the way there."""
    if not pip_libraries(NVRTC) and shutil.which("nvcc") is None:
        pytest.skip("needs NVRTC (pip install nvidia-cuda-nvrtc) or nvcc")
    out = folder / "out.so"
    command = [sys.executable, "-m", "abc_tvm", "compile", str(model), "-t", target, "-o", str(out)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)["layers"]
    assert any(layer["lowering"] == "bitserial" for layer in layers)
    assert read_info(out).target["gpu"] == {"arch": f"sm_{target[-2:]}"}
    return out.read_bytes()


def cubins(artifact: bytes) -> list[bytes]:
    """The headers of the ELF files inside that are CUDA's."""
    starts = [match.start() for match in re.finditer(rb"\x7fELF", artifact)]
    headers = [artifact[start : start + 64] for start in starts]
    return [header for header in headers if header[18:20] == EM_CUDA]


@pytest.mark.slow
@pytest.mark.sweep("name", short=["lenet", "resnet8"], full=list(zoo.names()))
def test_the_zoo(name: str, tmp_path: Path) -> None:
    import onnx

    onnx.save(zoo.build(name, 1, 1), tmp_path / "m.onnx")
    artifact = compiled(tmp_path / "m.onnx", tmp_path)
    (header,) = cubins(artifact)
    assert header[49] == 90  # CUDA 13 keeps the architecture in bits 8 to 15 of e_flags
    assert b"__global__" not in artifact


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.sweep(
    "name",
    short=["mnist_lfc_w1a1", "tinier_yolo_body_w1a3"],
    full=[
        "cifar10_cnv_w1a1",
        "cifar10_cnv_w1a2",
        "gtsrb_bnn_30x30",
        "gtsrb_bnn_48x48",
        "mnist_lfc_w1a1",
        "mnist_tfc_w1a1_qonnx",
        "mnist_tfc_w1a2_qonnx",
        "tinier_yolo_body_w1a3",
    ],
)
def test_real_networks(name: str, shared_dir: Path, tmp_path: Path) -> None:
    artifact = compiled(shared_dir / "models" / f"{name}.onnx", tmp_path)
    assert len(cubins(artifact)) == 1
    assert b"__global__" not in artifact
