"""What a network takes: names, shapes and dtypes, each refused in one line that names the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.errors import InputError
from abc_tvm.runtime.container import Port
from abc_tvm.runtime.inputs import Given, in_order, refuse_not_finite

X, COUNT = Port("x", ("N", 3), "float32"), Port("count", ("N",), "int64")


def x(batch: int = 2) -> np.ndarray:
    return np.zeros((batch, 3), np.float32)


def test_in_the_order_of_the_ports() -> None:
    first, second = in_order((X, COUNT), {"count": np.arange(2), "x": x()})
    assert first.array.shape == (2, 3) and second.array.tolist() == [0, 1]
    assert first.on_processor and not first.foreign


def test_one_array_for_one_input() -> None:
    given = x()
    assert in_order((X,), given)[0].array is given
    with pytest.raises(InputError, match="has 2 inputs: give a dict with the keys 'x', 'count'"):
        in_order((X, COUNT), given)


def test_no_inputs_at_all() -> None:
    assert in_order((), {}) == []
    with pytest.raises(InputError, match="needs 'x', and none was given"):
        in_order((X,), {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0], "expected a dict of name to array, got list"),
        ({"y": x()}, "needs 'x', and 'y' was given"),
        ({"x": x(), "y": x()}, "needs 'x', and 'x', 'y' was given"),
        ({"x": 3}, "input 'x': expected a NumPy array or a tensor with __dlpack__, got int"),
        ({"x": x().astype(np.float64)}, r"dtype float64 .* float32 .* \.astype\('float32'\)"),
        ({"x": x()[0]}, r"input 'x': shape \[3\] was given and \[N, 3\] is needed"),
        ({"x": x().T}, r"shape \[3, 2\] was given and \[N, 3\]"),
        ({"x": x(0)}, r"shape \[0, 3\] was given"),
    ],
)
def test_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        in_order((X,), given)
    assert "\n" not in str(caught.value)


def test_an_open_batch_is_one_number_for_all() -> None:
    in_order((X, COUNT), {"x": x(5), "count": np.arange(5)})
    with pytest.raises(InputError, match=r"input 'count': shape \[4\] was given and \[N\]"):
        in_order((X, COUNT), {"x": x(5), "count": np.arange(4)})


def test_a_fixed_extent_of_zero() -> None:
    (given,) = in_order((Port("x", (0, 3), "float32"),), x(0))
    assert given.array.size == 0


def test_what_is_not_finite() -> None:
    array = x()
    refuse_not_finite(X, array)
    refuse_not_finite(COUNT, np.arange(2))
    array[0, 0], array[1, 2] = np.nan, -np.inf
    with pytest.raises(InputError, match="input 'x': 2 values are NaN or infinite"):
        refuse_not_finite(X, array)


class Broken:
    """A tensor whose library does not give it away."""

    def __dlpack__(self, *args: Any, **options: Any) -> Any:
        raise BufferError("it has\ngradients")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def test_a_tensor_of_another_library() -> None:
    with pytest.raises(InputError, match="input 'x': DLPack does not take it: it has gradients"):
        in_order((X,), {"x": Broken()})
    assert not Given(object(), foreign=True).on_processor
