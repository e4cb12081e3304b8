"""How many threads may be asked for, and what the first use leaves as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from abc_tvm.errors import InputError, UserError
from abc_tvm.runtime import threads


@pytest.mark.parametrize("count", [0, -1, 100_000, True, 1.5, "2", None])
def test_threads_that_are_not_there(count: object) -> None:
    with pytest.raises(UserError, match=f"threads: {count!r} is not possible here; give 1 to"):
        threads.check_threads(count)  # type: ignore[arg-type]


def test_the_variable_allows_more_than_there_are_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    available = len(os.sched_getaffinity(0))
    monkeypatch.setattr(threads, "_users_text", None)
    monkeypatch.setattr(threads, "_processors", available)
    assert threads.default_threads() == available
    threads.check_threads(available)
    with pytest.raises(InputError, match=f"give 1 to {available} "):
        threads.check_threads(available + 1)
    monkeypatch.setattr(threads, "_users_text", str(available + 7))
    threads.check_threads(available + 7)
    with pytest.raises(InputError, match=f"give 1 to {available + 7} "):
        threads.check_threads(available + 8)
    # Nothing is lost where the variable asks for fewer.
    monkeypatch.setattr(threads, "_users_text", "1")
    assert threads.default_threads() == 1
    threads.check_threads(available)


@pytest.mark.parametrize("text", ["0", "-2", "two", "", "1.5"])
def test_a_variable_that_is_no_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_users_text", text)
    with pytest.raises(InputError, match=f"TVM_NUM_THREADS: '{text}' is no number of threads"):
        threads.check_threads(1)


def test_a_thread_of_the_user_gets_no_workers() -> None:
    """It keeps its processors, also where TVM is told to pin threads, and so do the children's."""
    script = (
        "import os\n"
        "from abc_tvm.runtime.threads import use_threads\n"
        "import tvm\n"
        "before = os.sched_getaffinity(0), len(os.listdir('/proc/self/task'))\n"
        "use_threads(1)\n"
        "assert (os.sched_getaffinity(0), len(os.listdir('/proc/self/task'))) == before\n"
        "print(os.environ.get('TVM_NUM_THREADS'))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TVM_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "TVM_BIND_THREADS": "1", "TVM_USE_RUNTIME_LIB": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr


def test_a_pool_does_not_grow() -> None:
    said: list[str] = []

    def ask() -> None:
        threads.use_threads(1)
        try:
            threads.use_threads(2)
        except InputError as error:
            said.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert said == ["threads: 2 asked for, and this thread has a pool of 1"]
