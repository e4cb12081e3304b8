"""What a contract is, and how one is checked.

A contract is a function of a module that says what is wrong with it: nothing where it holds. A pass
lists those that it ``requires`` of the module it is given, and those that it ``ensures`` of the one
it returns. They are checked where :func:`abc_tvm.relay_passes.pipeline.run` is asked to, as tests
do after every pass; a compilation does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import tvm
from tvm import relax

from abc_tvm.relay_passes.rewrite import Binding, bindings, hint, op_name, uses

Contract = Callable[[tvm.IRModule], Iterator[str]]
"""Yields what is wrong, each with the name of the binding or function that is."""

MOST_TOLD = 3
"""Faults that an error names."""


class ContractError(RuntimeError):
    """A pass was given, or has made, a module that it says it is not."""


class Rewrite:
    """A pass that lists its contracts."""

    requires: tuple[Contract, ...] = ()
    ensures: tuple[Contract, ...] = ()

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        """The module that the pass makes of one."""
        raise NotImplementedError


@dataclass(frozen=True)
class Contracts:
    """What one pass requires, and what it ensures."""

    requires: tuple[Contract, ...]
    ensures: tuple[Contract, ...]

    @classmethod
    def of(cls, rewrite: type[Rewrite]) -> Contracts:
        """Those that a pass lists."""
        return cls(rewrite.requires, rewrite.ensures)


def check(mod: tvm.IRModule, contracts: Sequence[Contract], when: str) -> None:
    """Check a module; ``when`` begins the message, as in ``"before encode"``.

    Raises:
        ContractError: It breaks one.
    """
    for contract in contracts:
        faults = list(contract(mod))
        if faults:
            more = f" (and {len(faults) - MOST_TOLD} more)" if len(faults) > MOST_TOLD else ""
            told = "; ".join(faults[:MOST_TOLD])
            raise ContractError(f"{when}: {contract.__name__} does not hold: {told}{more}")


def check_signature(before: tvm.IRModule, after: tvm.IRModule, when: str) -> None:
    """Check that a pass left the inputs and outputs of ``main`` as they were.

    Raises:
        ContractError: It did not.
    """
    old, new = before["main"], after["main"]
    for what, one, two in zip(SIGNATURE, signature(old), signature(new), strict=True):
        if one != two:
            raise ContractError(f"{when}: the {what} of main were {one}, and are {two}")


SIGNATURE = ("inputs", "outputs", "attributes")


def signature(func: relax.Function) -> tuple[str, str, str]:
    """Inputs, outputs and attributes of a function, to be compared and read."""
    inputs = ", ".join(f"{hint(param)}: {param.ty}" for param in func.params)
    attributes = [] if func.attrs is None else sorted(func.attrs.items())
    return inputs, str(func.ret_ty), ", ".join(f"{name} = {value}" for name, value in attributes)


def functions(mod: tvm.IRModule) -> dict[str, relax.Function]:
    """The Relax functions of a module, by name."""
    return {
        str(gvar.name_hint): function
        for gvar, function in mod.functions_items()
        if isinstance(function, relax.Function)
    }


def all_calls(mod: tvm.IRModule, *names: str) -> Iterator[Binding]:
    """Bindings of the operators of these names, in every Relax function."""
    for function in functions(mod).values():
        for var, value in bindings(function):
            if op_name(value) in names:
                yield var, value


def well_formed(mod: tvm.IRModule) -> Iterator[str]:
    """TVM's own check of Relax: every variable is bound once before it is read, types fit."""
    if not relax.analysis.check_well_formed(mod):
        yield "the module is not well formed"


def functions_are_well_formed(mod: tvm.IRModule) -> Iterator[str]:
    """Each Relax function is well formed; functions of groups share an open batch with ``main``,
    which TVM does not take for a module."""
    for name, function in functions(mod).items():
        if not relax.analysis.check_well_formed(function):
            yield f"the function {name} is not well formed"


def nothing_is_dead(mod: tvm.IRModule) -> Iterator[str]:
    """Every binding of ``main`` is read, and every private Relax function is called."""
    main = mod["main"]
    readers = uses(main)
    for var, value in bindings(main):
        if var not in readers:
            yield f"{hint(var)} = {op_name(value)} is read by nothing"
    called = {
        str(value.op.name_hint)
        for function in functions(mod).values()
        for _, value in bindings(function)
        if isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.GlobalVar)
    }
    for name in functions(mod):
        if name != "main" and name not in called:
            yield f"the function {name} is called by nothing"


def layers_have_their_own_names(mod: tvm.IRModule) -> Iterator[str]:
    """No two bindings of ``main`` have one name: layers are known by theirs."""
    met: set[str] = set()
    for var, _ in bindings(mod["main"]):
        if hint(var) in met:
            yield f"{hint(var)} is bound twice"
        met.add(hint(var))
