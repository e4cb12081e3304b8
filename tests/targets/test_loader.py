"""A device by its name."""

from __future__ import annotations

import pytest

from abc_tvm.errors import TargetError
from abc_tvm.targets import load, names


def test_an_unknown_name_lists_the_known_ones_and_the_closest() -> None:
    with pytest.raises(TargetError) as caught:
        load("zen-4")
    message = str(caught.value)
    assert "did you mean zen4?" in message
    assert all(name in message for name in (*names(), "native"))
    assert "\n" not in message


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(TargetError, match="'qqqq'") as caught:
        load("qqqq")
    assert "did you mean" not in str(caught.value)
