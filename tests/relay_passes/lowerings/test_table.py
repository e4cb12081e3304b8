"""The list of lowerings: words without TVM, and operators that are one lowering's each."""

from __future__ import annotations

import subprocess
import sys

import pytest

from abc_tvm.relay_passes.emit.pooling import MAX_POOL
from abc_tvm.relay_passes.lowerings import table
from abc_tvm.relay_passes.lowerings.int8_pool import POOL
from tests.relay_passes.lowerings.toy import TOY, Toy


def test_words_are_known_without_tvm() -> None:
    program = (
        "import sys; from abc_tvm.relay_passes.lowerings import table; "
        "print(*table.names(), 'tvm' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["bitserial", "float", "int8", "False", "False"]


def test_each_word_is_its_lowerings_name() -> None:
    assert [one.name for one in table.lowerings()] == list(table.names())
    for name in table.names():
        assert table.lowering_of(name).name == name
        assert table.lowering_of(name) is table.lowering_of(name)


def test_an_unknown_word_is_no_lowering() -> None:
    with pytest.raises(LookupError, match="there is no lowering 'bytes'"):
        table.lowering_of("bytes")


def test_operators_are_found_under_their_lowering() -> None:
    for one in table.lowerings():
        assert table.of_operator(one.anchor.operator) is one
        assert table.anchors()[one.anchor.operator] is one.anchor
        assert all(table.encodings()[e.operator] is e for e in one.encodings)
        assert all(table.poolings()[p.operator] is p for p in one.poolings)
    assert table.of_operator("nn.max_pool2d") is None is table.of_operator(None)
    assert set(table.anchors()) == {
        *("abc.bitserial_conv2d", "nn.conv2d", "abc.int8_conv2d", "nn.max_pool2d")
    }
    assert set(table.encodings()) == {"abc.encode_bitserial", "abc.encode_int8"}
    assert set(table.poolings()) == {"abc.pool_bitserial", "abc.pool_int8"}
    others = {"abc.pad_bitserial", "abc.pad_int8"}
    others |= {"abc.move", "abc.move_bitserial", "abc.move_int8"}
    assert set(table.between()) == set(table.poolings()) | others


def test_a_registration_ends_with_its_block() -> None:
    before = table.names()
    with table.register(TOY) as registered:
        assert registered.word == "toy" and table.names() == (*before, "toy")
        assert table.lowering_of("toy") is TOY and "abc.encode_toy" in table.encodings()
        with pytest.raises(ValueError, match="there is a lowering 'toy' already"):
            table.register(TOY)
        assert table.names() == (*before, "toy")
    assert table.names() == before and "abc.encode_toy" not in table.encodings()


def test_a_block_that_fails_ends_its_registration() -> None:
    with pytest.raises(ZeroDivisionError), table.register(TOY):
        raise ZeroDivisionError
    assert "toy" not in table.names()


class Thief(Toy):
    """Under its own word, with the operator of another."""

    name = "thief"
    anchor = table.lowering_of("int8").anchor


def test_the_operator_of_another_is_refused() -> None:
    with pytest.raises(ValueError, match=r"abc\.int8_conv2d is another's operator already"):
        table.register(Thief())
    with pytest.raises(ValueError, match="there is a lowering 'float' already"):
        table.register(table.lowering_of("float"))
    assert "thief" not in table.names()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "auto"}, "'auto' is no word for one"),
        ({"name": ""}, "'' is no word for one"),
        ({"name": "two words"}, "'two words' is no word"),
        ({"name": "Wide"}, "'Wide' is no word"),
        ({"kind": "words"}, "its kind 'words' is none of bitserial, float, int8"),
        ({"encodings": ()}, "encodings is empty"),
        ({"poolings": (POOL,)}, r"abc\.pool_int8 is another's operator already"),
        ({"anchor": MAX_POOL}, r"nn\.max_pool2d is another's operator already"),
    ],
)
def test_what_cannot_stand_beside_the_others_is_refused(
    wrong: dict[str, object], message: str
) -> None:
    spoiled = type("Spoiled", (Toy,), {"name": "spoiled", **wrong})()
    with pytest.raises(ValueError, match=message):
        table.register(spoiled)
    assert "spoiled" not in table.names()


def test_what_is_no_lowering_is_refused() -> None:
    with pytest.raises(ValueError, match="object is no lowering"):
        table.register(object())  # type: ignore[arg-type]


def test_an_operator_has_one_type() -> None:
    wrong = type("Wrong", (Toy,), {"name": "wrong", "operators": {"step": print}})()
    with pytest.raises(ValueError, match=r"already|another type"):
        table.register(wrong)
