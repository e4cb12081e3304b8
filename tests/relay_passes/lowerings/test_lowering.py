"""What every lowering says of itself, and what it need not say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from abc_tvm.measure.peaks import KINDS
from abc_tvm.relay_passes.lowerings.lowering import Lowering
from abc_tvm.relay_passes.lowerings.table import lowerings
from abc_tvm.relay_passes.ops import conv_window
from abc_tvm.relay_passes.rewrite import op_name
from abc_tvm.schedules.problem import SUMS
from tests.relay_passes.lowerings.toy import TOY
from tests.relay_passes.relax_graph import binary, image, signs

CALL = binary(image("x", 4), signs(2, 6, 3, 3, 4), np.ones((2, 6)), strides=[2, 1])
MUST_SAY = {"offer", "outcome", "encode", "codec"}


def test_four_things_must_be_said() -> None:
    assert Lowering.__abstractmethods__ == MUST_SAY
    for missing in MUST_SAY:
        said = {name: getattr(TOY, name) for name in MUST_SAY - {missing}}
        with pytest.raises(TypeError, match=missing):
            type("Part", (Lowering,), said)()


def test_words_of_reports_and_plots_are_each_lowerings_own() -> None:
    every = [*lowerings(), TOY]
    for one in every:
        assert re.fullmatch(r"[a-z0-9]+", one.name) and re.fullmatch(r"#[0-9a-f]{6}", one.colour)
        assert one.kind in SUMS and one.peak in KINDS and one.arithmetic
    for words in ("name", "title", "colour"):
        assert len({getattr(one, words) for one in every}) == len(every)


def test_a_layer_stays_as_it_is_until_encode_but_in_float() -> None:
    for one in (*lowerings(), TOY):
        taken = one.taken(CALL)
        if one.name == "float":
            assert op_name(taken) == "nn.conv2d" and conv_window(taken) == conv_window(CALL)
        else:
            assert taken is CALL


def test_a_kernel_makes_one_product_but_on_bits() -> None:
    assert {one.name for one in lowerings() if type(one).pairs is not Lowering.pairs} == {
        "bitserial"
    }
    assert TOY.pairs(CALL) == 1
