"""Ours and the float build on one device, in turns; what does not agree is not timed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs the extra [bench]")

import abc_tvm
from abc_tvm.engines.engine import FLOAT, OURS
from abc_tvm.errors import UserError
from abc_tvm.remote import bench as module
from abc_tvm.remote.address import Address
from tests.abc_tvm.small_networks import network

ADDRESS = Address("there", 9)


class Network:
    """A network on a device that is this machine. ``shift`` is added to what it computes."""

    def __init__(self, path: Path, shift: float) -> None:
        self.session, self.shift = abc_tvm.load(path, threads=1), shift

    def run(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: a + np.float32(self.shift) for name, a in self.session.run(arrays).items()}

    def time(self, runs: int = 1) -> float:
        return 1e-3


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What each engine's outputs are wrong by."""
    wrong: dict[str, float] = {}

    class Device:
        def load(self, path: Path, threads: int) -> Network:
            return Network(path, wrong.get(path.stem, 0.0))

    @contextlib.contextmanager
    def connect(address: Address, seconds: float) -> Iterator[Device]:
        assert address == ADDRESS
        yield Device()

    monkeypatch.setattr(module, "connect", connect)
    return wrong


def bench(**options: Any) -> Any:
    return module.bench(network(), "native", ADDRESS, repeat=2, lowering="bitserial", **options)


def test_both_in_turns(device: dict[str, float]) -> None:
    found = bench(batch=2)
    assert [result.engine for result in found.results] == [OURS, FLOAT]
    assert found.refused == () and all(one.agrees for one in found.agreements)
    assert found.device == str(ADDRESS) and found.shapes == {"input": [2, 8, 6, 6]}
    assert not device


def test_what_does_not_agree_is_not_timed(device: dict[str, float]) -> None:
    device[FLOAT] = 1.0
    found = bench()
    assert [result.engine for result in found.results] == [OURS]
    assert [one.engine for one in found.refused] == [FLOAT]
    device[OURS] = 1.0
    found = bench()
    assert found.results == () and {one.engine for one in found.refused} == {OURS, FLOAT}


def test_engines_that_do_not_run_there() -> None:
    with pytest.raises(UserError, match="against: torch does not run on a remote device; leave it"):
        bench(against=["torch"])
