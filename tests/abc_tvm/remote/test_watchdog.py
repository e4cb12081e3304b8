"""The helper process: it answers, or it is ended in time; it never stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from abc_tvm.remote.watchdog import Answer, Death, Helper, HelperRefusal, Silence

MODULE = "tests.abc_tvm.remote.answering"


def test_answers_and_refusals() -> None:
    with Helper(MODULE) as helper:
        assert helper.ask(("echo", [1, "two"]), 60) == [1, "two"]
        with pytest.raises(HelperRefusal, match="no thanks") as caught:
            helper.ask(("refuse", "no thanks"), 60)
        assert caught.value.kind == "Kind"
        assert helper.ask(("echo", 3), 60) == 3


def test_silence_ends_in_time_with_what_was_said_before() -> None:
    with Helper(MODULE) as helper:
        helper.ask(("echo", 0), 60)
        start = time.monotonic()
        with pytest.raises(Silence, match="it sleeps"):
            helper.ask(("sleep", 60), 0.5)
        assert time.monotonic() - start < 5
        assert helper._process.returncode is not None
        with pytest.raises(Death, match="given up"):
            helper.ask(("echo", 0), 60)


def test_an_answer_is_there_later() -> None:
    with Helper(MODULE) as helper:
        helper.begin(("echo", 5), 60)
        assert _answer(helper).value == 5


def test_each_step_has_its_own_time() -> None:
    with Helper(MODULE) as helper:
        helper.begin(("steps", [40.0, 20.0, None]), 60)
        limits = []
        while helper.answer(helper.left) is None:
            limits.append(helper.left)
        first, second, last = limits
        assert first is not None and 20 < first <= 40
        assert second is not None and second <= 20 and last is None
        helper.begin(("steps", [0.2]), 60)
        with pytest.raises(Silence, match="step 0"):
            _answer(helper)


def test_a_signal_is_named() -> None:
    with Helper(MODULE) as helper:
        helper.begin(("sleep", 60), 60)
        helper._process.kill()
        with pytest.raises(Death, match="SIGKILL"):
            _answer(helper)


def _answer(helper: Helper) -> Answer:
    while (found := helper.answer(helper.left)) is None:
        pass
    return found


def test_a_helper_that_dies() -> None:
    with Helper(MODULE) as helper, pytest.raises(Death, match="last words"):
        helper.ask(("die", "last words"), 60)


def test_no_helper_outlives_its_parent() -> None:
    program = (
        f"from abc_tvm.remote.watchdog import Helper\nhelper = Helper({MODULE!r})\n"
        "helper.ask(('echo', 0), 60)\nprint(helper._process.pid, flush=True)\n"
        "helper.ask(('sleep', 60), 60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        helper = int(parent.stdout.readline())
        parent.kill()
        parent.wait(10)
    for _ in range(100):
        if not _alive(helper):
            return
        time.sleep(0.05)
    pytest.fail(f"process {helper} is still there")


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
        with open(f"/proc/{number}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
