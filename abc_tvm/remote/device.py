"""A device as the calling process sees it: connect, load networks, run and time them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from abc_tvm import errors
from abc_tvm.errors import DeviceError, UserError
from abc_tvm.remote.address import Address
from abc_tvm.remote.watchdog import Death, Helper, HelperRefusal, Silence
from abc_tvm.runtime.container import Info, read_info
from abc_tvm.runtime.inputs import in_order, refuse_not_finite

DEFAULT_TIMEOUT = 20.0
"""Seconds that a device may be silent."""

_START_S = 120.0
"""Seconds that this machine may take to start the helper process (it imports TVM)."""

_HANG_UP = ("RPCCode::k", "Connection reset", "Broken pipe")
"""What TVM's client says of a server whose end of the connection was closed: it checks the code of
every message that it waits for."""


class RemoteDevice:
    """A device and the session with it. Make one with :func:`connect`; a context manager."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        self._helper = Helper("abc_tvm.remote.worker")
        try:
            self._ask("this machine starts its helper", "ready", seconds=_START_S)
            self._ask("connecting", "open", address, timeout)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RemoteDevice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def load(self, path: str | os.PathLike[str], threads: int | None = None) -> RemoteNetwork:
        """Upload a compiled network.

        Args:
            path: What ``Artifact.save`` or ``abc-tvm compile`` wrote.
            threads: Threads of one run, of all networks on this device; by default what its
                server was started with. No more than that is possible.

        Raises:
            ArtifactError: The file is missing, damaged, no artifact, or of another version.
            TargetError: It was compiled for another processor than the device's.
            DeviceError: The device is gone, or has fewer threads.
        """
        file = Path(path)
        info = read_info(file)
        info.refuse_gpu(file, "a remote device")
        count = int(self._ask("setting the threads", "threads", threads))
        number = int(self._ask(f"uploading {file}", "load", str(file), info))
        return RemoteNetwork(self, number, info, count)

    def close(self) -> None:
        """End the session."""
        self._helper.close()

    def _ask(self, doing: str, *request: Any, seconds: float | None = None) -> Any:
        limit = self._timeout if seconds is None else seconds
        try:
            return self._helper.ask(request, limit)
        except Silence as silence:
            raise DeviceError(
                str(silence)
                or f"{self.address}: silent for {limit:g} s while {doing}: the device is switched "
                "off, unreachable or too slow; check it, or raise --rpc-timeout"
            ) from silence
        except Death as death:
            raise DeviceError(
                f"{self.address}: the session ended while {doing} ({death}); try again"
            ) from death
        except HelperRefusal as refusal:
            kind = getattr(errors, refusal.kind, None)
            if isinstance(kind, type) and issubclass(kind, UserError):
                raise kind(str(refusal)) from refusal
            raise DeviceError(self._broken(doing, str(refusal))) from refusal

    def _broken(self, doing: str, text: str) -> str:
        if any(words in text for words in _HANG_UP):
            return (
                f"{self.address}: the device ended the session while {doing}: its server was "
                "stopped, or crashed (as with code for another processor); start the server again"
            )
        return f"{self.address}: the device failed while {doing}: {text}"


class RemoteNetwork:
    """A network on a device. Make one with :meth:`RemoteDevice.load`."""

    def __init__(self, device: RemoteDevice, number: int, info: Info, threads: int) -> None:
        self.info = info
        self.threads = threads
        self._device = device
        self._number = number

    def run(self, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """Run the network once on the device; as ``abc_tvm.Session.run``, errors included.

        Raises:
            InputError: As ``abc_tvm.Session.run``.
            DeviceError: The device is gone or silent.
        """
        given = in_order(self.info.inputs, inputs)
        arrays = [g.array if g.on_processor else g.array.numpy() for g in given]
        if self.info.binarized:
            for port, array in zip(self.info.inputs, arrays, strict=True):
                refuse_not_finite(port, array)
        answer = self._device._ask("running", "run", self._number, arrays)
        return {p.name: array for p, array in zip(self.info.outputs, answer, strict=True)}

    def time(self, number: int = 1) -> float:
        """Milliseconds of one run on the inputs of the last :meth:`run`, by the device's clock.

        One untimed run, then the mean of ``number``; nothing is transferred in between.

        Raises:
            DeviceError: The device is gone or silent.
        """
        return float(self._device._ask("measuring", "time", self._number, number)) * 1e3


def connect(address: Address, timeout: float = DEFAULT_TIMEOUT) -> RemoteDevice:
    """Open a session with a device.

    Args:
        address: Its server, or a tracker and a key.
        timeout: Seconds that it may be silent: while connecting, and in every step afterwards
            (an upload, a run, one measurement).

    Raises:
        DeviceError: It is absent, busy, or refuses.
    """
    return RemoteDevice(address, timeout)
