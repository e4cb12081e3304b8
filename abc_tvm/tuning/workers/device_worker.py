"""The child process that talks to one device and measures candidates there.

``python -m abc_tvm.tuning.workers.device_worker FD``: TVM's client waits without end for a server
that has gone away, so the tuner ends this process when it is silent for too long. It says what it
does before each step.
"""

from __future__ import annotations

import hashlib
import os
import sys
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from abc_tvm.errors import DeviceError
from abc_tvm.remote.address import Address
from abc_tvm.remote.dial import dial, dial_lent
from abc_tvm.remote.machine import check_device
from abc_tvm.remote.tracker import tracker
from abc_tvm.remote.watchdog import lifeline
from abc_tvm.remote.worker import Worker
from abc_tvm.runtime.container import Info
from abc_tvm.targets import Device
from abc_tvm.tuning.measure import Built, compare, in_turns
from abc_tvm.tuning.workers.package import Package
from abc_tvm.tuning.workers.runner import Job
from abc_tvm.tuning.workers.worker import end_with_parent, reply


class DeviceWorker(Worker):
    """One device; a method per kind of request."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(pipe)
        self._seconds = 0.0
        self._uploads = 0
        self._tensors: dict[bytes, Any] = {}
        self._outputs: list[Any] = []
        self._expected: list[np.ndarray] = []

    def enlist(self, address: Address, seconds: float, device: Device, threads: int) -> str:
        """Connect, to the next device that is free where ``address`` is a tracker; its place.

        Raises:
            DeviceError: It cannot be reached, or has fewer threads.
            TargetError: It is another machine than ``device``.
        """
        import tvm.rpc  # noqa: F401 - takes seconds, which are not the device's

        from abc_tvm.compilation import target_facts

        self._seconds = seconds
        if address.key is None:
            self._session, self._where = dial(
                address, seconds, lambda text: self._pipe.send(("step", text, seconds))
            )
        else:
            with tracker(address, seconds) as there:
                self._pipe.send(("step", f"{address}: none of its devices is free", None))
                lent = there.request()
            self._where = lent.place
            self._step(f"{lent.place}: lent by the tracker, and does not answer")
            self._session = dial_lent(address, lent)
        self._step(f"{self._where}: silent while it was asked what it is")
        info = Info((), (), target_facts(device), "")
        check_device(self._session, self._where, "the candidates", info)
        self.threads(threads)
        return self._where

    def reference(self, package: Package) -> None:
        """Run the plain loops: from now on, candidates are those of the same layer."""
        self._tensors.clear()
        self._outputs.clear()
        self._expected = self._alive_or_error(lambda: self._built(package).outputs())

    def measure(self, job: Job, packages: list[Package]) -> list[tuple[float, ...]]:
        """Upload, check and time the choices of a job."""
        return self._alive_or_error(lambda: self._measure(job, packages))

    def _measure(self, job: Job, packages: list[Package]) -> list[tuple[float, ...]]:
        kernels = []
        for choice, package in zip(job.choices, packages, strict=True):
            built = self._built(package)
            self._step(f"{self._where}: silent while it ran {choice}")
            compare(built.outputs(), self._expected)
            kernels.append(built)
        text = f"{self._where}: silent while it measured {job.choices[-1]}"
        return in_turns(kernels, job.rounds, lambda: self._step(text))

    def _built(self, package: Package) -> Built:
        """Upload and load. Raises ``DeviceError``: no other candidate would fare better."""
        self._step(f"{self._where}: silent during an upload")
        self._uploads += 1
        name, place = f"candidate{self._uploads}.so", self._session.cpu()
        try:
            self._session.upload(bytearray(package.library), name)
            run = self._session.load_module(name)
            self._session.remove(name)
            count = len(package.shapes)
            tensors = [self._kept(array) for array in package.operands[:-count]]
            tensors += self._results(package.operands[-count:])
        except RuntimeError as error:
            text = " ".join(str(error).split())[-200:]
            raise DeviceError(f"{self._where}: takes no upload ({text})") from error
        return Built(run, tensors, package.shapes, place)

    def _kept(self, array: np.ndarray) -> Any:
        """The array on the device; what two candidates share is sent once."""
        import tvm

        facts = f"{array.dtype} {array.shape}".encode()
        key = hashlib.sha256(facts + np.ascontiguousarray(array).data).digest()
        if key not in self._tensors:
            self._tensors[key] = tvm.runtime.tensor(array, self._session.cpu())
        return self._tensors[key]

    def _results(self, arrays: list[np.ndarray]) -> list[Any]:
        """Empty results: what an earlier candidate wrote must not pass for this one's."""
        import tvm

        wanted = [(a.shape, str(a.dtype)) for a in arrays]
        if [(tuple(t.shape), str(t.dtype)) for t in self._outputs] != wanted:
            place = self._session.cpu()
            self._outputs = [tvm.runtime.empty(a.shape, str(a.dtype), place) for a in arrays]
        for tensor, array in zip(self._outputs, arrays, strict=True):
            tensor.copyfrom(array)
        return self._outputs

    def _alive_or_error(self, work: Any) -> Any:
        """The result of ``work``; an error after which the session is gone is the device's."""
        try:
            return work()
        except RuntimeError as error:
            text = " ".join(str(error).split())[-200:]
            try:
                self._session.get_function("runtime.NumThreads")()
            except (RuntimeError, AttributeError):
                raise DeviceError(f"{self._where}: ended the session ({text})") from error
            raise

    def _step(self, text: str) -> None:
        self._pipe.send(("step", f"{text} within {self._seconds:g} s", self._seconds))


def main() -> None:
    """Answer requests until the other side is gone."""
    pipe = Connection(int(sys.argv[1]))
    lifeline(pipe)
    end_with_parent()
    worker = DeviceWorker(pipe)
    while True:
        name, *arguments = pipe.recv()
        pipe.send(reply(worker, name, arguments))


if __name__ == "__main__":
    try:
        main()
    except (EOFError, ConnectionError):
        # Not sys.exit: TVM's destructors may wait for the server.
        os._exit(0)
