"""The C form on this machine: what it links with, two networks at once, odd graphs, refusals."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import abc_tvm
from tests import qemu
from tests.abc_tvm.small_networks import network

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]
HARMLESS = {"memcpy", "memset", "memmove", "expf", "tanhf", "_GLOBAL_OFFSET_TABLE_"}


def here(model: onnx.ModelProto, folder: Path, inputs: dict[str, np.ndarray]) -> Any:
    abc_tvm.compile(model, lowering="bitserial").save(folder / "here.so")
    return abc_tvm.load(folder / "here.so", threads=1).run(inputs)


def through_c(
    model: onnx.ModelProto, folder: Path, inputs: dict[str, np.ndarray], outputs: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The outputs of the example program, in the shapes of ``outputs``."""
    abc_tvm.compile_c(model, name="net", lowering="bitserial").save(folder)
    sources = ["net_example.c", "net.c", "libnet.a", "-lm", "-o", "example"]
    qemu.run(["gcc", "-std=c99", *WARNINGS, *sources], folder)
    for number, array in enumerate(inputs.values()):
        array.tofile(folder / f"in{number}")
    names = [f"in{n}" for n in range(len(inputs))] + [f"out{n}" for n in range(len(outputs))]
    qemu.run(["./example", *names], folder)
    return {
        name: np.fromfile(folder / f"out{n}", want.dtype).reshape(want.shape)
        for n, (name, want) in enumerate(outputs.items())
    }


@pytest.fixture(scope="module")
def form() -> abc_tvm.CForm:
    return abc_tvm.compile_c(network(), name="net", lowering="bitserial")


def test_it_needs_no_runtime_no_heap_and_no_threads(form: Any, tmp_path: Path) -> None:
    if shutil.which("nm") is None:
        pytest.skip("needs nm (Debian: apt install binutils)")
    form.save(tmp_path)
    listed = qemu.run(["nm", "-u", tmp_path / "libnet.a"])
    missing = {line.split()[-1] for line in listed.splitlines() if " U " in line}
    assert missing <= HARMLESS
    assert not re.search(r"malloc|free\(|pthread", form.files["net.c"].decode())


def test_equal_to_the_library_for_the_runtime(tmp_path: Path, rng: np.random.Generator) -> None:
    x = {"input": rng.standard_normal((1, 8, 6, 6)).astype(np.float32)}
    want = here(network(), tmp_path, x)
    found = through_c(network(), tmp_path, x, want)
    np.testing.assert_array_equal(found["output"], want["output"])


def test_the_batch_is_fixed(tmp_path: Path, rng: np.random.Generator) -> None:
    header = abc_tvm.compile_c(network(), name="net", batch=3).files["net.h"].decode()
    assert "#define NET_IN0_SHAPE {3, 8, 6, 6}" in header
    assert f"#define NET_IN0_SIZE {3 * 8 * 36} " in header
    assert "int net_run(const float *in, float *out);" in header


def test_the_same_network_gives_the_same_bytes(form: Any) -> None:
    again = abc_tvm.compile_c(network(), name="net", lowering="bitserial")
    assert again.files == form.files


def test_nan_and_null_are_refused_and_cxx_can_call_it(form: Any, tmp_path: Path) -> None:
    form.save(tmp_path)
    (tmp_path / "main.cc").write_text(
        """
#include "net.h"
#include <cmath>
static float in[NET_IN0_SIZE], out[NET_OUT0_SIZE];
int main() {
    if (net_run(in, out) != NET_OK) return 1;
    if (net_run(nullptr, out) != NET_NULL || net_run(in, nullptr) != NET_NULL) return 2;
    in[NET_IN0_SIZE - 1] = NAN;
    if (net_run(in, out) != NET_NOT_FINITE) return 3;
    in[NET_IN0_SIZE - 1] = -INFINITY;
    if (net_run(in, out) != NET_NOT_FINITE) return 4;
    return 0;
}
""",
        encoding="ascii",
    )
    qemu.run(["gcc", "-std=c99", "-O3", "-ffast-math", *WARNINGS, "-c", "net.c"], tmp_path)
    qemu.run(["g++", *WARNINGS, "main.cc", "net.o", "libnet.a", "-o", "main"], tmp_path)
    qemu.run(["./main"], tmp_path)


def test_two_networks_in_one_program(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 8, 6, 6)).astype(np.float32)
    real = network(binary=False)
    want = [here(m, tmp_path / n, {"input": x}) for m, n in two(tmp_path, network(), real)]
    for name, model in (("one", network()), ("two", real)):
        abc_tvm.compile_c(model, name=name, lowering="bitserial").save(tmp_path)
    (tmp_path / "main.c").write_text(
        """
#include <stdio.h>
#include "one.h"
#include "two.h"
static float in[ONE_IN0_SIZE], out[2][ONE_OUT0_SIZE];
int main(void) {
    if (fread(in, sizeof in, 1, stdin) != 1) return 1;
    if (one_run(in, out[0]) || two_run(in, out[1]) || one_run(in, out[0])) return 2;
    return fwrite(out, sizeof out, 1, stdout) != 1;
}
""",
        encoding="ascii",
    )
    sources = ["main.c", "one.c", "two.c", "libone.a", "libtwo.a", "-lm", "-o", "main"]
    qemu.run(["gcc", "-std=c99", *WARNINGS, *sources], tmp_path)
    x.tofile(tmp_path / "in")
    qemu.run(["sh", "-c", "./main < in > out"], tmp_path)
    found = np.fromfile(tmp_path / "out", np.float32).reshape(2, 1, 4, 6, 6)
    np.testing.assert_array_equal(found[0], want[0]["output"])
    np.testing.assert_array_equal(found[1], want[1]["output"])


def two(folder: Path, *models: onnx.ModelProto) -> list[tuple[onnx.ModelProto, str]]:
    names = [str(n) for n in range(len(models))]
    for name in names:
        (folder / name).mkdir()
    return list(zip(models, names, strict=True))


def odd_ports() -> onnx.ModelProto:
    """Two inputs; outputs: a sum, that sum again, a reshaped input, and a constant."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Identity", ["sum"], ["again"]),
        helper.make_node("Mul", ["sum", "sum"], ["square"]),
        helper.make_node("Reshape", ["a", "flat"], ["row"]),
    ]
    shapes = {"sum": [2, 3], "again": [2, 3], "square": [2, 3], "row": [6]}
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "ab"],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_tensor("flat", TensorProto.INT64, [1], [6])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def test_several_inputs_and_outputs_that_share_memory(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = {n: rng.standard_normal((2, 3)).astype(np.float32) for n in "ab"}
    total = x["a"] + x["b"]
    want = {"sum": total, "again": total, "square": total * total, "row": x["a"].reshape(6)}
    found = through_c(odd_ports(), tmp_path, x, want)
    for name, array in want.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    header = (tmp_path / "net.h").read_text()
    assert "int net_run(const float *in0, const float *in1, float *out0, float *out1," in header
    assert '#define NET_IN1_NAME "b"' in header
