"""Which kernels a network runs, and that a run meets exactly these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from abc_tvm import zoo
from abc_tvm.api import inspect
from abc_tvm.engines.onnx_engine import random_inputs
from abc_tvm.measure.kernel_plan import Kernel, compile_plan
from abc_tvm.measure.kernel_times import Timed, time_kernels
from abc_tvm.runtime import load
from tests.abc_tvm.small_networks import network


def timed(plan_file: Path, inputs: dict[str, np.ndarray]) -> tuple[Timed, ...]:
    run, calls = time_kernels(load(plan_file, 1), load(plan_file, 1), inputs, 3)
    assert run.repeat == 3
    return calls


def test_bits(tmp_path: Path) -> None:
    model = network(dims=(2, 8, 6, 6))
    plan = compile_plan(model, lowering="bitserial")
    first, second = (kernel for kernel in plan.kernels if kernel.kind == "bitserial")
    # Sign has a third level at 0: two planes.
    assert first == Kernel(
        "block/conv1", "bitserial", 6 * 6 * 16 * 8 * 9, 2, 1, 1, (16, 3, 3, 8), "bitserial"
    )
    assert (second.name, second.macs, second.pairs) == ("block/conv2", 6 * 6 * 4 * 16, 2)
    plan.artifact.save(tmp_path / "n.so")
    calls = timed(tmp_path / "n.so", random_inputs(plan.artifact.info.inputs, 2))
    assert sum(call.fused for call in calls) == len(plan.kernels)


def test_equal_kernels_keep_their_names(tmp_path: Path) -> None:
    model = zoo.build("resnet18", 1, 1, image_size=32, batch=1, width=0.5)
    plan = compile_plan(model, lowering="bitserial")
    layers = [kernel for kernel in plan.kernels if kernel.macs]
    report = inspect(model, lowering="bitserial")
    assert [(k.name, k.macs, k.M, k.N, k.lowering) for k in layers] == [
        (row.name, row.macs, row.M, row.N, row.lowering) for row in report
    ]
    plan.artifact.save(tmp_path / "n.so")
    calls = timed(tmp_path / "n.so", random_inputs(plan.artifact.info.inputs, 1))
    fused = [call for call in calls if call.fused]
    assert len(fused) == len(plan.kernels)
    # layer1.0.conv1 and layer1.1.conv1 are one computation, and TVM keeps one function of it.
    assert len({call.symbol for call in fused}) < len(fused)


def test_bytes_are_those_of_all_tensors(tmp_path: Path) -> None:
    plan = compile_plan(network(binary=False, dims=(1, 8, 6, 6)), lowering="float")
    plan.artifact.save(tmp_path / "n.so")
    calls = timed(tmp_path / "n.so", random_inputs(plan.artifact.info.inputs, 1))
    last = [call for call in calls if call.fused][-1]
    image, slots = 6 * 6, 32
    kernel = plan.kernels[-1]
    assert kernel.name == "block/conv2" and kernel.kind == "float"
    # 16 channels in, weights of 4 channels in 32 lanes, 4 channels out.
    assert last.bytes == 4 * (image * 16 + 16 * slots + image * 4)


def test_lowering_float_has_no_bits() -> None:
    plan = compile_plan(network(dims=(1, 8, 6, 6)), lowering="float")
    kinds = {kernel.kind for kernel in plan.kernels}
    assert kinds <= {"float", "other"}
    assert all(kernel.pairs == 1 for kernel in plan.kernels)


def test_a_kernel_without_a_convolution_goes_by_its_operators() -> None:
    plan = compile_plan(zoo.build("resnet18", 1, 1, image_size=32, batch=1, width=0.5))
    pools = [kernel for kernel in plan.kernels if "max_pool2d" in kernel.name]
    assert pools and all(kernel.kind == "other" and kernel.macs == 0 for kernel in pools)


@pytest.mark.parametrize("lowering", ["auto", "float"])
def test_records_of_nothing_tune_nothing(lowering: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no records for the target"):
        plan = compile_plan(network(), lowering=lowering, records=tmp_path, batch=1)
    assert plan.tuned == 0
