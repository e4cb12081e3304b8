"""Every pass keeps its contracts on every network at hand, in every lowering.

What breaks each of them is planted in ``tests/relay_passes/contracts``. The pass tests keep them
too: ``passes_until`` checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tvm
from tvm import relax

from abc_tvm import pretrained, targets, zoo
from abc_tvm.errors import UserError
from abc_tvm.frontend import import_onnx
from abc_tvm.relay_passes import pipeline
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.contracts.contract import ContractError, Contracts
from tests.abc_tvm.small_networks import chain, network
from tests.generators import FAMILIES
from tests.relay_passes.harness import DEVICE, continue_passes, two_layers
from tests.shared_files import SHARED

LOWERINGS = ("auto", "bitserial", "int8", "float")


def check_all(model: Any, lowerings: tuple[str, ...] = LOWERINGS) -> None:
    """All passes, checked, in the lowerings."""
    for lowering in lowerings:
        error = 0.5 if lowering == "int8" else None
        context = Context(targets.load(DEVICE), lowering, allow_int8=error)
        continue_passes(import_onnx(model), context, "canonicalise", "legalise")
        assert context.layers


@pytest.mark.parametrize("name", pipeline.ORDER)
def test_every_pass_requires_and_ensures_something(name: str) -> None:
    contracts = pipeline.CONTRACTS[name]
    assert contracts.requires and contracts.ensures
    assert all(contract.__doc__ for contract in contracts.requires + contracts.ensures)


def order_with(name: str, step: pipeline.Pass) -> list[tuple[str, pipeline.Pass]]:
    order = pipeline.passes(Context(targets.load(DEVICE), "bitserial"))
    return [(one, step if one == name else plain) for one, plain in order]


def nothing(mod: tvm.IRModule) -> tvm.IRModule:
    return mod


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("canonicalise", "after canonicalise: convolutions_are_nhwc does not hold"),
        ("recognise_activations", "after recognise_activations: binary_convolutions_read_steps"),
        ("fold_thresholds", "after fold_thresholds: accumulators_are_compared_as_integers"),
        ("encode", "after encode: no_binary_convolution_in_levels does not hold: conv_0"),
        ("fuse", "after fuse: main_calls_groups does not hold"),
        ("lower", "after lower: no_operator_of_ours does not hold"),
        ("legalise", "after legalise: main_calls_kernels does not hold"),
    ],
)
def test_a_pass_that_does_nothing_is_found(left_out: str, message: str) -> None:
    mod, order = import_onnx(two_layers(alpha=0.3)), order_with(left_out, nothing)
    with pytest.raises(ContractError, match=message):
        pipeline.run(mod, order, checked=True)


def test_what_a_pass_is_given_is_checked() -> None:
    order = pipeline.passes(Context(targets.load(DEVICE), "bitserial"))
    mod = pipeline.run(import_onnx(two_layers()), order[:3])
    later = [(name, step) for name, step in order if name == "encode"]
    with pytest.raises(ContractError, match="before encode: binary_convolutions_read_steps"):
        pipeline.run(mod, later, checked=True)


def test_another_signature_is_found() -> None:
    def turned(mod: tvm.IRModule) -> tvm.IRModule:
        x = relax.Var("input", mod["main"].params[0].ty)
        builder = relax.BlockBuilder()
        with builder.function("main", [x]):
            with builder.dataflow():
                result = builder.emit_output(builder.emit(relax.op.nn.relu(x)))
            builder.emit_func_output(result)
        return builder.get()

    with pytest.raises(ContractError, match="after canonicalise: the outputs of main were"):
        pipeline.run(import_onnx(two_layers()), order_with("canonicalise", turned), checked=True)


def test_a_compilation_checks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(mod: tvm.IRModule) -> Iterator[str]:
        raise AssertionError("a contract was asked")

    for name in pipeline.ORDER:
        monkeypatch.setitem(pipeline.CONTRACTS, name, Contracts((broken,), (broken,)))
    order = order_with("", nothing)
    pipeline.run(import_onnx(two_layers()), order)
    with pytest.raises(AssertionError, match="a contract was asked"):
        pipeline.run(import_onnx(two_layers()), order, checked=True)


NETWORKS: dict[str, Callable[[], Any]] = {
    "small": network,
    "small-real": lambda: network(binary=False),
    "chain": lambda: chain(33, 64, 40),
    "lenet-1-1": lambda: zoo.build("lenet", 1, 1),
    "lenet-3-3": lambda: zoo.build("lenet", 3, 3),
    "lenet-2-2-grid": lambda: zoo.build("lenet", 2, 2, grid=True, batch=1),
    "lenet-mnist": lambda: pretrained.path("lenet-mnist"),
    "resnet-fashion": lambda: pretrained.path("resnet-fashion"),
    "resnet18-1-1": lambda: zoo.build("resnet18", 1, 1, batch=1, image_size=64, width=0.25),
    **{name: (lambda build=build: build(0).model) for name, build in FAMILIES.items()},
}
SMALL = ("small", "small-real", "chain", "lenet-1-1", "lenet-2-2-grid")


@pytest.mark.sweep(
    "name, lowerings",
    short=[(n, LOWERINGS if n in SMALL else ("auto",)) for n in NETWORKS],
    full=[(n, LOWERINGS) for n in NETWORKS],
)
def test_networks(name: str, lowerings: tuple[str, ...]) -> None:
    check_all(NETWORKS[name](), lowerings)


def shared(folder: str, *lowerings: str) -> list[Any]:
    """Files of a folder, each to be compiled in the lowerings."""
    paths = sorted((SHARED / folder).glob("*.onnx"))
    return [pytest.param(path, lowerings, id=path.stem) for path in paths]


@pytest.mark.shared
@pytest.mark.sweep(
    "path, lowerings",
    short=shared("models", "auto"),
    full=shared("models", *LOWERINGS),
)
def test_real_networks(path: Path, lowerings: tuple[str, ...]) -> None:
    check_all(path, lowerings)


@pytest.mark.shared
@pytest.mark.sweep(
    "path, lowerings",
    short=shared("cases/graphs", "bitserial"),
    full=shared("cases/graphs", *LOWERINGS),
)
def test_small_networks_that_went_wrong(path: Path, lowerings: tuple[str, ...]) -> None:
    """Those that are refused are refused, and no contract breaks before."""
    for lowering in lowerings:
        context = Context(targets.load(DEVICE), lowering)
        try:
            mod = import_onnx(path)
        except UserError:
            return
        continue_passes(mod, context, "canonicalise", "legalise")
