"""The helper process: holds TVM's RPC session and does what it is asked, one thing at a time."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from abc_tvm.errors import DeviceError, UserError
from abc_tvm.remote.address import Address
from abc_tvm.remote.dial import dial
from abc_tvm.remote.machine import check_device, not_loaded
from abc_tvm.remote.watchdog import lifeline
from abc_tvm.runtime.container import Info

_BIG_CORES_FIRST = 1


class Worker:
    """One device and the networks that are loaded on it; a method per kind of request."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._session: Any = None
        self._where = ""
        self._machines: list[Any] = []

    def open(self, address: Address, seconds: float) -> None:
        """Connect."""
        self._session, self._where = dial(
            address, seconds, lambda text: self._pipe.send(("at", text))
        )

    def threads(self, count: int | None) -> int:
        """Set the number of threads of one run; ``None`` leaves the server's own. The number."""
        running = self._session.get_function("runtime.NumThreads")
        if count is not None:
            self._session.get_function("runtime.config_threadpool")(_BIG_CORES_FIRST, count)
            if int(running()) != count:
                raise DeviceError(
                    f"{self._where}: threads: {count} asked for, and its server has a pool of "
                    f"{int(running())}: start it there with TVM_NUM_THREADS={count}"
                )
        return int(running())

    def load(self, path: str, info: Info) -> int:
        """Upload and load an artifact; its number in ``run`` and ``time``."""
        from tvm.runtime.vm import VirtualMachine

        check_device(self._session, self._where, path, info)
        name = f"network{len(self._machines)}.so"
        self._session.upload(bytearray(Path(path).read_bytes()), name)
        try:
            library = self._session.load_module(name)
        except RuntimeError as error:
            raise not_loaded(path, info, self._where, error) or error from error
        self._machines.append(VirtualMachine(library, self._session.cpu()))
        return len(self._machines) - 1

    def run(self, number: int, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Upload inputs, run once, fetch the outputs."""
        import tvm

        machine = self._machines[number]
        device = self._session.cpu()
        tensors = [tvm.runtime.tensor(np.ascontiguousarray(a), device) for a in arrays]
        # A call through RPC returns no tuples; the state-keeping interface serves all networks.
        machine.set_input("main", *tensors)
        machine.invoke_stateful("main")
        outputs = machine.get_outputs("main")
        return [t.numpy() for t in (outputs if isinstance(outputs, tuple) else (outputs,))]

    def time(self, number: int, runs: int) -> float:
        """Seconds of one run, by the device's clock: one untimed, then the mean of ``runs``."""
        evaluator = self._machines[number].time_evaluator(
            "invoke_stateful", self._session.cpu(), number=runs, repeat=1
        )
        return float(evaluator("main").results[0])


def main() -> None:
    """Answer requests until the other side is gone."""
    pipe = Connection(int(sys.argv[1]))
    lifeline(pipe)
    worker = Worker(pipe)
    while True:
        name, *arguments = pipe.recv()
        answer: tuple[Any, ...]
        try:
            if name == "ready":
                import tvm.rpc  # noqa: F401 - takes seconds, which are not the device's

                answer = ("done", None)
            else:
                answer = ("done", getattr(worker, name)(*arguments))
        except UserError as error:
            answer = ("refused", type(error).__name__, str(error))
        except (OSError, RuntimeError, ValueError, AttributeError) as error:
            answer = ("refused", "", " ".join(str(error).split())[-300:])
        pipe.send(answer)


if __name__ == "__main__":
    try:
        main()
    except (EOFError, ConnectionError):
        # Not sys.exit: TVM's destructors may wait for the server.
        os._exit(0)
