"""TVM's tracker as a client sees it: who is there, and which device it lends.

TVM's own client connects to the device in the same breath and does not say which one it is. The
messages are JSON behind a length, see ``tvm.rpc.base`` and ``tvm.rpc.tracker``.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from abc_tvm.errors import DeviceError

from .address import Address


@dataclass(frozen=True)
class Lent:
    """A device that the tracker has lent: where it is, and the word that opens it."""

    host: str
    port: int
    match: str

    @property
    def place(self) -> str:
        """``HOST:PORT``."""
        return Address(self.host, self.port).place


class Tracker:
    """A conversation with a tracker; make one with :func:`tracker`."""

    def __init__(self, address: Address, connection: socket.socket) -> None:
        self._address, self._socket = address, connection

    def devices(self) -> list[str]:
        """The keys of all devices that the tracker has, lent ones included."""
        from tvm.rpc.base import TrackerCode

        answer = self._ask([TrackerCode.SUMMARY])
        return [str(s["key"]).removeprefix("server:") for s in answer["server_info"]]

    def count(self) -> int:
        """How many devices of the address's key there are.

        Raises:
            DeviceError: None.
        """
        devices = self.devices()
        count = devices.count(str(self._address.key))
        if not count:
            known = ", ".join(sorted(set(devices))) or "none"
            raise DeviceError(
                f"{self._address}: the tracker has no device of that key (it has: {known}); start "
                f"a server with --tracker {self._address.place} --key {self._address.key}"
            )
        return count

    def request(self) -> Lent:
        """A device of the address's key, as soon as one is free: waits without end."""
        from tvm.rpc.base import TrackerCode

        self._socket.settimeout(None)
        host, port, match = self._ask([TrackerCode.REQUEST, self._address.key, "", 1])
        return Lent(str(host), int(port), str(match))

    def _ask(self, message: list[Any]) -> Any:
        from tvm.rpc import base

        try:
            base.sendjson(self._socket, message)
            code, value = base.recvjson(self._socket)
        except OSError as error:
            raise DeviceError(f"{self._address}: the tracker hung up ({error})") from error
        except (ValueError, TypeError, RuntimeError) as error:
            raise _no_tracker(self._address) from error
        if code != base.TrackerCode.SUCCESS:
            raise DeviceError(f"{self._address}: the tracker refused ({code})")
        return value


@contextlib.contextmanager
def tracker(address: Address, seconds: float) -> Iterator[Tracker]:
    """Connect to the tracker of an address; ``seconds`` limit each step but a request.

    Raises:
        DeviceError: Nothing answers there, or no tracker.
    """
    from tvm.rpc import base

    try:
        connection = socket.create_connection((address.host, address.port), seconds)
    except OSError as error:
        raise DeviceError(
            f"{address}: nothing accepts connections ({error.strerror or error}); start the "
            f"tracker there (python -m tvm.exec.rpc_tracker --host … --port {address.port})"
        ) from error
    with connection:
        magic = base.RPC_TRACKER_MAGIC.to_bytes(4, "little")
        try:
            connection.sendall(magic)
            answer = base.recvall(connection, 4)
        except TimeoutError as error:
            raise DeviceError(
                f"{address}: the tracker gave no answer within {seconds:g} s; check the address"
            ) from error
        except OSError as error:
            raise _no_tracker(address) from error
        if bytes(answer) != magic:
            raise _no_tracker(address)
        yield Tracker(address, connection)


def _no_tracker(address: Address) -> DeviceError:
    return DeviceError(f"{address}: what answers there is no TVM tracker (a server wants --rpc)")
