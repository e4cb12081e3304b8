"""Open a session with TVM's RPC server or tracker; runs in the helper process."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from abc_tvm.errors import DeviceError
from abc_tvm.remote.address import Address
from abc_tvm.remote.tracker import Lent, tracker

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
    say(f"{address}: the tracker gave no answer within {seconds:g} s; check the address")
    with tracker(address, seconds) as there:
        count = there.count()
        say(
            f"{address}: none of its {count} device(s) became free within {seconds:g} s, or the "
            "one that was lent does not answer; try again later, or raise --rpc-timeout"
        )
        return dial_lent(address, there.request()), str(address)


def dial_lent(address: Address, lent: Lent) -> Any:
    """TVM's session with a device that the tracker at ``address`` has lent.

    Raises:
        DeviceError: It cannot be reached.
    """
    from tvm import rpc

    try:
        return rpc.connect(lent.host, lent.port, lent.match)
    except RuntimeError as error:
        raise DeviceError(
            f"{address}: the device that the tracker lent cannot be reached "
            f"({_line(str(error))}); start its server with --custom-addr and the address "
            "that this machine knows it by"
        ) from error


def _line(text: str) -> str:
    return " ".join(text.split())[-200:]
