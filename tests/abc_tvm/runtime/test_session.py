"""Sessions: what they return, several threads, and files that appear whole or not at all."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm.errors import ArtifactError, InputError, ModelError, TargetError
from tests.abc_tvm.runtime.tasks import new_tasks, tasks
from tests.abc_tvm.small_networks import network


@pytest.fixture(scope="module")
def artifact() -> abc_tvm.Artifact:
    return abc_tvm.compile(network(), lowering="bitserial")


@pytest.fixture
def saved(artifact: abc_tvm.Artifact, tmp_path: Path) -> Path:
    artifact.save(tmp_path / "m.so")
    return tmp_path / "m.so"


def image(batch: int = 1) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((batch, 8, 6, 6)).astype(np.float32)


def test_outputs_are_owned_copies(saved: Path) -> None:
    session = abc_tvm.load(saved, threads=1)
    first = session.run({"input": image()})["output"]
    kept = first.copy()
    session.run({"input": -image()})
    np.testing.assert_array_equal(first, kept)
    assert first.shape == (1, 4, 6, 6)


def test_batches_strides_and_a_single_array(saved: Path) -> None:
    session = abc_tvm.load(saved, threads=1)
    many = session.run(image(5))["output"]
    last = session.run({"input": image(5)[4:]})["output"]
    np.testing.assert_array_equal(many[4:], last)
    turned = np.asfortranarray(image(5))
    np.testing.assert_array_equal(session.run(turned)["output"], many)


def test_graphs_are_of_gpus_only(saved: Path) -> None:
    wanted = abc_tvm.load(saved, cuda_graphs=False).run(image())["output"]
    session = abc_tvm.load(saved, cuda_graphs=True)
    for _ in range(3):
        np.testing.assert_array_equal(session.run(image())["output"], wanted)


def test_thread_counts_of_sessions_in_one_process(saved: Path) -> None:
    one, two = abc_tvm.load(saved, threads=1), abc_tvm.load(saved, threads=2)
    assert (one.threads, two.threads) == (1, 2)
    wanted = one.run(image())["output"]
    for session in (two, one, two):
        np.testing.assert_array_equal(session.run(image())["output"], wanted)
    for count in (0, -1, 10**6):
        with pytest.raises(InputError, match="threads"):
            abc_tvm.load(saved, threads=count)


def test_loading_does_not_pin_the_caller(saved: Path) -> None:
    before = os.sched_getaffinity(0)
    abc_tvm.load(saved, threads=2).run(image())
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("count", [1, 2])
def test_a_session_is_shared_by_python_threads(saved: Path, count: int) -> None:
    """Each has its own images, and gets its own results."""
    session = abc_tvm.load(saved, threads=count)
    images = [image(n) for n in range(1, 9)]
    wanted = [abc_tvm.load(saved, threads=1).run(x)["output"] for x in images]
    right: list[bool] = []

    def work(n: int) -> None:
        for _ in range(20):
            right.append(np.array_equal(session.run(images[n])["output"], wanted[n]))  # noqa: PERF401

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert right == [True] * 160


def test_as_many_threads_as_asked_for_and_no_more(saved: Path) -> None:
    gc.collect()
    before = tasks()
    one = abc_tvm.load(saved, threads=1)
    one.run(image())
    assert new_tasks(before) == 0
    sessions = [abc_tvm.load(saved, threads=2) for _ in range(3)]
    assert new_tasks(before) == 0
    for session in sessions * 2:
        session.run(image())
        one.run(image())
    assert len(tasks() - before) == 2
    del session, sessions
    gc.collect()
    assert new_tasks(before) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_python_threads_leave_none_behind(saved: Path, count: int) -> None:
    session = abc_tvm.load(saved, threads=count)
    wanted = session.run(image())["output"]
    before = tasks()
    found: list[np.ndarray] = []
    for _ in range(5):
        workers = [
            threading.Thread(target=lambda: found.append(session.run(image())["output"]))
            for _ in range(20)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert new_tasks(before) == 0
    assert len(found) == 100
    for output in found:
        np.testing.assert_array_equal(output, wanted)


def test_an_interrupted_save_leaves_the_old_file(
    artifact: abc_tvm.Artifact, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    for error in (KeyboardInterrupt(), OSError(28, "No space left on device")):

        def fail(_: int, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises((KeyboardInterrupt, ArtifactError)):
            artifact.save(saved)
        assert saved.read_bytes() == before
        assert [path.name for path in saved.parent.iterdir()] == ["m.so"]


def test_a_file_that_was_written_anew_is_loaded_anew(saved: Path) -> None:
    """Also where a session still holds what was there before."""
    first = abc_tvm.load(saved, threads=1)
    before = first.run(image())["output"]
    abc_tvm.compile(network(op="Neg"), lowering="bitserial").save(saved)
    second = abc_tvm.load(saved, threads=1).run(image())["output"]
    assert before.min() >= 0 and second.min() < 0 < before.max()
    np.testing.assert_array_equal(first.run(image())["output"], before)


def test_report_and_python_errors(artifact: abc_tvm.Artifact) -> None:
    assert [layer.name for layer in artifact.report] == ["block/conv1", "block/conv2"]
    with pytest.raises(Exception, match="lowering"):
        abc_tvm.compile(network(), lowering="magic")
    with pytest.raises(ModelError, match=r"a path, an onnx\.ModelProto or a torch ExportedProgram"):
        abc_tvm.compile(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_binarized_network_refuses_what_is_not_finite(saved: Path, value: float) -> None:
    session = abc_tvm.load(saved)
    x = image()
    x.flat[3] = value
    with pytest.raises(InputError, match="1 values are NaN or infinite"):
        session.run(x)
    x.flat[3] = 3e38  # large, and the sum of two such overflows, but a number
    x.flat[4] = 3e38
    session.run(x)


def test_tensors_of_other_libraries_come_back_as_such(saved: Path) -> None:
    torch = pytest.importorskip("torch")
    session = abc_tvm.load(saved, threads=1)
    wanted = session.run(image(2))["output"]
    for given in (torch.from_numpy(image(2)), {"input": torch.from_numpy(image(2))}):
        found = session.run(given)["output"]
        assert not isinstance(found, np.ndarray)
        np.testing.assert_array_equal(torch.from_dlpack(found).numpy(), wanted)
    kept = session.run(torch.from_numpy(image(2)))["output"]
    session.run(-image(2))
    np.testing.assert_array_equal(torch.from_dlpack(kept).numpy(), wanted)


def test_a_tensor_is_checked_like_an_array(saved: Path) -> None:
    torch = pytest.importorskip("torch")
    session = abc_tvm.load(saved, threads=1)
    for bad, message in (
        (torch.zeros(1, 8, 6, 7), r"input 'input': shape \[1, 8, 6, 7\]"),
        (torch.zeros(1, 8, 6, 6, dtype=torch.float64), "dtype float64 was given"),
        (torch.full((1, 8, 6, 6), float("nan")), "288 values are NaN"),
        (torch.zeros(1, 8, 6, 6, requires_grad=True), "DLPack does not take it"),
        ([[1.0]], "expected a NumPy array or a tensor with __dlpack__, got list"),
    ):
        with pytest.raises(InputError, match=message):
            session.run({"input": bad})
    turned = torch.from_numpy(np.ascontiguousarray(image(1).transpose(0, 1, 3, 2))).transpose(2, 3)
    found = session.run({"input": turned})["output"]
    np.testing.assert_array_equal(torch.from_dlpack(found).numpy(), session.run(image(1))["output"])


def test_an_artifact_for_a_gpu_says_what_is_missing(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any of its code is loaded."""
    from dataclasses import replace

    from abc_tvm.runtime import session as module
    from abc_tvm.targets import driver

    info = abc_tvm.runtime.read_info(saved)
    gpu = replace(info, target={**info.target, "gpu": {"arch": "sm_90"}})
    monkeypatch.setattr(module, "read_info", lambda _: gpu)
    monkeypatch.setattr(driver, "capability", lambda: (8, 0, 108, "a card"))
    with pytest.raises(TargetError, match=r"m\.so: compiled for sm_90, and a card is sm_80"):
        abc_tvm.load(saved)
    monkeypatch.undo()
    monkeypatch.setattr(module, "read_info", lambda _: gpu)

    def missing(_: str) -> None:
        raise OSError

    monkeypatch.setattr("ctypes.CDLL", missing)
    with pytest.raises(
        TargetError, match=r"compiled for a GPU \(sm_90\): there is no NVIDIA driver"
    ):
        abc_tvm.load(saved)
