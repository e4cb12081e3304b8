"""Collapse convolutions that the graph spells out base by base.

By linearity ``sum_n beta_n sum_m alpha_m Conv(A_n, B_m)`` is one convolution with weights
``sum_m alpha_m B_m`` on the input ``sum_n beta_n A_n``. The pass reads Mul, Div, Neg, Add, Sub and
the bias around convolutions of one geometry as a linear form and, where it joins at least two of
them into weights of few values, emits that one convolution.

Refuses (leaves as it is): different geometry, factors that are not constant per output channel,
sums whose joint weights take too many values to be planes, and factors so large or small that
their products are no floats (see :mod:`.rounding`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis import weight_planes
from abc_tvm.relay_passes.analysis.chains import chain_behind
from abc_tvm.relay_passes.analysis.rounding import NORMAL, in_range, is_same
from abc_tvm.relay_passes.ops import conv_window
from abc_tvm.relay_passes.rewrite import (
    bindings,
    const,
    constant,
    dtype_of,
    emit,
    hint,
    op_name,
    rebuild,
    shape_of,
    uses,
)

_ARITHMETIC = ("add", "subtract", "multiply", "divide", "where")

MOST_RATIO = 2.0**24
"""Inputs are added up in proportions of at most this: beside more, one of them is rounding."""


@dataclass(frozen=True)
class Part:
    """``scale [OC]`` (float64) times a weight of the graph, OHWI.

    Weights are equal exactly where ``key`` is; see :class:`_Weights`.
    """

    scale: np.ndarray
    key: int
    weight: np.ndarray


class _Weights:
    """Numbers for weights: the same for two only if they are the same, value by value."""

    def __init__(self) -> None:
        self.alike: dict[int, list[tuple[int, np.ndarray]]] = {}
        self.count = 0

    def number(self, weight: np.ndarray) -> int:
        # A sum over a few places finds candidates; the comparison decides.
        digest = hash((weight.shape, str(weight.dtype), weight.ravel()[:64].tobytes()))
        found = self.alike.setdefault(digest, [])
        for number, other in found:
            if np.array_equal(weight, other):
                return number
        self.count += 1
        found.append((self.count, weight))
        return self.count


@dataclass(frozen=True)
class Term:
    """``Conv(data, sum of parts)``."""

    data: Any
    parts: tuple[Part, ...]

    def scaled(self, factor: np.ndarray) -> Term:
        return Term(self.data, tuple(replace(p, scale=p.scale * factor) for p in self.parts))

    def plus(self, other: Term) -> Term:
        return Term(self.data, self.parts + other.parts)

    def weight(self) -> np.ndarray:
        """The sum, float64."""
        total = np.zeros(self.parts[0].weight.shape)
        for scale, weight in self.joined().values():
            total += scale[:, None, None, None] * weight
        return total

    def joined(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Scales of equal weights added up, by key."""
        sums: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for part in self.parts:
            before = sums.get(part.key, (np.zeros(()), part.weight))[0]
            sums[part.key] = (before + part.scale, part.weight)
        return sums


@dataclass(frozen=True)
class Form:
    """``sum of terms + bias``: all terms of one geometry."""

    terms: tuple[Term, ...]
    bias: np.ndarray
    call: Any
    name: str
    count: int = 1
    parts: tuple[Any, ...] = ()

    def holds(self, var: Any) -> bool:
        """Whether the form takes in the form of ``var``."""
        return any(var.same_as(p) for p in self.parts)

    def scaled(self, factor: np.ndarray) -> Form:
        f = np.broadcast_to(factor.reshape(-1), self.bias.shape).astype(np.float64)
        with np.errstate(all="ignore"):  # what is no float64 is never in range
            terms = tuple(t.scaled(f) for t in self.terms)
            return replace(self, terms=terms, bias=self.bias * f)

    def plus(self, other: Form) -> Form | None:
        if not _same_geometry(self.call, other.call):
            return None
        terms = list(self.terms)
        for term in other.terms:
            for i, mine in enumerate(terms):
                if mine.data.same_as(term.data):
                    terms[i] = mine.plus(term)
                    break
            else:
                terms.append(term)
        bias = self.bias + other.bias
        count = self.count + other.count
        return replace(self, terms=tuple(terms), bias=bias, count=count)


