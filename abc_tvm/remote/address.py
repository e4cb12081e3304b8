"""Where a device is: an RPC server, or a tracker that lends the devices of a key."""

from __future__ import annotations

from dataclasses import dataclass

from abc_tvm.errors import UserError


@dataclass(frozen=True)
class Address:
    """An RPC server, or with ``key`` a tracker and the kind of device to ask it for."""

    host: str
    port: int
    key: str | None = None

    @property
    def place(self) -> str:
        """``HOST:PORT``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.place if self.key is None else f"tracker {self.place}, key {self.key!r}"


def read_address(rpc: str | None, tracker: str | None, key: str | None) -> Address | None:
    """The address that ``--rpc``, ``--rpc-tracker`` and ``--rpc-key`` name; ``None`` without them.

    Raises:
        UserError: They contradict each other, or one is not ``HOST:PORT``.
    """
    if rpc is not None and (tracker is not None or key is not None):
        raise UserError("--rpc names one device: leave --rpc-tracker and --rpc-key away, or --rpc")
    if (tracker is None) != (key is None):
        raise UserError("--rpc-tracker and --rpc-key belong together: give both")
    if rpc is not None:
        return Address(*_host_and_port(rpc, "--rpc"))
    if tracker is not None:
        if not key or any(c.isspace() or c == ":" for c in key):
            raise UserError(f"--rpc-key: {key!r} is no key; give a name without spaces and colons")
        return Address(*_host_and_port(tracker, "--rpc-tracker"), key)
    return None


def _host_and_port(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    valid = bare and (bracketed or ":" not in bare) and not any(c.isspace() for c in bare)
    if not valid or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise UserError(f"{option}: {text!r} is not HOST:PORT (as in 192.168.0.7:9090)")
    return bare, int(port)
