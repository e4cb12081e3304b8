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


def check_layer(seed: int, target: str = "native") -> None:
    model, inputs, spec, spelling = random_layer(seed)
    exact = all(layer.exact for layer in spec.chain)
    found = Compiled(model, target=target).run(inputs)
    assert_equal(found, reference(model, inputs), exact, f"layer {seed} {spelling} {spec}")


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
