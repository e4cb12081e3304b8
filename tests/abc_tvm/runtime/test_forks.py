"""Sessions in forked children: they work at once, or raise at once, and children end."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm.errors import InputError
from abc_tvm.runtime import forks
from tests.abc_tvm.small_networks import network

LIMIT_S = 60
"""A child that takes longer hangs; it takes milliseconds, and seconds where the machine is busy."""

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forks") / "m.so"
    abc_tvm.compile(network(), lowering="bitserial").save(path)
    return path


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, 8, 6, 6)).astype(np.float32)


def in_child(work: Callable[[], object]) -> None:
    """Do it in a forked child; fails where that raises, or hangs."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - pytest must not go on in the child
            traceback.print_exc()
            os._exit(1)
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0, "the child failed, see its traceback"
            return
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("used", [False, True])
def test_a_child_and_its_children_go_on(saved: Path, threads: int, used: bool) -> None:
    session = abc_tvm.load(saved, threads=threads)
    wanted = abc_tvm.load(saved, threads=1).run(image())["output"]

    def run() -> None:
        np.testing.assert_array_equal(session.run(image())["output"], wanted)

    def family() -> None:
        run()
        in_child(run)
        run()

    if used:
        run()
    for _ in range(4):
        in_child(family)
    run()


def test_a_child_loads_anew_and_uses_threads_of_its_own(saved: Path) -> None:
    first = abc_tvm.load(saved, threads=2)
    wanted = first.run(image())["output"]

    def work() -> None:
        sessions = [first, abc_tvm.load(saved, threads=1), abc_tvm.load(saved, threads=2)]
        found: list[np.ndarray] = []
        workers = [
            threading.Thread(target=lambda s=s: found.append(s.run(image())["output"]))
            for s in sessions * 2
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(found) == 6
        for output in found:
            np.testing.assert_array_equal(output, wanted)

    in_child(work)


def test_forks_from_another_thread_while_sessions_run(saved: Path) -> None:
    """Both kinds of session are in runs all the time, and in each child both go on."""
    sessions = [abc_tvm.load(saved, threads=n) for n in (1, 2)]
    wanted = sessions[0].run(image())["output"]
    stop = threading.Event()
    wrong: list[object] = []

    def work(session: abc_tvm.Session) -> None:
        while not stop.is_set():
            found = session.run(image())["output"]
            if not np.array_equal(found, wanted):
                wrong.append(found)

    def both() -> None:
        for session in sessions:
            np.testing.assert_array_equal(session.run(image())["output"], wanted)

    def fork() -> None:
        try:
            for _ in range(8):
                in_child(both)
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            wrong.append(error)

    workers = [threading.Thread(target=work, args=(session,)) for session in sessions * 2]
    forking = threading.Thread(target=fork)
    for thread in (*workers, forking):
        thread.start()
    forking.join()
    stop.set()
    for thread in workers:
        thread.join()
    assert wrong == []


def test_a_run_that_takes_too_long_is_not_waited_for(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "WAIT_S", 0.05)
    busy, other = abc_tvm.load(saved, threads=1), abc_tvm.load(saved, threads=2)
    wanted = other.run(image())["output"]
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with busy.lock:
            held.set()
            let_go.wait(LIMIT_S)

    holding = threading.Thread(target=hold)
    holding.start()
    held.wait(LIMIT_S)

    def work() -> None:
        with pytest.raises(InputError, match="in a run when this process was forked; load"):
            busy.run(image())
        np.testing.assert_array_equal(other.run(image())["output"], wanted)

    in_child(work)
    let_go.set()
    holding.join()
    np.testing.assert_array_equal(busy.run(image())["output"], wanted)


def test_a_session_on_a_gpu_raises_at_once(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = abc_tvm.load(saved, threads=1)
    monkeypatch.setattr(session, "_on_processor", False)

    def work() -> None:
        with pytest.raises(InputError, match="CUDA does not survive a fork: start processes with"):
            session.run(image())

    in_child(work)


shared: abc_tvm.Session | None = None


def run_shared(seed: int) -> np.ndarray:
    """What the processes of a pool do with the session that they were forked with."""
    assert shared is not None
    return shared.run(image(seed))["output"]


@pytest.mark.parametrize("threads", [1, 2])
def test_pools_of_processes(saved: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    session = abc_tvm.load(saved, threads=threads)
    monkeypatch.setattr(sys.modules[__name__], "shared", session)
    wanted = [session.run(image(seed))["output"] for seed in range(4)]
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        found = pool.map_async(run_shared, range(4)).get(LIMIT_S)
    np.testing.assert_array_equal(found, wanted)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=fork) as executor:
        found = list(executor.map(run_shared, range(4), timeout=LIMIT_S))
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(run_shared(0), wanted[0])


def test_workers_of_a_data_loader(saved: Path) -> None:
    data = pytest.importorskip("torch.utils.data")
    session = abc_tvm.load(saved, threads=2)
    wanted = [session.run(image(seed))["output"] for seed in range(6)]

    class Images(data.Dataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return len(wanted)

        def __getitem__(self, seed: int) -> np.ndarray:
            return session.run(image(seed))["output"]

    loader = data.DataLoader(
        Images(), batch_size=None, num_workers=2, timeout=LIMIT_S, multiprocessing_context="fork"
    )
    np.testing.assert_array_equal([np.asarray(item) for item in loader], wanted)


def test_processes_are_idle_and_end(saved: Path) -> None:
    """With sessions open in threads and in children that leave as a program does.

    TVM's workers spin for 0.2 s after a run if nobody tells them not to.
    """
    script = f"""
        import os, sys, threading, time
        import numpy as np
        import abc_tvm
        sessions = [abc_tvm.load({str(saved)!r}, threads=n) for n in (1, 2)]
        x = np.ones((1, 8, 6, 6), np.float32)

        def run():
            for session in sessions:
                session.run(x)

        run()
        threading.Thread(target=lambda: (run(), time.sleep(1e6)), daemon=True).start()
        for _ in range(3):
            child = os.fork()
            if not child:
                run()
                sys.exit(3)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 3, status
        run()
        began = time.process_time()
        time.sleep(0.5)
        print(time.process_time() - began)

        def go_on():  # Python ends such a thread in the middle, and the process with it
            while True:
                run()

        for _ in range(2):
            threading.Thread(target=go_on, daemon=True).start()
        time.sleep(0.1)
        print(time.time())
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=2 * LIMIT_S, check=False,
    )  # fmt: skip
    now = time.time()
    assert (done.returncode, done.stderr) == (0, "")
    spent, end = map(float, done.stdout.split())
    assert spent < 0.05
    assert now - end < 5  # a tenth of a second where nothing else runs
