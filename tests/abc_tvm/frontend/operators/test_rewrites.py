"""The table of all rewrites."""

from __future__ import annotations

import pytest

from abc_tvm.frontend.operators import REWRITES, one_table
from abc_tvm.frontend.operators.images import padding, pooling


def test_no_operator_is_rewritten_by_two_families() -> None:
    with pytest.raises(ValueError, match="two families of operators rewrite Pad"):
        one_table([padding.REWRITES, pooling.REWRITES, {"Pad": pooling.max_pool}])


def test_the_table_has_every_operator_of_a_family() -> None:
    assert one_table([padding.REWRITES]) == padding.REWRITES
    assert {**padding.REWRITES, **pooling.REWRITES}.items() <= REWRITES.items()
