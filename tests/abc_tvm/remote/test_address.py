"""What ``--rpc`` and its companions may say."""

from __future__ import annotations

import pytest

from abc_tvm.errors import UserError
from abc_tvm.remote import Address, read_address


def test_servers_and_trackers() -> None:
    assert read_address(None, None, None) is None
    assert read_address("pi.local:9090", None, None) == Address("pi.local", 9090)
    assert str(read_address("[::1]:9090", None, None)) == "[::1]:9090"
    found = read_address(None, "10.0.0.2:9190", "rpi4")
    assert found == Address("10.0.0.2", 9190, "rpi4")
    assert str(found) == "tracker 10.0.0.2:9190, key 'rpi4'"


@pytest.mark.parametrize(
    "text", ["pi", ":9090", "pi:", "pi:0", "pi:65536", "pi:x", "pi:-1", "::1:9090", "a b:1", "[]:1"]
)
def test_no_address(text: str) -> None:
    with pytest.raises(UserError, match=r"--rpc: .*HOST:PORT"):
        read_address(text, None, None)


def test_options_that_do_not_go_together() -> None:
    for options in (
        ("a:1", "b:2", None),
        ("a:1", None, "k"),
        (None, "b:2", None),
        (None, None, "k"),
    ):
        with pytest.raises(UserError, match="--rpc"):
            read_address(*options)
    for wrong in ("", "a b", "a:b"):
        with pytest.raises(UserError, match="--rpc-key"):
            read_address(None, "b:2", wrong)
