"""Messages are one printable line of a bounded length, whatever names they hold."""

from __future__ import annotations

import inspect

import pytest

from abc_tvm import errors
from abc_tvm.errors import LONGEST, UserError, one_line, printable


def test_messages_are_one_printable_line() -> None:
    error = UserError("m.onnx: node 'a\x1b[31m\n\u202eb\udc80'")
    assert str(error) == "m.onnx: node 'a\\x1b[31m \\u202eb\\udc80'"
    long = one_line("start " + "x" * 10**6 + " end: do this")
    assert long.startswith("start xx") and long.endswith("end: do this")
    assert len(long) <= LONGEST + 3


@pytest.mark.parametrize("text", ["", "a é β 漢 …", "a\tb", "\x1b[2J", "\u2028", "\ud800"])
def test_what_is_printed_is_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert printable(text) is text


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1])
def test_the_longest_message(length: int) -> None:
    line = one_line("x" * length)
    assert (line == "x" * length) == (length <= LONGEST)
    assert len(line) <= LONGEST + 3


def test_every_error_is_a_users() -> None:
    kinds = [k for _, k in inspect.getmembers(errors, inspect.isclass)]
    assert len(kinds) > 8 and all(issubclass(kind, UserError) for kind in kinds)
    assert not issubclass(errors.TargetError, errors.ModelError)
    assert issubclass(errors.CompilerFault, errors.UnsupportedError)
