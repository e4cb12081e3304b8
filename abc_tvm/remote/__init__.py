"""Run and time compiled networks on another machine, through TVM's own RPC server and tracker.

``address`` says which device; ``device`` is that device as this process sees it; ``watchdog``
keeps the conversation in a process of its own, which ``worker`` runs: TVM's client waits without
end for a server that has gone away, so somebody must be able to end it.
"""

from __future__ import annotations

from abc_tvm.remote.address import Address, read_address
from abc_tvm.remote.device import RemoteDevice, RemoteNetwork, connect

__all__ = ["Address", "RemoteDevice", "RemoteNetwork", "connect", "read_address"]
