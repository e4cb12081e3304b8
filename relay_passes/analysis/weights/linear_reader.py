"""Which values of a graph are linear forms of convolutions (see :mod:`.linear_form`).

Of float32 values, in the order of the graph:

1. A convolution of constant weights (NHWC) is a form of one term; on a Concat of channels, of one
   term for each input of it, if these are equally wide.
2. Neg, and Mul or Div by a constant that is one number or one for each output channel, scale the
   form. Div by 0 is none.
3. Add and Sub of such a constant shift its bias.
4. Add and Sub of two forms of one geometry are a form.

Only a value that is read once is taken in by a reader's form: one that is read twice is computed
once, as the graph has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.weights.linear_form import LinearForm, Part, Term, WeightNumbers
from abc_tvm.relay_passes.rewrite import (
    bindings,
    constant,
    definitions,
    dtype_of,
    hint,
    op_name,
    shape_of,
    uses,
)

Forms = Mapping[relax.Var, LinearForm]

_LINEAR = ("nn.conv2d", "add", "subtract", "multiply", "divide", "negative")
_MINUS = np.array(-1.0)


def linear_forms(func: relax.Function) -> dict[relax.Var, LinearForm]:
    """The form of every variable that has one."""
    forms: dict[relax.Var, LinearForm] = {}
    open_forms: dict[relax.Var, LinearForm] = {}
    defined = definitions(func)
    readers = uses(func)
    numbers = WeightNumbers()
    for var, value in bindings(func):
        name = op_name(value)
        if name not in _LINEAR or dtype_of(var) != "float32":
            continue
        if name == "nn.conv2d":
            form = _convolution(var, value, defined, numbers)
        else:
            form = _arithmetic(name, value, open_forms)
        if form is None:
            continue
        taken = tuple(a for a in value.args if isinstance(a, relax.Var) and a in open_forms)
        forms[var] = replace(form, parts=taken)
        if len(readers.get(var, [])) == 1:
            open_forms[var] = forms[var]
    return forms


def ends(func: relax.Function, forms: Forms) -> list[relax.Var]:
    """Variables at which a form of several convolutions has taken in its last one."""
    largest: dict[relax.Var, int] = {}
    sources: dict[relax.Var, list[relax.Var]] = {}
    for var, value in reversed(bindings(func)):
        if var not in forms:
            continue
        largest[var] = max(largest.get(var, 0), forms[var].count)
        for arg in getattr(value, "args", []):
            inner = isinstance(arg, relax.Var) and arg in forms and forms[var].count > 1
            if inner and forms[var].holds(arg):
                sources.setdefault(var, []).append(arg)
                largest[arg] = max(largest.get(arg, 0), largest[var])
    return [
        var
        for var, form in forms.items()
        if form.count > 1
        and form.count == largest[var]
        and all(forms[a].count < form.count for a in sources.get(var, []))
    ]


def _arithmetic(name: str, call: relax.Call, forms: Forms) -> LinearForm | None:
    if name == "negative":  # 2
        (a,) = call.args
        return forms[a].scaled(_MINUS) if a in forms else None
    a, b = call.args
    if a in forms and b in forms:  # 4
        if name == "add":
            return forms[a].plus(forms[b])
        return forms[a].plus(forms[b].scaled(_MINUS)) if name == "subtract" else None
    if b in forms and name in ("add", "multiply"):
        a, b = b, a
    array = constant(b)
    if a not in forms or array is None:
        return None
    form = forms[a]
    values = _per_channel(array, len(form.bias))
    if values is None:
        return None
    if name == "multiply":  # 2
        return form.scaled(values)
    if name == "divide":  # 2
        return form.scaled(1 / values) if np.all(values) else None
    return form.shifted(values if name == "add" else -values)  # 3


def _per_channel(array: np.ndarray, channels: int) -> np.ndarray | None:
    """float64 of one element or one for each channel; ``None`` of any other array."""
    if array.size == 1 or (array.shape[-1] == channels and array.size == channels):
        return array.reshape(-1).astype(np.float64)
    return None


def _convolution(
    var: relax.Var,
    call: relax.Call,
    defined: Mapping[relax.Var, relax.Expr],
    numbers: WeightNumbers,
) -> LinearForm | None:
    weight = constant(call.args[1])
    if weight is None or str(call.attrs.data_layout) != "NHWC":
        return None
    data = call.args[0]
    terms = [term_of(data, weight, numbers)]  # 1
    source: relax.Expr = defined.get(data)
    if op_name(source) == "concat" and int(call.attrs.groups) == 1 and _joins_channels(source):
        fields = source.args[0].fields
        cuts = np.cumsum([int(shape_of(f)[-1]) for f in fields])[:-1]
        slices = np.split(weight, cuts, axis=3)
        if len({s.shape for s in slices}) == 1:
            terms = [term_of(f, s, numbers) for f, s in zip(fields, slices, strict=True)]
    return LinearForm(tuple(terms), np.zeros(len(weight)), call, hint(var), len(terms))


def term_of(data: relax.Var, weight: np.ndarray, numbers: WeightNumbers) -> Term:
    """``Conv(data, weight)``; the scale of weights that are one plane comes out of them."""
    scale = np.ones(len(weight))
    largest = max(weight.max(initial=0), -weight.min(initial=0))
    top = weight == largest
    if largest > 0 and np.all(top | (weight == -largest)):
        scale *= largest
        weight = top.astype(np.int8) * np.int8(2) - np.int8(1)
    return Term(data, (Part(scale, numbers.of(weight), weight),))


def _joins_channels(concat: relax.Call) -> bool:
    axis = concat.attrs.axis
    fields = getattr(concat.args[0], "fields", None)
    return fields is not None and axis is not None and int(axis) in (3, -1)
