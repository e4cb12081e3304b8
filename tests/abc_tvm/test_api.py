"""The public functions refuse what they cannot do in one line, and pass on what they are given."""

from __future__ import annotations

from typing import Any

import pytest

import abc_tvm
from abc_tvm import api
from abc_tvm.errors import TargetError, UserError
from tests.abc_tvm.small_networks import network


class Seen(Exception):
    """What a function asks a compilation for."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def compilation(model: Any, target: Any, **named: Any) -> Any:
        calls.append({"target": getattr(target, "name", target), **named})
        raise Seen

    monkeypatch.setattr(api, "Compilation", compilation)
    return calls


def test_settings_reach_the_compilation(asked: list[dict[str, Any]]) -> None:
    given: dict[str, Any] = {"lowering": "int8", "allow_int8": 0.01, "check": False}
    for function in (abc_tvm.inspect, abc_tvm.compile, abc_tvm.compile_c):
        with pytest.raises(Seen):
            function(network(), "rpi4", **given)
    with pytest.raises(Seen):
        abc_tvm.compile(network(), "rpi4", batch=3, debug_dump="d", records="r")
    assert all(call["target"] == "rpi4" for call in asked)
    assert all(given.items() <= call.items() for call in asked[:3])
    last = asked[-1]
    assert (last["batch"], last["dump"], last["records"], last["tuned"]) == (3, "d", "r", True)
    assert asked[2]["one_image"] and "one_image" not in last


def test_inspect_does_not_look_records_up(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(Seen):
        abc_tvm.inspect(network())
    assert "tuned" not in asked[0] and "records" not in asked[0]


def test_a_c_library_of_a_gpu() -> None:
    with pytest.raises(TargetError, match="target cuda-sm80: a C library runs on processors alone"):
        abc_tvm.compile_c(network(), "cuda-sm80")


@pytest.mark.parametrize("function", [abc_tvm.inspect, abc_tvm.compile, abc_tvm.compile_c])
def test_what_is_unknown(function: Any) -> None:
    with pytest.raises(TargetError, match="nowhere"):
        function(network(), "nowhere")
    with pytest.raises(UserError, match="lowering: 'magic' is unknown; choose one of auto, bit"):
        function(network(), "zen4" if function is abc_tvm.inspect else "native", lowering="magic")
    with pytest.raises(UserError, match=r"allow_int8: 1\.5 is no error between 0 and 1"):
        function(network(), "native", allow_int8=1.5)


def test_a_target_without_a_runtime() -> None:
    """A 32-bit board takes C libraries alone."""
    with pytest.raises(TargetError, match="armv7"):
        abc_tvm.compile(network(), "armv7")
