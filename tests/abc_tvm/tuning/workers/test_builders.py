"""Processes that build side by side: started when needed, replaced when they die, all ended."""

from __future__ import annotations

from typing import Any

import pytest

from abc_tvm.errors import DeviceError, RecordsError
from abc_tvm.remote.watchdog import Answer, Death, HelperRefusal, Silence
from abc_tvm.tuning.workers import builders as module
from abc_tvm.tuning.workers.builders import Builders, Order


class Child:
    """A helper process that answers what the test says."""

    made: list[Child] = []  # noqa: RUF012

    def __init__(self, worker: str) -> None:
        self.pipe = object()
        self.left: float | None = 7.0
        self.asked: list[tuple[Any, ...]] = []
        self.answers: list[Any] = []
        self.closed = False
        Child.made.append(self)

    def begin(self, request: tuple[Any, ...], seconds: float) -> None:
        if self.closed:
            raise Death("gone")
        self.asked.append(request)

    def answer(self) -> Answer | None:
        value = self.answers.pop(0) if self.answers else None
        if isinstance(value, Exception):
            raise value
        return None if value is None else Answer(value[0])

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    monkeypatch.setattr(Child, "made", [])
    monkeypatch.setattr(module, "Helper", Child)
    return Child.made


def builders(count: int = 2) -> Builders:
    work: Any = object()
    return Builders(work, count)


A, B, C = (Order(name, (None,)) for name in "abc")


def ready(made: Builders, *children: Child) -> None:
    for child in children:
        child.answers.append([None])
    assert made.collect() == []


def test_no_more_processes_than_are_needed(children: list[Child]) -> None:
    made = builders()
    assert made.pipes == [] and made.left is None
    for order in (A, B, C):
        made.order(order)
    assert len(children) == 2
    assert [child.asked[0][0] for child in children] == ["ready", "ready"]
    ready(made, *children)
    assert [child.asked[-1] for child in children] == [
        ("package", "a", [None]), ("package", "b", [None]),
    ]  # fmt: skip
    assert len(made.pipes) == 2 and made.left == 7.0


def test_what_was_built_and_the_next_order(children: list[Child]) -> None:
    made = builders(1)
    made.order(A)
    made.order(B)
    (child,) = children
    ready(made, child)
    child.answers.append([["package"]])
    assert made.collect() == [(A, ["package"])]
    assert child.asked[-1] == ("package", "b", [None])
    child.answers.append(HelperRefusal("", "does not build"))
    assert made.collect() == [(B, "does not build")]
    assert made.pipes == [], "nothing is under way"


@pytest.mark.parametrize(
    ("error", "words"), [(Death("SIGSEGV"), "SIGSEGV"), (Silence(), "too long")]
)
def test_a_candidate_that_ends_its_process(
    error: Exception, words: str, children: list[Child]
) -> None:
    made = builders(1)
    made.order(A)
    made.order(B)
    ready(made, children[0])
    children[0].answers.append(error)
    ((order, text),) = made.collect()
    assert order == A and isinstance(text, str)
    assert text.startswith("ended the process that builds it (") and words in text
    assert children[0].closed and len(children) == 2, "another for what is left"
    ready(made, children[1])
    assert children[1].asked[-1] == ("package", "b", [None])


def test_a_process_that_was_ended_while_idle_is_replaced(children: list[Child]) -> None:
    made = builders(1)
    made.order(A)
    ready(made, children[0])
    children[0].answers.append([["package"]])
    made.collect()
    children[0].closed = True
    made.order(B)
    assert len(children) == 2
    ready(made, children[1])
    assert children[1].asked[-1] == ("package", "b", [None])


def test_what_no_candidate_survives_is_raised(children: list[Child]) -> None:
    made = builders(1)
    made.order(A)
    ready(made, children[0])
    children[0].answers.append(HelperRefusal("RecordsError", "disk: full"))
    with pytest.raises(RecordsError, match="disk: full"):
        made.collect()


def test_a_process_that_does_not_start(children: list[Child]) -> None:
    made = builders(1)
    made.order(A)
    children[0].answers.append(Death("no module"))
    with pytest.raises(DeviceError, match=r"that builds does not start \(no module\); everything"):
        made.collect()


def test_all_are_ended(children: list[Child]) -> None:
    made = builders()
    made.order(A)
    made.order(B)
    made.close()
    assert all(child.closed for child in children) and made.pipes == []
