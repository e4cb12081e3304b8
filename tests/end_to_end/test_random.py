"""Random layers, networks and families in every spelling, against onnxruntime.

A failure prints its seed; ``random_layer(seed)`` and ``random_network(seed)`` make it again.
"""

from __future__ import annotations

import pytest

from tests.end_to_end.judge import Compiled, assert_equal, reference
from tests.generators import FAMILIES, random_layer, random_network

CHUNK = 10
AVX2 = "haswell"


def chunks(count: int) -> list[range]:
    return [range(start, start + CHUNK) for start in range(0, count, CHUNK)]


def check_layer(seed: int, target: str = "native", lowering: str = "bitserial") -> Compiled:
    model, inputs, spec, spelling = random_layer(seed)
    exact = all(layer.exact for layer in spec.chain)
    compiled = Compiled(model, lowering, target)
    wanted = reference(model, inputs)
    assert_equal(compiled.run(inputs), wanted, exact, f"layer {seed} {spelling} {spec}")
    return compiled


@pytest.mark.slow
@pytest.mark.sweep("seeds", short=chunks(60), full=chunks(500))
def test_layers(seeds: range) -> None:
    for seed in seeds:
        check_layer(seed)


@pytest.mark.slow
@pytest.mark.sweep("seeds", short=chunks(20), full=chunks(200))
def test_networks(seeds: range) -> None:
    for seed in seeds:
        network = random_network(seed)
        found = Compiled(network.model).run(network.inputs)
        wanted = reference(network.model, network.inputs)
        assert_equal(found, wanted, network.exact, f"network {seed} {network.description}")


@pytest.mark.slow
@pytest.mark.sweep("seeds", short=chunks(20), full=chunks(200))
def test_networks_with_the_chooser(seeds: range) -> None:
    """The same with layers left in float where that is faster."""
    for seed in seeds:
        network = random_network(seed + 1000)
        found = Compiled(network.model, "auto").run(network.inputs)
        wanted = reference(network.model, network.inputs)
        assert_equal(found, wanted, network.exact, f"network {seed + 1000} {network.description}")


@pytest.mark.slow
@pytest.mark.sweep("seeds", short=chunks(40), full=chunks(300))
def test_layers_on_bytes(seeds: range) -> None:
    """Bytes wherever they are exact; the other layers as the chooser says."""
    need_dot_products()
    found = [check_layer(seed + 4000, lowering="int8") for seed in seeds]
    assert any(layer.lowering == "int8" for compiled in found for layer in compiled.layers)


@pytest.mark.slow
@pytest.mark.sweep("seeds", short=chunks(10), full=chunks(100))
def test_networks_on_bytes(seeds: range) -> None:
    need_dot_products()
    for seed in seeds:
        network = random_network(seed + 4000)
        found = Compiled(network.model, "int8").run(network.inputs)
        wanted = reference(network.model, network.inputs)
        assert_equal(found, wanted, network.exact, f"network {seed + 4000} {network.description}")


def need_dot_products() -> None:
    from abc_tvm import targets

    if targets.load("native").cost.dot is None:
        pytest.skip("this machine has no dot products of bytes (AVX-512 VNNI)")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["haswell", "skylake-avx512", "x86-64"])
@pytest.mark.sweep("seeds", short=chunks(20), full=chunks(100))
def test_other_instruction_sets(seeds: range, target: str) -> None:
    from abc_tvm import targets

    if not targets.load(target).runs_here():
        pytest.skip(f"this machine does not execute code for {target}")
    for seed in seeds:
        check_layer(seed + 2000, target)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_families(name: str) -> None:
    """XNOR-Net, Bi-Real, ReActNet, DoReFa and others: recognised, and equal."""
    for seed in range(2):
        network = FAMILIES[name](seed)
        compiled = Compiled(network.model)
        wanted = reference(network.model, network.inputs)
        assert_equal(compiled.run(network.inputs), wanted, network.exact, f"{name} {seed}")
        assert any(layer.lowering == "bitserial" for layer in compiled.layers)
