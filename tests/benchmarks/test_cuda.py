"""The benchmark of GPUs: its kernels, in emulation, and its answer where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from abc_tvm.targets import load

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("pair", [(1, 1), (3, 2)])
def test_the_kernels_that_are_timed_are_right(
    pair: tuple[int, int], cuda_emulation: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``bit_layer`` compares with NumPy itself."""
    monkeypatch.syspath_prepend(str(FOLDER))
    from _cuda_layers import bit_layer

    layer = bit_layer(load("cuda-sm80"), 5, 64, 3, *pair)
    assert layer.operations == 2 * 3 * 25 * 64 * 64 * 9 * pair[0] * pair[1]
    assert layer.timer(1) > 0


def test_the_kernel_on_bytes_too(cuda_emulation: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    from _cuda_layers import int8_layer

    layer = int8_layer(load("cuda-sm80"), 5, 64, 3)
    assert layer.operations == 2 * 3 * 25 * 64 * 64 * 9
    assert layer.timer(1) > 0


def test_a_wrong_kernel_is_not_timed(cuda_emulation: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import _cuda_layers

    right = _cuda_layers.pack_planes
    monkeypatch.setattr(_cuda_layers, "pack_planes", lambda *args: right(*args) ^ 1)
    with pytest.raises(AssertionError):
        _cuda_layers.bit_layer(load("cuda-sm80"), 5, 64, 1, 1, 1)


def test_without_a_gpu_it_says_so() -> None:
    command = [sys.executable, str(FOLDER / "cuda.py")]
    probe = [sys.executable, "-c", "from abc_tvm.targets import driver; print(driver.capability())"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        pytest.skip("this machine has a GPU")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("benchmarks/cuda.py: target cuda: ")
    assert len(done.stderr.splitlines()) == 1
