"""Runs that are one CUDA graph, on the emulated GPU: the plain session's values in every run.

What a graph writes is memory of TVM's pool. Were it given to anyone else, results that are kept
here would change, or a launch would touch memory that is gone, which fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi

import abc_tvm
from abc_tvm import zoo
from abc_tvm.runtime import cuda_graph
from abc_tvm.runtime.session import GRAPHS
from tests.cuda_emulation import emulation

pytestmark = [pytest.mark.usefixtures("cuda_emulation"), pytest.mark.slow]

open_batch = pytest.mark.parametrize("artifacts", [None], ids=["open"], indirect=True)


@pytest.fixture(scope="module", params=[2, None], ids=["fixed", "open"])
def artifacts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network: kernels with two results, a mean with workspace; bits and floats."""
    from abc_tvm.deploy.cuda import device_code

    folder = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        emulation.load()
        patch.setattr(device_code, "compile_source", emulation.compile_source)
        model = zoo.build("resnet8", 1, 2, image_size=8)
        compiled = abc_tvm.compile(model, "cuda-sm80", batch=request.param, lowering="bitserial")
        compiled.save(folder / "m.so")
    return folder / "m.so"


@pytest.fixture
def plain(artifacts: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The values without a graph."""
    session = abc_tvm.load(artifacts, cuda_graphs=False)

    def run(x: np.ndarray) -> np.ndarray:
        before = emulation.count("replays")
        (y,) = session.run(x).values()
        assert emulation.count("replays") == before
        return y

    return run


def images(seed: int, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, 3, 8, 8)).astype(np.float32)


def only(outputs: dict[str, Any]) -> Any:
    (value,) = outputs.values()
    return value


def on_device(x: np.ndarray) -> Any:
    return tvm.runtime.tensor(x, tvm.cuda())


@contextmanager
def replays(wanted: int) -> Iterator[None]:
    before = emulation.count("replays")
    yield
    assert emulation.count("replays") - before == wanted


def test_every_run_has_the_plain_values(artifacts: Path, plain: Any) -> None:
    session = abc_tvm.load(artifacts)
    found = []
    with replays(3):
        for seed in range(4):
            launches = emulation.count("launches")
            found.append(only(session.run(images(seed))))
            launched = emulation.count("launches") - launches
            assert launched > 8, "a graph launches what the network does"
    for seed, y in enumerate(found):
        np.testing.assert_array_equal(y, plain(images(seed)))
    assert np.abs(found[1] - found[2]).max() > 0


def test_tensors_on_the_device_are_copied_in_and_out(artifacts: Path, plain: Any) -> None:
    session = abc_tvm.load(artifacts)
    kept = []
    with replays(3):
        for seed in range(4):
            given = on_device(images(seed))
            kept.append(only(session.run(given)))
            given.copyfrom(np.zeros_like(images(0)))  # the caller's own again
    assert all(y.device == tvm.cuda() for y in kept)
    for seed, y in enumerate(kept):
        np.testing.assert_array_equal(y.numpy(), plain(images(seed)))
    # The other kinds of input go through the same graph.
    with replays(2):
        back = only(session.run({"input": tvm.runtime.tensor(images(7))}))
        np.testing.assert_array_equal(only(session.run(images(7))), back.numpy())
    np.testing.assert_array_equal(back.numpy(), plain(images(7)))


def test_nobody_else_gets_a_graphs_memory(artifacts: Path, plain: Any) -> None:
    """Sessions with and without graphs, all of whose results are kept, on one pool."""
    sessions = [abc_tvm.load(artifacts, cuda_graphs=graphs) for graphs in (True, True, False)]
    kept = []
    for seed in range(5):
        for n, session in enumerate(sessions):
            x = images(10 * seed + n)
            kept.append((x, only(session.run(on_device(x)))))
    for x, y in kept:
        np.testing.assert_array_equal(y.numpy(), plain(x))


@open_batch
def test_an_open_batch_has_a_graph_for_each_shape(artifacts: Path, plain: Any) -> None:
    session = abc_tvm.load(artifacts)
    kept = []
    with replays(6):
        for seed in range(3):
            for batch in (1, 3, 2):
                x = images(seed, batch)
                kept.append((x, only(session.run(on_device(x)))))
    for x, y in kept:
        np.testing.assert_array_equal(y.numpy(), plain(x))


@open_batch
def test_the_shape_used_longest_ago_is_dropped(artifacts: Path, plain: Any) -> None:
    session = abc_tvm.load(artifacts)
    before = emulation.count("executables")
    for batch in range(1, GRAPHS + 2):
        for seed in range(2):
            session.run(images(seed, batch))
    assert emulation.count("executables") - before == GRAPHS
    with replays(1):
        session.run(images(5, 2))
    with replays(0):
        np.testing.assert_array_equal(only(session.run(images(5, 1))), plain(images(5, 1)))
    with replays(1):
        np.testing.assert_array_equal(only(session.run(images(6, 1))), plain(images(6, 1)))
    del session
    assert emulation.count("executables") == before


def test_a_graph_outlives_the_thread_that_recorded_it(artifacts: Path, plain: Any) -> None:
    """Workspace is a thread's; and a session is run from several."""
    session = abc_tvm.load(artifacts)

    def in_a_thread(work: Callable[[], Any]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        while Path(f"/proc/self/task/{thread.native_id}").exists():
            time.sleep(1e-3)  # what belongs to the thread goes after Python has joined it

    for seed in range(2):
        in_a_thread(lambda seed=seed: session.run(images(seed)))  # type: ignore[misc]
    with replays(1):
        np.testing.assert_array_equal(only(session.run(images(5))), plain(images(5)))


def test_threads_share_sessions(artifacts: Path, plain: Any) -> None:
    sessions = [abc_tvm.load(artifacts) for _ in range(2)]
    wanted = {seed: plain(images(seed)) for seed in range(4)}
    wrong: list[int] = []

    def work(seed: int) -> None:
        for n in range(6):
            y = only(sessions[n % 2].run(images(seed)))
            if not np.array_equal(y, wanted[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Spoilt:
    """A machine that waits for its own stream in a run, which no recording allows."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.set_instrument = machine.set_instrument
        self.recorded = 0

    def __getitem__(self, name: str) -> Any:
        def run(*inputs: Any) -> Any:
            result = self.machine[name](*inputs)
            stream = tvm_ffi.get_raw_stream(tvm.cuda())
            self.recorded += stream != 0
            tvm.cuda().sync(stream)
            return result

        return run


def test_what_cannot_be_recorded_is_launched_plainly(
    artifacts: Path, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = abc_tvm.load(artifacts)
    spoilt = Spoilt(session.machine)
    monkeypatch.setattr(session._recorder, "_machine", spoilt)
    before = emulation.count("executables")
    with replays(0):
        for seed in range(4):
            np.testing.assert_array_equal(only(session.run(images(seed))), plain(images(seed)))
    assert spoilt.recorded == 1, "one attempt"
    assert emulation.count("executables") == before
    after = abc_tvm.load(artifacts)  # nothing is left of the failure
    with replays(1):
        for seed in range(2):
            np.testing.assert_array_equal(only(after.run(images(seed))), plain(images(seed)))


def graph_of(session: abc_tvm.Session) -> Any:
    return session._staging.of(((2, 3, 8, 8),)).graph


@pytest.mark.parametrize("call", ["cudaStreamBeginCapture", "cudaGraphInstantiate"])
def test_calls_that_cuda_refuses(
    artifacts: Path, plain: Any, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = abc_tvm.load(artifacts)
    assert session._recorder is not None
    monkeypatch.setattr(session._recorder._runtime, call, lambda *_: 2)
    with replays(0):
        for seed in range(3):
            np.testing.assert_array_equal(only(session.run(images(seed))), plain(images(seed)))
            assert graph_of(session) is None


def test_no_thread_to_record_in(artifacts: Path, plain: Any) -> None:
    session = abc_tvm.load(artifacts)
    assert session._recorder is not None
    session._recorder._thread.shutdown()
    with replays(0):
        for seed in range(3):
            np.testing.assert_array_equal(only(session.run(images(seed))), plain(images(seed)))


def test_a_launch_that_cuda_refuses(artifacts: Path, plain: Any) -> None:
    session = abc_tvm.load(artifacts)
    for seed in range(2):
        session.run(images(seed))
    graph = graph_of(session)
    assert emulation.runtime().cudaGraphExecDestroy(graph._executable) == 0
    with replays(0):
        for seed in range(2):
            np.testing.assert_array_equal(only(session.run(images(seed))), plain(images(seed)))
    assert emulation.runtime().cudaGetLastError() == 0, "the caller's own calls find no error"
    assert graph_of(session) is None


def test_large_runs_are_not_recorded(
    artifacts: Path, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graph, "MOST_BYTES", 20_000)
    session = abc_tvm.load(artifacts)
    with replays(0):
        for seed in range(3):
            np.testing.assert_array_equal(only(session.run(images(seed))), plain(images(seed)))


def test_a_stream_of_the_callers_own_gets_plain_launches(artifacts: Path, plain: Any) -> None:
    session = abc_tvm.load(artifacts)
    for seed in range(2):
        session.run(images(seed))
    stream = tvm.cuda().create_raw_stream()
    with replays(0), tvm_ffi.use_raw_stream(tvm.cuda(), stream):
        np.testing.assert_array_equal(only(session.run(images(5))), plain(images(5)))
    with replays(1):
        np.testing.assert_array_equal(only(session.run(images(6))), plain(images(6)))


def test_wrong_inputs_leave_a_graph_as_it_is(artifacts: Path, plain: Any) -> None:
    session = abc_tvm.load(artifacts)
    for seed in range(2):
        session.run(images(seed))
    bad = images(2)
    bad.flat[0] = np.nan
    with replays(0), pytest.raises(abc_tvm.errors.InputError):
        session.run(bad)
    with replays(1):
        np.testing.assert_array_equal(only(session.run(images(3))), plain(images(3)))
