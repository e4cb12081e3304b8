from __future__ import annotations

import numpy as np
import pytest
import tvm

from abc_tvm.runtime.container import Port
from abc_tvm.runtime.staging import Staging

PORTS = (Port("image", ("N", 3), "float32"), Port("count", (1,), "int64"))


def shapes(batch: int) -> tuple[tuple[int, ...], ...]:
    return (batch, 3), (1,)


@pytest.mark.parametrize("most", [1, 2])
def test_those_used_last_are_kept(most: int) -> None:
    staging = Staging(PORTS, tvm.cpu(), most)
    one, two = staging.of(shapes(1)), staging.of(shapes(2))
    assert staging.of(shapes(2)) is two
    assert (staging.of(shapes(1)) is one) == (most == 2)
    staging.of(shapes(3))
    assert staging.of(shapes(2)) is not two, "the one used longest ago"


def test_the_processor_reads_what_numpy_writes() -> None:
    staged = Staging(PORTS, tvm.cpu(), 1).of(shapes(2))
    assert [array.shape for array in staged.arrays] == [(2, 3), (1,)]
    assert [array.dtype.name for array in staged.arrays] == ["float32", "int64"]
    staged.arrays[0][:] = 7
    np.testing.assert_array_equal(staged.tensors[0].numpy(), np.full((2, 3), 7, np.float32))
