"""Open a session with TVM's RPC server or tracker; runs in the helper process."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from abc_tvm.errors import DeviceError
from abc_tvm.remote.address import Address

Say = Callable[[str], None]
"""Takes the line to report if nothing more is heard."""

_START = "python -m tvm.exec.rpc_server --host … --port"


def dial(address: Address, seconds: float, say: Say) -> tuple[Any, str]:
    """TVM's session with the device, and the device's place as messages name it.

    Raises:
        DeviceError: There is no such host, server, tracker or key, or it refuses.
    """
    say(f"{address}: the name of the host was not found within {seconds:g} s")
    try:
        socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DeviceError(
            f"{address}: unknown host {address.host!r} ({error.strerror}); check the name"
        ) from error
    return _server(address, seconds, say) if address.key is None else _lent(address, seconds, say)


def _server(address: Address, seconds: float, say: Say) -> tuple[Any, str]:
    from tvm import rpc

    say(
        f"{address}: no answer within {seconds:g} s: the device is absent, or busy with another "
        "client, or its server hangs after a crash; wait, or restart the server there"
    )
    try:
        return rpc.connect(address.host, address.port), address.place
    except RuntimeError as error:
        raise DeviceError(f"{address}: {_reason(str(error), address)}") from error


def _reason(text: str, address: Address) -> str:
    if "cannot find server that matches" in text:
        return (
            "that server belongs to a tracker or has a key of its own; go through its tracker "
            "(--rpc-tracker, --rpc-key)"
        )
    if "is not TVM RPC server" in text:
        return "what answers there is no TVM RPC server (a tracker wants --rpc-tracker)"
    if "Connect to" in text:
        return f"nothing accepts connections; start the server there ({_START} {address.port})"
    return f"the connection failed: {_line(text)}"


def _lent(address: Address, seconds: float, say: Say) -> tuple[Any, str]:
    from tvm import rpc

    say(f"{address}: the tracker gave no answer within {seconds:g} s; check the address")
    # TVM's client would try a tracker that refuses for a minute.
    try:
        socket.create_connection((address.host, address.port), seconds).close()
    except OSError as error:
        raise DeviceError(
            f"{address}: nothing accepts connections ({error.strerror or error}); start the "
            f"tracker there (python -m tvm.exec.rpc_tracker --host … --port {address.port})"
        ) from error
    try:
        tracker = rpc.connect_tracker(address.host, address.port)
        summary = tracker.summary()
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise DeviceError(
            f"{address}: what answers there is no TVM tracker (a server wants --rpc)"
        ) from error
    with contextlib.closing(tracker):
        servers = [str(s["key"]).removeprefix("server:") for s in summary["server_info"]]
        count = servers.count(str(address.key))
        if not count:
            known = ", ".join(sorted(set(servers))) or "none"
            raise DeviceError(
                f"{address}: the tracker has no device of that key (it has: {known}); start a "
                f"server with --tracker {address.place} --key {address.key}"
            )
        say(
            f"{address}: none of its {count} device(s) became free within {seconds:g} s, or the "
            "one that was lent does not answer; try again later, or raise --rpc-timeout"
        )
        try:
            session = tracker.request(address.key, max_retry=1)
        except RuntimeError as error:
            raise DeviceError(
                f"{address}: the device that the tracker lent cannot be reached "
                f"({_line(str(error))}); start its server with --custom-addr and the address "
                "that this machine knows it by"
            ) from error
    return session, str(address)


def _line(text: str) -> str:
    return " ".join(text.split())[-200:]
