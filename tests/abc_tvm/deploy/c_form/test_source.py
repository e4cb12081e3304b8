from __future__ import annotations

import pytest

from abc_tvm.deploy.c_form.source import c_type, identifier
from abc_tvm.errors import UnsupportedError, UserError
from abc_tvm.runtime.container import Port


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("lenet", "lenet"),
        ("my net-2.onnx", "my_net_2_onnx"),
        ("3layers", "_3layers"),
        ("int", "_int"),
        ("naïve", "na_ve"),
        ("__x__", "x"),
    ],
)
def test_identifier(text: str, name: str) -> None:
    assert identifier(text) == name


@pytest.mark.parametrize("text", ["", "...", "网络"])
def test_a_text_without_letters_makes_no_name(text: str) -> None:
    with pytest.raises(UserError, match="makes no name in C"):
        identifier(text)


def test_types() -> None:
    assert c_type(Port("x", (1,), "float32")) == "float"
    assert c_type(Port("x", (1,), "bool")) == "uint8_t"
    with pytest.raises(UnsupportedError, match="'x': float16 has no type in C"):
        c_type(Port("x", (1,), "float16"))