class CollapseBases:
    """See the module's text. Layers of ``refused`` names stay apart."""

    def __init__(self, refused: Collection[str] = ()) -> None:
        self.refused = refused

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        func = mod["main"]
        forms = _forms(func)
        readers = uses(func)
        defined = dict(bindings(func))
        found = {var: _joint(forms[var], defined) for var in _ends(func, forms)}
        joined = {
            var: joint
            for var, joint in found.items()
            if joint is not None and forms[var].name not in self.refused
        }
        self.modified = bool(joined)
        if not joined:
            return mod
        inside = {v for v, x in bindings(func) if _inside(v, x, readers, forms, joined)}
        env: dict[Any, Any] = {param: param for param in func.params}

        def visit(builder: relax.BlockBuilder, var: Any, value: Any) -> Any:
            name = hint(var)
            if var in joined:
                value = _emit(builder, forms[var], joined[var], env)
            if var in inside and var not in joined:  # the joint convolution has the layer's name
                env[var] = builder.emit(value, "part")
            else:
                env[var] = emit(builder, value, name)
            return env[var]

        return rebuild(mod, visit)


def _inside(
    var: Any, value: Any, readers: dict[Any, Any], forms: dict[Any, Form], joined: dict[Any, Any]
) -> bool:
    """Whether a convolution ends up in a joint one."""
    if var not in forms or op_name(value) != "nn.conv2d":
        return False
    while var not in joined:
        following = [u for u, _ in readers.get(var, []) if u in forms]
        if len(following) != 1:
            return False
        var = following[0]
    return True


def _ends(func: Any, forms: dict[Any, Form]) -> list[Any]:
    """Variables at which a linear form has taken in its last convolution."""
    largest: dict[Any, int] = {}
    sources: dict[Any, list[Any]] = {}
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


def _forms(func: Any) -> dict[Any, Form]:
    forms: dict[Any, Form] = {}
    open_forms: dict[Any, Form] = {}
    defined = dict(bindings(func))
    readers = uses(func)
    weights = _Weights()
    for var, value in bindings(func):
        form = _form(var, value, open_forms, defined, weights)
        if form is None:
            continue
        taken = tuple(a for a in value.args if isinstance(a, relax.Var) and a in open_forms)
        forms[var] = replace(form, parts=taken)
        # A value that is read twice is computed once: nothing may take it in.
        if len(readers.get(var, [])) == 1:
            open_forms[var] = forms[var]
    return forms


def _form(
    var: Any, value: Any, forms: dict[Any, Form], defined: dict[Any, Any], weights: _Weights
) -> Form | None:
    name = op_name(value)
    if name not in ("nn.conv2d", "add", "subtract", "multiply", "divide", "negative"):
        return None
    if dtype_of(var) != "float32":
        return None
    if name == "nn.conv2d":
        return _convolution(var, value, defined, weights)
    args = list(value.args)
    if name == "negative":
        return forms[args[0]].scaled(np.array(-1.0)) if args[0] in forms else None
    a, b = args
    if a in forms and b in forms:
        if name == "add":
            return forms[a].plus(forms[b])
        return forms[a].plus(forms[b].scaled(np.array(-1.0))) if name == "subtract" else None
    if b in forms and name in ("add", "multiply"):
        a, b = b, a
    factor = constant(b)
    if a not in forms or factor is None:
        return None
    form = forms[a]
    flat = _per_channel(factor, len(form.bias))
    if flat is None:
        return None
    if name == "multiply":
        return form.scaled(flat)
    if name == "divide":
        return form.scaled(1 / flat) if np.all(flat) else None
    shift = flat if name == "add" else -flat
    return replace(form, bias=form.bias + shift)


def _per_channel(array: np.ndarray, channels: int) -> np.ndarray | None:
    if array.size == 1 or (array.shape[-1] == channels and array.size == channels):
        return array.reshape(-1).astype(np.float64)
    return None


def _convolution(var: Any, call: Any, defined: dict[Any, Any], weights: _Weights) -> Form | None:
    weight = constant(call.args[1])
    if weight is None or str(call.attrs.data_layout) != "NHWC":
        return None
    data = call.args[0]
    terms = [_term(data, weight, weights)]
    source: Any = defined.get(data)
    if op_name(source) == "concat" and int(call.attrs.groups) == 1 and _last_axis(source):
        fields = source.args[0].fields
        cuts = np.cumsum([int(shape_of(f)[-1]) for f in fields])[:-1]
        parts = np.split(weight, cuts, axis=3)
        if len({p.shape for p in parts}) == 1:
            terms = [_term(f, p, weights) for f, p in zip(fields, parts, strict=True)]
    return Form(tuple(terms), np.zeros(len(weight)), call, hint(var), len(terms))


def _term(data: Any, weight: np.ndarray, weights: _Weights) -> Term:
    scale = np.ones(len(weight))
    largest = max(weight.max(initial=0), -weight.min(initial=0))
    top = weight == largest
    if largest > 0 and np.all(top | (weight == -largest)):  # one plane: its scale comes out
        scale *= largest
        weight = top.astype(np.int8) * np.int8(2) - np.int8(1)
    return Term(data, (Part(scale, weights.number(weight), weight),))


