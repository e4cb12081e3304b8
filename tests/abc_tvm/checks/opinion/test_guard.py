"""The pass ``encode`` is asked about where that is wanted, and runs again without what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from abc_tvm import targets
from abc_tvm.checks.opinion import guard
from abc_tvm.checks.opinion.guard import ENCODE, STRICT, guarded
from abc_tvm.checks.opinion.opinion import Opinion
from abc_tvm.errors import SecondOpinionError
from abc_tvm.relay_passes.context import Context

START: Any = ("imported",)
SIMPLE: Any = object()


def order() -> list[tuple[str, Any]]:
    """Passes that write down what ran."""
    return [(name, lambda mod, name=name: (*mod, name)) for name in ("first", ENCODE, "last")]


@pytest.fixture
def context() -> Context:
    return Context(targets.load("zen4"), "auto", check=True)


def asked(
    monkeypatch: pytest.MonkeyPatch, context: Context, *opinions: Opinion, strict: bool = False
) -> Any:
    """The encoded module where the second opinion says this, one after the other."""
    monkeypatch.setenv(STRICT, "error" if strict else "")
    said = list(opinions)
    monkeypatch.setattr(guard, "second_opinion", lambda *_: said.pop(0))
    passes = dict(guarded(order(), SIMPLE, START, context))
    found = passes[ENCODE](("imported", "first"))
    assert not said, "asked as often as it answers"
    return found


def test_where_nobody_asks(context: Context) -> None:
    made = order()
    context.check = False
    assert guarded(made, SIMPLE, START, context) is made
    context.check = True
    assert guarded(made[:1], SIMPLE, START, context) == made[:1]
    names = [name for name, _ in guarded(made, SIMPLE, START, context)]
    assert names == ["first", ENCODE, "last"]


def test_agreed(monkeypatch: pytest.MonkeyPatch, context: Context) -> None:
    found = asked(monkeypatch, context, Opinion(("a",), {"b": "why"}))
    assert found == ("imported", "first", ENCODE)
    assert context.opinion == Opinion(("a",), {"b": "why"})
    assert context.refused == {}


def test_the_passes_run_again(monkeypatch: pytest.MonkeyPatch, context: Context) -> None:
    wrong = Opinion(wrong={"sum+1": "planes"})
    found = asked(monkeypatch, context, wrong, Opinion(("a",)))
    assert found == ("imported", "first", ENCODE), "from the imported module"
    assert context.opinion == Opinion(("a",), wrong={"sum+1": "planes"})
    assert set(context.refused) == {"sum", "sum+1"}
    assert context.refused["sum"] == (
        "the second opinion disagrees: planes; please report this network"
    )


def test_until_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch, context: Context) -> None:
    said = [Opinion(wrong={name: "x"}) for name in "abc"]
    asked(monkeypatch, context, *said, Opinion())
    assert context.opinion is not None and set(context.opinion.wrong) == set("abc")


def test_an_error_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    wrong = Opinion(wrong={"a": "planes", "b": "codes"})
    with pytest.raises(SecondOpinionError) as caught:
        asked(monkeypatch, context, wrong, strict=True)
    assert str(caught.value) == (
        "the second opinion disagrees about layer 'a' (and 1 more layers): planes"
    )


def test_a_layer_that_does_not_stay_in_float(
    monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    wrong = Opinion(wrong={"a": "planes"})
    with pytest.raises(SecondOpinionError, match="about layer 'a': planes"):
        asked(monkeypatch, context, wrong, wrong)
