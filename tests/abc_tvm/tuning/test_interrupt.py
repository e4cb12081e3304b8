"""Ctrl-C waits for the end of a measurement, and is not lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from abc_tvm.tuning.interrupt import ctrl_c_waits


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_waits() -> None:
    done = []

    def body() -> None:
        with ctrl_c_waits():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("the body")

    with pytest.raises(KeyboardInterrupt):
        body()
    assert done == ["the body"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_body_goes_first() -> None:
    def body() -> None:
        with ctrl_c_waits():
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        body()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_happens_without_it() -> None:
    with ctrl_c_waits():
        pass
