"""Collapse convolutions that the graph spells out base by base.

By linearity ``sum_n beta_n sum_m alpha_m Conv(A_n, B_m)`` is one convolution with weights
``sum_m alpha_m B_m`` on the input ``sum_n beta_n A_n``. Mul, Div, Neg, Add, Sub and the bias around
convolutions of one geometry are read as a linear form (:mod:`.linear_reader`), and where it has
fewer convolutions than the graph, the value becomes:

1. One convolution for all bases of one input: their weights are added up.
2. One convolution for all inputs whose weights are in one proportion: the inputs are added up,
   with coefficients that are small integers where the proportions allow it.
3. A convolution for each group of inputs of other proportions, all added up.
4. The sum of all biases, behind it, where it is not 0.

The joint convolution has the layer's name, and further ones (3) the name and a number; what it was
made of gives its own up.

Refuses (leaves as it is): different geometry, factors that are not constant per output channel,
values read twice, sums whose joint weights take too many values to be planes, factors so large or
small that their products are no floats (see :mod:`.rounding`), layers of the names ``refused``.

Example: ``0.5 * conv2d(a, B1) + 0.25 * conv2d(a, B2)`` becomes ``conv2d(a, 0.5 * B1 + 0.25 * B2)``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.rounding import in_range
from abc_tvm.relay_passes.analysis.steps.chains import chain_behind
from abc_tvm.relay_passes.analysis.weights.joint_weights import Joint, Members, joint_of
from abc_tvm.relay_passes.analysis.weights.linear_form import LinearForm
from abc_tvm.relay_passes.analysis.weights.linear_reader import Forms, ends, linear_forms
from abc_tvm.relay_passes.ops import conv_window
from abc_tvm.relay_passes.rewrite import (
    bindings,
    const,
    constant,
    definitions,
    emit,
    hint,
    op_name,
    rebuild,
    uses,
)

Definitions = Mapping[relax.Var, relax.Expr]
_ARITHMETIC = ("add", "subtract", "multiply", "divide", "where")


class CollapseBases:
    """One convolution for those of a layer that are spelled out; ``refused`` layers stay apart."""

    def __init__(self, refused: Collection[str] = ()) -> None:
        self.refused = refused

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        func = mod["main"]
        forms = linear_forms(func)
        joints = self.joints(func, forms)
        if not joints:
            return mod
        inside = _inside(func, forms, joints)
        new: dict[relax.Var, relax.Expr] = {param: param for param in func.params}

        def visit(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            if var in joints:
                value = _emit(builder, forms[var], joints[var], new)
            if var in inside:
                new[var] = builder.emit(value, "part")
            else:
                new[var] = emit(builder, value, hint(var))
            return new[var]

        return rebuild(mod, visit)

    def joints(self, func: relax.Function, forms: Forms) -> dict[relax.Var, Joint]:
        """What is collapsed: each value with the convolutions that it becomes."""
        defined = definitions(func)
        joints: dict[relax.Var, Joint] = {}
        for var in ends(func, forms):
            form = forms[var]
            joint = None if form.name in self.refused else joint_of(form)
            if joint is not None and all(_may_be_summed(t.data, defined) for t in form.terms):
                joints[var] = joint
        return joints


def _may_be_summed(data: relax.Var, defined: dict[relax.Var, relax.Expr]) -> bool:
    """Whether the constants of the chain behind an input are small enough for sums of inputs."""
    chain, _ = chain_behind(defined, data)
    arithmetic = [call for _, call in chain if op_name(call) in _ARITHMETIC]
    arrays = [constant(arg) for call in arithmetic for arg in call.args]
    return all(array is None or array.dtype == bool or in_range(array) for array in arrays)


def _inside(
    func: relax.Function, forms: Forms, joints: Mapping[relax.Var, Joint]
) -> set[relax.Var]:
    """The convolutions that end up in a joint one."""
    readers = uses(func)

    def ends_up(var: relax.Var) -> bool:
        while var not in joints:
            following = [reader for reader, _ in readers.get(var, []) if reader in forms]
            if len(following) != 1:
                return False
            var = following[0]
        return True

    convolutions = [v for v, value in bindings(func) if op_name(value) == "nn.conv2d"]
    return {v for v in convolutions if v in forms and v not in joints and ends_up(v)}


def _emit(
    builder: relax.BlockBuilder, form: LinearForm, joint: Joint, new: Definitions
) -> relax.Expr:
    """The value of ``form`` by the convolutions ``joint``; ``new`` says where its data are now."""
    window = conv_window(form.call)
    total = None
    for number, (weight, members) in enumerate(joint.groups):  # 3
        conv = relax.op.nn.conv2d(
            _summed(builder, members, new),
            const(weight.astype(np.float32)),  # 1
            strides=window.stride,
            padding=window.padding,
            dilation=window.dilation,
            groups=window.groups,
            data_layout="NHWC",
            kernel_layout="OHWI",
        )
        if number == 0:
            conv = emit(builder, conv, form.name)
        else:
            conv = builder.emit(conv, f"{form.name}+{number}")
        total = conv if total is None else builder.emit(relax.op.add(total, conv))
    if np.any(form.bias):  # 4
        bias = form.bias.astype(np.float32).reshape(1, 1, 1, -1)
        total = builder.emit(relax.op.add(total, const(bias)))
    return total


def _summed(builder: relax.BlockBuilder, members: Members, new: Definitions) -> relax.Expr:
    """2: the sum of the inputs, each times its coefficient."""
    data = None
    for coefficient, old in members:
        part = new[old]
        if coefficient != 1.0:
            factor = const(np.array(coefficient, np.float32))
            part = builder.emit(relax.op.multiply(part, factor))
        data = part if data is None else builder.emit(relax.op.add(data, part))
    return data
