"""How contracts are checked, and those that hold of every graph."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.contracts.contract import (
    ContractError,
    check,
    check_signature,
    functions_are_well_formed,
    layers_have_their_own_names,
    nothing_is_dead,
    signature,
    well_formed,
)
from tests.relay_passes.relax_graph import image, module


def relu() -> tvm.IRModule:
    x = image("x", 4)
    return module([x], lambda bind: bind(relax.op.nn.relu(x)))


def three_faults(mod: tvm.IRModule) -> Iterator[str]:
    yield from ("one", "two", "three", "four", "five")


def test_a_broken_contract_is_named_with_its_faults() -> None:
    with pytest.raises(ContractError) as caught:
        check(relu(), (well_formed, three_faults), "after relu")
    assert str(caught.value) == (
        "after relu: three_faults does not hold: one; two; three (and 2 more)"
    )


def test_contracts_that_hold_say_nothing() -> None:
    check(relu(), (well_formed, functions_are_well_formed, nothing_is_dead), "after relu")
    check_signature(relu(), relu(), "after relu")


def other_inputs() -> tvm.IRModule:
    y = image("y", 4)
    return module([y], lambda bind: bind(relax.op.nn.relu(y)))


def other_outputs() -> tvm.IRModule:
    x = image("x", 4)
    return module([x], lambda bind: bind(relax.op.astype(x, "float16")))


def other_attributes() -> tvm.IRModule:
    mod = relu()
    mod.update_func(mod.get_global_var("main"), mod["main"].with_attr("input_names", ["x"]))
    return mod


@pytest.mark.parametrize(
    ("after", "what"),
    [(other_inputs, "inputs"), (other_outputs, "outputs"), (other_attributes, "attributes")],
)
def test_the_signature_of_main_stays(after: object, what: str) -> None:
    with pytest.raises(ContractError, match=f"after relu: the {what} of main were"):
        check_signature(relu(), after(), "after relu")  # type: ignore[operator]
    assert signature(relu()["main"])[0].startswith("x: R.Tensor((1, 5, 5, 4)")


def unbound() -> tvm.IRModule:
    """``main`` reads a variable that nothing binds."""
    x, other = image("x", 4), image("other", 4)
    mod = module([x, other], lambda bind: bind(relax.op.add(x, other)))
    main = mod["main"]
    mod.update_func(
        mod.get_global_var("main"),
        relax.Function(main.params[:1], main.body, main.ret_ty, main.is_pure, main.attrs),
    )
    return mod


def test_malformed_modules_are_told() -> None:
    assert list(well_formed(unbound())) == ["the module is not well formed"]
    assert list(functions_are_well_formed(unbound())) == ["the function main is not well formed"]


def test_dead_bindings_and_functions_are_told() -> None:
    x = image("x", 4)

    def body(bind: object) -> relax.Expr:
        bind(relax.op.nn.relu(x), "dead")  # type: ignore[operator]
        return bind(relax.op.exp(x), "alive")  # type: ignore[operator]

    assert list(nothing_is_dead(module([x], body))) == ["dead = nn.relu is read by nothing"]
    mod = relu()
    mod["private"] = mod["main"].with_attr("global_symbol", "private")
    assert list(nothing_is_dead(mod)) == ["the function private is called by nothing"]


def test_two_bindings_of_one_name_are_told() -> None:
    x = image("x", 4)
    first = relax.DataflowVar("conv", x.ty)
    second = relax.DataflowVar("conv", x.ty)
    out = relax.Var("out", x.ty)
    block = relax.DataflowBlock(
        [
            relax.VarBinding(first, relax.op.nn.relu(x)),
            relax.VarBinding(second, relax.op.exp(first)),
            relax.VarBinding(out, second),
        ]
    )
    main = relax.Function([x], relax.SeqExpr([block], out), x.ty)
    assert list(layers_have_their_own_names(tvm.IRModule({"main": main}))) == [
        "conv is bound twice"
    ]