def _last_axis(call: Any) -> bool:
    axis = call.attrs.axis
    fields = getattr(call.args[0], "fields", None)
    return fields is not None and axis is not None and int(axis) in (3, -1)


def _same_geometry(a: Any, b: Any) -> bool:
    return conv_window(a) == conv_window(b) if _kernel(a) == _kernel(b) else False


def _kernel(call: Any) -> tuple[Any, ...]:
    return shape_of(call.args[1])


@dataclass(frozen=True)
class Joint:
    """Groups of data variables: ``Conv(sum of coefficient * data, weight)`` each."""

    groups: tuple[tuple[np.ndarray, tuple[tuple[float, Any], ...]], ...]


def _joint(form: Form, defined: dict[Any, Any]) -> Joint | None:
    groups: list[tuple[Term, list[tuple[float, Any]]]] = []
    for term in form.terms:
        for reference, members in groups:
            ratio = _ratio(term, reference)
            if ratio is not None:
                members.append((ratio, term.data))
                break
        else:
            groups.append((term, [(1.0, term.data)]))
    if len(groups) == form.count:
        return None
    done = [_rescale(reference.weight(), members) for reference, members in groups]
    if not in_range(form.bias) or not all(_is_float(weight) for weight, _ in done):
        return None
    if not all(weight_planes.has_planes(weight.astype(np.float32)) for weight, _ in done):
        return None
    if not all(_may_be_summed(term.data, defined) for term in form.terms):
        return None
    return Joint(tuple((w, tuple(m)) for w, m in done))


def _may_be_summed(data: Any, defined: dict[Any, Any]) -> bool:
    """Whether the constants of the chain behind an input are small enough for sums of inputs."""
    chain, _ = chain_behind(defined, data)
    arithmetic = [call for _, call in chain if op_name(call) in _ARITHMETIC]
    arrays = [constant(arg) for call in arithmetic for arg in call.args]
    return all(array is None or array.dtype == bool or in_range(array) for array in arrays)


def _is_float(values: np.ndarray) -> bool:
    """Whether float64 numbers may be float32 constants: none too large, none without its bits."""
    return in_range(values, NORMAL)


def _ratio(term: Term, reference: Term) -> float | None:
    """``r`` with ``weight = r * reference`` up to float32 rounding, scale by scale."""
    mine, theirs = term.joined(), reference.joined()
    if mine.keys() != theirs.keys():
        return _proportion(term.weight(), reference.weight())
    a = np.array([mine[key][0] for key in mine])
    b = np.array([theirs[key][0] for key in mine])
    return _proportion(a, b)


def _proportion(a: np.ndarray, b: np.ndarray) -> float | None:
    if a.shape != b.shape:
        return None
    at = np.unravel_index(np.abs(b).argmax(), b.shape)
    if b[at] == 0:
        return None
    with np.errstate(all="ignore"):
        ratio = float(a[at] / b[at])
    if not 1 / MOST_RATIO <= abs(ratio) <= MOST_RATIO:
        return None
    mine, theirs = (v if v.ndim == 2 else v.reshape(len(v), -1).T for v in (a, ratio * b))
    terms = np.abs(mine).max(0)
    # What float64 leaves of terms that cancel is 0.
    mine, theirs = (np.where(np.abs(v) <= 2.0**-45 * terms, 0, v) for v in (mine, theirs))
    return ratio if np.all(is_same(theirs, mine, terms)) else None


def _rescale(
    weight: np.ndarray, members: list[tuple[float, Any]]
) -> tuple[np.ndarray, list[tuple[float, Any]]]:
    """Coefficients as integers where they are in a ratio of small ones, so that sums stay exact."""
    fractions = [Fraction(r).limit_denominator(64) for r, _ in members]
    if any(float(f) != r for f, (r, _) in zip(fractions, members, strict=True)):
        return weight, members
    common = lcm(*(f.denominator for f in fractions))
    whole = [int(f * common) for f in fractions]
    shared = gcd(*whole) or 1
    integers = [(float(w // shared), d) for w, (_, d) in zip(whole, members, strict=True)]
    return weight * (shared / common), integers


def _emit(builder: Any, form: Form, joint: Joint, env: dict[Any, Any]) -> Any:
    window = conv_window(form.call)
    total = None
    for number, (weight, members) in enumerate(joint.groups):
        data = None
        for coefficient, old in members:
            part = env[old]
            if coefficient != 1.0:
                factor = const(np.array(coefficient, np.float32))
                part = builder.emit(relax.op.multiply(part, factor))
            data = part if data is None else builder.emit(relax.op.add(data, part))
        conv = relax.op.nn.conv2d(
            data,
            const(weight.astype(np.float32)),
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
    if np.any(form.bias):
        bias = form.bias.astype(np.float32).reshape(1, 1, 1, -1)
        total = builder.emit(relax.op.add(total, const(bias)))
    return total
