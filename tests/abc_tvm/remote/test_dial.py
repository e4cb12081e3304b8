"""Opening a session: each refusal says what is there and what to do, and what is waited for."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from abc_tvm.errors import DeviceError
from abc_tvm.remote import dial as module
from abc_tvm.remote.address import Address
from abc_tvm.remote.dial import dial, dial_lent
from abc_tvm.remote.tracker import Lent

rpc = pytest.importorskip("tvm.rpc", reason="needs TVM's RPC extra")

HERE = Address("127.0.0.1", 9)
SESSION = object()


def connects(monkeypatch: pytest.MonkeyPatch, result: Any) -> list[tuple[Any, ...]]:
    """TVM's client gives this, or raises it; what it was asked for."""
    asked: list[tuple[Any, ...]] = []

    def connect(*given: Any) -> Any:
        asked.append(given)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(rpc, "connect", connect)
    return asked


def test_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    asked = connects(monkeypatch, SESSION)
    assert dial(HERE, 3, said.append) == (SESSION, HERE.place)
    assert asked == [("127.0.0.1", 9)]
    assert len(said) == 2 and "within 3 s" in said[0] and "or busy with another" in said[1]


def test_a_host_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DeviceError, match=r"unknown host 'pi' \(Name or service not known\); che"):
        dial(Address("pi", 9), 3, lambda _: None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cannot find server that matches\nkey", "go through its tracker"),
        ("x is not TVM RPC server", r"no TVM RPC server \(a tracker wants --rpc-tracker\)"),
        ("Connect to 127.0.0.1:9 failed", r"start the server there \(.* --port 9\)"),
        ("something\nelse", "the connection failed: something else$"),
    ],
)
def test_why_there_is_no_session(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connects(monkeypatch, RuntimeError(text))
    with pytest.raises(DeviceError, match=words) as caught:
        dial(HERE, 3, lambda _: None)
    assert str(caught.value).startswith(f"{HERE}: ") and "\n" not in str(caught.value)


def test_a_device_that_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    lent = Lent("there", 7, "word")

    class There:
        def count(self) -> int:
            return 3

        def request(self) -> Lent:
            return lent

    @contextlib.contextmanager
    def tracker(address: Address, seconds: float) -> Iterator[There]:
        yield There()

    said: list[str] = []
    monkeypatch.setattr(module, "tracker", tracker)
    asked = connects(monkeypatch, SESSION)
    address = Address("127.0.0.1", 9, "pi")
    assert dial(address, 3, said.append) == (SESSION, str(address))
    assert asked == [("there", 7, "word")]
    assert "none of its 3 device(s) became free within 3 s" in said[-1]
    connects(monkeypatch, RuntimeError("no\nroute"))
    with pytest.raises(DeviceError, match=r"cannot be reached \(no route\); start .*--custom-addr"):
        dial_lent(address, lent)
