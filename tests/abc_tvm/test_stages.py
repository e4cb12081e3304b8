"""Stages alone: what is imported, which settings the passes get, faults that name the pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tvm

from abc_tvm import stages
from abc_tvm.errors import CompilerFault, ModelError, UnsupportedError, UserError
from abc_tvm.runtime.container import Port
from abc_tvm.stages import MOST_ERROR
from abc_tvm.targets import load
from tests.abc_tvm.small_networks import network, write


def test_a_path_or_a_model(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", network())
    for source, label in ((network(), "model"), (path, str(path)), (str(path), str(path))):
        imported = stages.import_model(source)
        assert imported.label == label
        assert imported.conv_names == ["block/conv1", "block/conv2"] and not imported.dense_names
    for bad in (None, 3, b"model", [path]):
        with pytest.raises(ModelError, match="expected a path, an onnx"):
            stages.import_model(bad)  # type: ignore[arg-type]


def test_ports() -> None:
    inputs, outputs = stages.ports(stages.import_model(network()).module)
    assert inputs == (Port("input", ("N", 8, 6, 6), "float32"),)
    assert outputs == (Port("output", ("N", 4, 6, 6), "float32"),)
    ((fixed,), _) = stages.ports(stages.import_model(network(), batch=3).module)
    assert fixed.shape == (3, 8, 6, 6)
    ((one,), _) = stages.ports(stages.import_model(network(), one_image=True).module)
    assert one.shape == (1, 8, 6, 6)


@pytest.mark.parametrize(
    ("given", "wanted"), [(None, None), (False, None), (True, MOST_ERROR), (0.5, 0.5), (0, None)]
)
def test_what_rounding_may_change(given: Any, wanted: float | None) -> None:
    assert stages.make_context(load("zen4"), "auto", given).allow_int8 == wanted


@pytest.mark.parametrize("given", [1.0, 2.0, -0.1])
def test_no_error_between_0_and_1(given: float) -> None:
    with pytest.raises(UserError, match="is no error between 0 and 1"):
        stages.make_context(load("zen4"), "auto", given)


def imported() -> stages.Imported:
    return stages.import_model(network())


@pytest.mark.parametrize("error", [KeyError("a\nb"), AssertionError("a b"), RuntimeError("a b")])
def test_a_pass_that_fails_is_named(error: Exception) -> None:
    def fail(module: tvm.IRModule) -> tvm.IRModule:
        raise error

    one = imported()
    with pytest.raises(CompilerFault, match=r"model: pass second fails on this graph \(") as caught:
        stages.apply(one, [("first", lambda mod: mod), ("second", fail)], one.module)
    assert type(error).__name__ in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_what_a_pass_refuses_names_the_model() -> None:
    def refuse(module: tvm.IRModule) -> tvm.IRModule:
        raise UnsupportedError("node 'a' is odd")

    one = imported()
    with pytest.raises(UnsupportedError, match=r"^model: node 'a' is odd$") as caught:
        stages.apply(one, [("first", refuse)], one.module)
    assert not isinstance(caught.value, CompilerFault)


def test_an_interrupt_is_no_fault() -> None:
    def stop(module: tvm.IRModule) -> tvm.IRModule:
        raise KeyboardInterrupt

    one = imported()
    with pytest.raises(KeyboardInterrupt):
        stages.apply(one, [("first", stop)], one.module)


def test_progress_names_passes_as_they_begin() -> None:
    told: list[str] = []
    one = imported()
    order = [(name, lambda mod: mod) for name in ("a", "b")]
    assert stages.apply(one, order, one.module, progress=told.append) is one.module
    assert told == ["a", "b"]
