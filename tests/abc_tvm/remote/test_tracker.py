"""A tracker's answers, and the one line for whatever else answers, from a tracker made here."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from abc_tvm.errors import DeviceError
from abc_tvm.remote.address import Address
from abc_tvm.remote.tracker import Lent, tracker

base = pytest.importorskip("tvm.rpc.base", reason="needs TVM's RPC extra")

OK = int(base.TrackerCode.SUCCESS)
SUMMARY = [OK, {"server_info": [{"key": "server:pi"}, {"key": "server:pi"}, {"key": "server:zen"}]}]


@contextmanager
def there(serve: Callable[[socket.socket], None], key: str = "pi") -> Iterator[Address]:
    """Something that listens, and serves one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield Address("127.0.0.1", listener.getsockname()[1], key)
        thread.join(10)


def greet(connection: socket.socket) -> None:
    connection.sendall(connection.recv(4))


def answers(*values: Any) -> Callable[[socket.socket], None]:
    """A tracker that gives these answers, whatever it is asked."""

    def serve(connection: socket.socket) -> None:
        greet(connection)
        for value in values:
            (length,) = struct.unpack("<i", connection.recv(4, socket.MSG_WAITALL))
            connection.recv(length, socket.MSG_WAITALL)
            text = (value if isinstance(value, str) else json.dumps(value)).encode()
            connection.sendall(struct.pack("<i", len(text)) + text)

    return serve


def test_who_is_there() -> None:
    with there(answers(SUMMARY, SUMMARY)) as address, tracker(address, 5) as found:
        assert found.devices() == ["pi", "pi", "zen"]
        assert found.count() == 2


def test_a_key_that_nobody_has() -> None:
    words = r"the tracker has no device of that key \(it has: pi, zen\); start a server"
    with (
        there(answers(SUMMARY), key="tpu") as address,
        tracker(address, 5) as found,
        pytest.raises(DeviceError, match=words),
    ):
        found.count()


def test_a_device_is_lent() -> None:
    with there(answers([OK, ["host", 7, "word"]])) as address, tracker(address, 5) as found:
        lent = found.request()
    assert lent == Lent("host", 7, "word") and lent.place == "host:7"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([OK + 1, None], "the tracker refused"),
        ("no json", r"no TVM tracker \(a server wants --rpc\)"),
        ([1, 2, 3], "no TVM tracker"),
    ],
)
def test_other_answers(answer: Any, words: str) -> None:
    with (
        there(answers(answer)) as address,
        tracker(address, 5) as found,
        pytest.raises(DeviceError, match=words) as caught,
    ):
        found.devices()
    assert str(address) in str(caught.value) and "\n" not in str(caught.value)


def test_it_hangs_up() -> None:
    with (
        there(greet) as address,
        tracker(address, 5) as found,
        pytest.raises(DeviceError, match=r"the tracker hung up|no TVM tracker"),
    ):
        found.devices()


def refused(address: Address, seconds: float) -> str:
    """What is said where no conversation begins."""
    with pytest.raises(DeviceError) as caught, tracker(address, seconds):
        pass
    return str(caught.value)


def test_something_else_answers() -> None:
    with there(lambda connection: connection.sendall(b"HTTP")) as address:
        assert "what answers there is no TVM tracker" in refused(address, 5)


def test_silence_ends_in_time() -> None:
    done = threading.Event()

    def wait(_: socket.socket) -> None:
        done.wait(10)

    with there(wait) as address:
        assert "the tracker gave no answer within 0.2 s; check the address" in refused(address, 0.2)
        done.set()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1], "pi")
    line = refused(address, 5)
    assert "nothing accepts connections (" in line and "start the tracker there" in line
