"""The passes together: their order, dumps and progress, whole networks, awkward graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from abc_tvm import targets
from abc_tvm.frontend import import_onnx
from abc_tvm.relay_passes import pipeline
from abc_tvm.relay_passes.context import Context
from tests.generators import FAMILIES
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    check_golden,
    compiled,
    onnxruntime_output,
    passes_until,
    two_layers,
)

ORDER = [
    "canonicalise",
    "collapse_bases",
    "recognise_weights",
    "recognise_activations",
    "choose_lowering",
    "fold_pools",
    "fold_thresholds",
    "encode",
    "fuse",
    "lower",
    "legalise",
]


def order_of(context: Context) -> list[tuple[str, pipeline.Pass]]:
    return pipeline.passes(context)


def test_order() -> None:
    assert [name for name, _ in order_of(Context(targets.load("zen4")))] == ORDER


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_run_reports_and_dumps(tmp_path: Path) -> None:
    seen: list[str] = []
    context = Context(targets.load("native"))
    folder = tmp_path / "dump"
    mod = import_onnx(two_layers())
    pipeline.run(mod, order_of(context), dump=folder, progress=seen.append)
    assert seen == ORDER
    assert [path.name for path in files_of(folder)] == [
        f"{i:02d}_{name}.py" for i, name in enumerate(ORDER)
    ]
    assert "abc.bconv2d" in (folder / "02_recognise_weights.py").read_text()
    silent = [path.name for path in files_of(folder) if "changed nothing" in path.read_text()]
    assert "01_collapse_bases.py" in silent, "no layer of this network is spelled out"
    assert not {"00_canonicalise.py", "02_recognise_weights.py", "08_lower.py"} & set(silent)


def test_names_of_layers_come_from_the_caller() -> None:
    context = Context(targets.load("zen4"))
    mod = import_onnx(two_layers())
    order = pipeline.passes(context, conv_names=["stem/conv", "head/conv"])
    pipeline.run(mod, order[:3])
    assert list(context.layers) == ["stem/conv", "head/conv"]


def test_no_binary_layer_at_all() -> None:
    """Fires nowhere: a float network compiles, each layer with its reason."""
    net = Net((1, 3, 6, 6))
    x = net.conv("input", net.rng.integers(-3, 4, (7, 3, 3, 3)).astype(np.float32) / 4)
    context = assert_same_bits(net.model(net.op("Relu", x)), "auto")
    (row,) = context.layers.values()
    assert row.lowering == "float" and row.reason


def shares_everything() -> onnx.ModelProto:
    """One step read by a convolution, a residual and the output; a convolution read twice."""
    net = Net((2, 4, 5, 5))
    bits = net.step("input")
    first = net.conv(bits, net.signs(4, 4, 3, 3), 1)
    second = net.conv(net.step(first), net.signs(4, 4, 3, 3), 1)
    return net.model(net.op("Sum", bits, first, second, net.step(second, 1.0)))


def step_is_the_output() -> onnx.ModelProto:
    net = Net((2, 4, 5, 5))
    return net.model(net.step(net.conv(net.step("input"), net.signs(4, 4, 3, 3)), 1.0))


def same_input_twice() -> onnx.ModelProto:
    net = Net((2, 4, 5, 5))
    x = net.conv(net.step("input"), net.signs(4, 4, 3, 3))
    return net.model(net.op("Add", x, net.op("Mul", x, x)))


def all_constant_bits() -> onnx.ModelProto:
    """Every threshold is out of reach: no bit ever changes."""
    net = Net((1, 4, 5, 5))
    x = net.bn(net.conv(net.step("input"), net.signs(6, 4, 3, 3)), np.zeros(6), [1, -1] * 3)
    return net.model(net.conv(net.step(x), net.signs(6, 6, 1, 1)))


def concat_of_steps() -> onnx.ModelProto:
    net = Net((1, 4, 5, 5))
    x = net.op("Concat", net.step("input"), net.step("input", 1.0), axis=1)
    return net.model(net.conv(x, net.signs(6, 8, 3, 3)))


def output_is_the_input() -> onnx.ModelProto:
    net = Net((1, 4, 5, 5))
    return net.model(net.op("Relu", "input"))


AWKWARD = [
    shares_everything,
    step_is_the_output,
    same_input_twice,
    all_constant_bits,
    concat_of_steps,
    output_is_the_input,
]


@pytest.mark.parametrize("build", AWKWARD)
def test_numbers_of_awkward_graphs(build: object) -> None:
    assert_same_bits(build())  # type: ignore[operator]


def test_two_outputs() -> None:
    net = Net((1, 4, 5, 5))
    x = net.conv(net.step("input"), net.signs(4, 4, 1, 1))
    model = net.model(net.step(x))
    model.graph.output.append(onnx.helper.make_tensor_value_info(x, 1, [1, 4, 5, 5]))
    mod, _ = passes_until(model, "legalise", device="native")
    assert len(mod["main"].ret_ty.fields) == 2


EXACT_FAMILIES = ("binary_mlp", "conv_pool_chain", "grouped_net")


@pytest.mark.sweep(
    "name",
    short=[*EXACT_FAMILIES, "react_net"],
    full=sorted(set(FAMILIES)),
)
def test_families(name: str) -> None:
    """Other binarized networks: the very bits where the network is exact, else close."""
    network = FAMILIES[name](0)
    run, context = compiled(network.model)
    found = run(network.inputs["input"])
    wanted = onnxruntime_output(network.model, network.inputs["input"])
    if name in EXACT_FAMILIES:
        np.testing.assert_array_equal(found, wanted)
    else:
        assert np.abs(found - wanted).max() <= 2e-4 * np.abs(wanted).max()
    assert any(row.lowering == "bitserial" for row in context.layers.values())


def test_golden() -> None:
    """The last graph of all: calls of kernels and nothing else."""
    mod, _ = passes_until(two_layers(pool=True, pad=1), "lower")
    check_golden("pipeline", mod)


def test_again_gives_the_same() -> None:
    first, second = (passes_until(two_layers(pool=True), "legalise")[0] for _ in range(2))
    assert_equal_ir(first, second)
