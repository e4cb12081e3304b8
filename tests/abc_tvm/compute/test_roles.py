from __future__ import annotations

from typing import get_args

from abc_tvm.compute import roles


def test_every_role_is_explained_once() -> None:
    lines = [line.split() for line in (roles.__doc__ or "").splitlines() if line.startswith("    ")]
    assert sorted(words[0] for words in lines if words) == sorted(get_args(roles.Role))


def test_a_role_stands_beside_what_else_is_to_be_known() -> None:
    assert roles.notes("sums", {"abc_dot": 1}) == {"abc_role": "sums", "abc_dot": 1}
    assert roles.notes("border") == {"abc_role": "border"}
