"""A node that the importer fails on is named, with what it reads and what to do."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend import import_onnx
from abc_tvm.frontend.refusals.import_faults import failed_node, why_not
from tests.abc_tvm.frontend.one_node import hardmax, model_of


def test_failure_inside_the_importer_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    model = model_of("Pad", ["N", 3, 4, 4], out=["N", "a", "b", "c"])
    model.graph.input.append(helper.make_tensor_value_info("pads", TensorProto.INT64, [8]))
    model.graph.node[0].input.append("pads")
    with pytest.raises(UnsupportedError, match="Pad") as caught:
        import_onnx(model)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""


def test_what_the_importer_does_not_take_is_told_in_words() -> None:
    """Not: TypeError: Mismatched type on argument #3 when calling: `relax.op.one_hot(…`."""
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(hardmax())
    assert str(caught.value) == (
        "model: node 'node': operator Hardmax on float[N, 3] with axis=0 is not supported; compile "
        "with a fixed batch (--batch), or replace it by other operators"
    )
    assert caught.value.__cause__ is not None
    import_onnx(hardmax(), batch=4)


def failure(model: object, error: Exception) -> Exception:
    """As the importer fails: its frame has the node."""

    def convert(node: object) -> None:
        raise error

    try:
        convert(model.graph.node[0])  # type: ignore[attr-defined]
    except type(error) as caught:
        return caught
    raise AssertionError


def test_the_node_that_it_was_at() -> None:
    model = model_of("Relu", [2, 3])
    error = failure(model, ValueError("no"))
    assert failed_node(error, model) == model.graph.node[0]
    assert failed_node(ValueError(), model) is None
    assert failed_node(error, model_of("Abs", [2, 3])) is None, "a node of another model"
    assert why_not(ValueError(), model).startswith("its graph is in a form that is not supported")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("Relu of rank 2 is not there."), " (Relu of rank 2 is not there)"),
        (ValueError("rank 2 is not there"), ""),
        (ValueError("Relu: <class 'int'>"), ""),
        (KeyError("Relu of rank 2"), ""),
    ],
)
def test_a_reason_is_passed_on_where_it_says_something(error: Exception, shown: str) -> None:
    model = model_of("Relu", [2, 3])
    assert why_not(failure(model, error), model) == (
        f"node 'node': operator Relu on float[2, 3] is not supported{shown}; replace it by other "
        "operators, or give it other shapes, and export again"
    )


def test_advice_for_integers_that_a_run_computes() -> None:
    model = model_of("Tile", [2, 3])
    model.graph.input.append(helper.make_tensor_value_info("n", TensorProto.INT64, [2]))
    model.graph.node[0].input.append("n")
    text = why_not(failure(model, ValueError()), model)
    assert text.endswith("not supported; store 'n' as a constant and export again")
