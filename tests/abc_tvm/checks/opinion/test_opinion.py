"""The second opinion agrees with right passes, knows every layer, and keeps wrong ones in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import abc_tvm
from abc_tvm import stages
from abc_tvm.checks.opinion import second_opinion
from abc_tvm.checks.opinion.guard import STRICT
from abc_tvm.errors import SecondOpinionError
from tests.abc_tvm.checks.opinion import planted
from tests.abc_tvm.checks.opinion.networks import NETWORKS, judged, rounded, spelled, transposed
from tests.end_to_end.judge import reference
from tests.generators import FAMILIES, random_layer, random_network
from tests.relay_passes.harness import Net, two_layers

LOWERINGS = ("bitserial", "int8")


def agrees(model: onnx.ModelProto, lowering: str, about: object = "") -> int:
    """Every layer that left float is checked; returns how many."""
    opinion, context, _ = judged(model, lowering)
    left = {name for name, layer in context.layers.items() if layer.lowering != "float"}
    assert opinion.wrong == {} and opinion.unknown == {}, about
    assert set(opinion.checked) == left, about
    return len(left)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees(name: str, lowering: str) -> None:
    assert agrees(NETWORKS[name](), lowering) > 0


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_agrees_on_families(name: str) -> None:
    assert agrees(FAMILIES[name](1).model, "int8", name) > 0


@pytest.mark.sweep("seeds", short=[range(8)], full=[range(i, i + 20) for i in range(0, 400, 20)])
def test_agrees_on_random_networks(seeds: range) -> None:
    """However weights and activations are spelled, nothing is unknown."""
    for seed in seeds:
        for lowering in LOWERINGS:
            agrees(random_layer(seed)[0], lowering, f"layer {seed}")
            agrees(random_network(seed).model, lowering, f"network {seed}")


@pytest.mark.sweep("name", short=["lenet", "resnet8"], full=["lenet", "resnet8", "resnet18"])
def test_agrees_on_the_zoo(name: str) -> None:
    from abc_tvm import zoo

    assert agrees(zoo.build(name, 2, 3), "bitserial") > 1


@pytest.mark.shared
@pytest.mark.sweep(
    "pattern",
    short=["cifar10_cnv_w1a2", "mnist_*", "fracbnn*", "gtsrb*"],
    full=["*"],
)
def test_agrees_on_published_networks(shared_dir: Path, pattern: str) -> None:
    found = sorted((shared_dir / "models").glob(f"{pattern}.onnx"))
    assert found
    for path in found:
        agrees(onnx.load(path), "bitserial", path.name)


def test_rounding_to_bytes_within_what_was_allowed() -> None:
    opinion, context, _ = judged(rounded(), "int8", allow_int8=0.02)
    (layer,) = context.layers.values()
    assert layer.lowering == "int8" and layer.error_bound
    assert opinion.checked == (layer.name,) and not opinion.wrong


@pytest.mark.parametrize("name", planted.PLANTS)
def test_sees_a_planted_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = planted.PLANTS[name]
    plant.plant(monkeypatch)
    with pytest.raises(SecondOpinionError, match="the second opinion disagrees about layer"):
        judged(plant.network(), plant.lowering, plant.allow_int8)


def test_a_wrong_layer_runs_in_float(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(STRICT)
    planted.channels_permuted(monkeypatch)
    model = two_layers(pad=1)
    artifact = abc_tvm.compile(model, "native", lowering="bitserial")
    rows = artifact.report.rows
    assert [row["lowering"] for row in rows] == ["float", "float"]
    for row in rows:
        assert row["reason"].startswith("the second opinion disagrees: ")
        assert row["reason"].endswith("; please report this network")
    opinion = artifact.report.json()["second_opinion"]
    assert opinion["checked"] == 0 and set(opinion["wrong"]) == {row["name"] for row in rows}
    artifact.save(tmp_path / "m.so")
    x = {"input": (np.random.default_rng(0).integers(-8, 9, (2, 4, 6, 6)) / 4).astype(np.float32)}
    (found,) = abc_tvm.load(tmp_path / "m.so").run(x).values()
    np.testing.assert_array_equal(found, reference(model, x)[0])


def test_layers_that_were_wrongly_joined_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STRICT)
    planted.colliding_weights(monkeypatch)
    opinion, context, _ = judged(spelled())
    assert len(opinion.wrong) == 1
    assert len(context.layers) == 5  # four convolutions of the sum, and the one behind it
    assert set(opinion.checked) == {
        name for name, layer in context.layers.items() if layer.lowering != "float"
    }


def test_asked_for_only_where_wanted() -> None:
    model = two_layers()
    assert abc_tvm.inspect(model, "zen4").json()["second_opinion"]["checked"] == 2
    assert abc_tvm.inspect(model, "zen4", check=False).json()["second_opinion"] is None


def test_what_it_does_not_know_is_unknown() -> None:
    """Layers of a name that the graph does not have; a graph that mixes tensors."""
    _, _, module = judged(two_layers())
    other = Net((2, 4, 6, 6))
    model = other.model(other.conv(other.step("input"), other.signs(8, 4, 3, 3)))
    model.graph.node[-1].name = "another"
    simple = stages.import_model(model).simple
    assert simple is not None
    opinion = second_opinion(simple, module)
    assert set(opinion.unknown.values()) == {"no layer of the graph has its name"}
    assert opinion.checked == ()


def test_the_bias_of_a_transposed_convolution_is_no_disagreement() -> None:
    """The compiled module adds it in an operator of its own: the root has it in the graph alone."""
    opinion, context, _ = judged(transposed())
    assert opinion.wrong == {}
    assert all(row.lowering == "bitserial" for row in context.layers.values())
