"""Random layers and networks in the C form on emulated ARM processors, against onnxruntime.

A failure prints its seed; ``random_layer(seed)`` and ``random_network(seed)`` make it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

import abc_tvm
from tests import qemu
from tests.end_to_end.judge import assert_equal, reference
from tests.generators import random_layer, random_network

CHUNK = 10
PROCESSORS = [("rpi3", "aarch64"), ("rpi5", "aarch64"), ("rpi-armv7", "arm")]


def chunks(count: int) -> list[range]:
    return [range(start, start + CHUNK) for start in range(0, count, CHUNK)]


def through_c(
    model: onnx.ModelProto,
    inputs: Mapping[str, np.ndarray],
    wanted: list[np.ndarray],
    processor: tuple[str, str],
    folder: Path,
    lowering: str = "bitserial",
) -> list[np.ndarray]:
    """The outputs of the emulated example program, in the shapes of ``wanted``."""
    target, architecture = processor
    emulator, compiler = qemu.emulator(architecture), qemu.cross_compiler(architecture)
    folder.mkdir()
    names = [value.name for value in model.graph.input if value.name in inputs]
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    batch = inputs[names[0]].shape[0] if first.HasField("dim_param") else None
    form = abc_tvm.compile_c(model, target, name="net", batch=batch, lowering=lowering)
    form.save(folder)
    sources = ["net_example.c", "net.c", "libnet.a", "-lm", "-o", "example"]
    qemu.run([compiler, "-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", *sources], folder)
    for number, name in enumerate(names):
        inputs[name].tofile(folder / f"in{number}")
    files = [f"in{n}" for n in range(len(names))] + [f"out{n}" for n in range(len(wanted))]
    qemu.run([*emulator, "./example", *files], folder)
    return [
        np.fromfile(folder / f"out{n}", want.dtype).reshape(want.shape)
        for n, want in enumerate(wanted)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda p: p[0])
@pytest.mark.sweep("seeds", short=chunks(20), full=chunks(200))
def test_layers(seeds: range, processor: tuple[str, str], tmp_path: Path) -> None:
    for seed in seeds:
        model, inputs, spec, spelling = random_layer(seed + 3000)
        wanted = reference(model, inputs)
        found = through_c(model, inputs, wanted, processor, tmp_path / str(seed))
        exact = all(layer.exact for layer in spec.chain)
        assert_equal(found, wanted, exact, f"layer {seed + 3000} {spelling} {spec}")


@pytest.mark.slow
@pytest.mark.sweep("seeds", short=chunks(10), full=chunks(100))
def test_layers_on_bytes(seeds: range, tmp_path: Path) -> None:
    """A Raspberry Pi 5 has dot products: bytes wherever they are exact."""
    for seed in seeds:
        model, inputs, spec, spelling = random_layer(seed + 5000)
        wanted = reference(model, inputs)
        processor = ("rpi5", "aarch64")
        found = through_c(model, inputs, wanted, processor, tmp_path / str(seed), "int8")
        exact = all(layer.exact for layer in spec.chain)
        assert_equal(found, wanted, exact, f"layer {seed + 5000} {spelling} {spec}")


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda p: p[0])
@pytest.mark.sweep("seeds", short=chunks(10), full=chunks(100))
def test_networks(seeds: range, processor: tuple[str, str], tmp_path: Path) -> None:
    for seed in seeds:
        network = random_network(seed + 3000)
        wanted = reference(network.model, network.inputs)
        found = through_c(network.model, network.inputs, wanted, processor, tmp_path / str(seed))
        assert_equal(found, wanted, network.exact, f"network {seed + 3000} {network.description}")
