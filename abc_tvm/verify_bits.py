"""Count the activation bits in which compiled kernels differ from the float network.

Two more builds of the network, both on the compiler's own graph:

- The *float form*: the graph before anything is recognised as binary, every layer in float, with
  the input of each binarized layer as one more output. These are the levels to compare with.
- The *forced form*: the kernels that are shipped, but each binarized layer reads the bits of
  the float form, as one more input, and the bits that the layers before it have computed are one
  more output.

So every layer starts from the float form's own bits: a bit that flips because float32 sums were
rounded in another order is counted once, where it flips, and moves nothing behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from abc_tvm.compute.byte_products import code_slots
from abc_tvm.compute.geometry import WORD, words
from abc_tvm.relay_passes.rewrite import (
    array_of,
    bindings,
    definitions,
    drop_dead,
    dtype_of,
    emit,
    hint,
    op_name,
    substitute,
)

CONVOLUTIONS = ("abc.bitconv2d", "abc.dotconv2d")

LEVEL_ERROR = 1e-5
"""Relative to the largest level: two float32 ways to sum the same few terms."""


@dataclass(frozen=True)
class Bits:
    """Packed activation bits uint32 ``[B, H, W, P, groups, words]`` of ``channels``.

    ``level = base + sum_p weights[p] * bit_p``, and ``patterns`` uint8 ``[K, P]`` are the
    combinations of bits that stand for a level.
    """

    channels: int
    groups: int
    base: float
    weights: np.ndarray
    patterns: np.ndarray
    tolerance: float = LEVEL_ERROR
    """How far, relative to the largest level, a value may be from its level."""

    def levels(self, bits: np.ndarray) -> np.ndarray:
        """float64 ``[...]`` of bits uint8 ``[..., P]``."""
        return np.asarray(self.base + bits @ self.weights)

    def encode(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bits uint8 ``[..., P]`` of the nearest levels, and which values are such levels.

        Half-way between two levels the higher one counts.
        """
        levels = self.levels(self.patterns)
        order = np.argsort(levels, kind="stable")
        ordered = levels[order]
        index = order[np.searchsorted((ordered[1:] + ordered[:-1]) / 2, values, side="right")]
        exact = np.abs(levels[index] - values) <= self.tolerance * np.abs(levels).max()
        return self.patterns[index], exact

    def pack(self, bits: np.ndarray) -> np.ndarray:
        """uint8 ``[B, H, W, C, P]`` as the kernels read it."""
        b, h, w, _, planes = bits.shape
        group = self.channels // self.groups
        wide = np.zeros((b, h, w, planes, self.groups, words(group) * WORD), np.uint8)
        split = bits.reshape(b, h, w, self.groups, group, planes)
        wide[..., :group] = np.moveaxis(split, -1, 3)
        return np.packbits(wide, axis=-1, bitorder="little").view("<u4")

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`pack`."""
        group = self.channels // self.groups
        flat = np.unpackbits(packed.view(np.uint8), axis=-1, bitorder="little")
        bits = np.moveaxis(flat[..., :group], 3, -1)
        return bits.reshape(*bits.shape[:3], self.channels, len(self.weights))


@dataclass(frozen=True)
class ByteCodes(Bits):
    """Levels coded as bytes ``[B, H, W, groups, S]``; as bits, a code is its index in thermometer
    form.

    ``codes`` are those of the levels, in their order; ``dtype`` is "uint8" or "int8".
    """

    codes: tuple[int, ...] = ()
    dtype: str = "uint8"

    def pack(self, bits: np.ndarray) -> np.ndarray:
        """uint8 ``[B, H, W, C, P]`` as the kernels read it."""
        codes = np.array(self.codes, self.dtype)[bits.sum(-1)]
        b, h, w, _ = codes.shape
        group = self.channels // self.groups
        wide = np.zeros((b, h, w, self.groups, code_slots(group)), self.dtype)
        wide[..., :group] = codes.reshape(b, h, w, self.groups, group)
        return wide

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`pack`."""
        codes = packed[..., : self.channels // self.groups]
        codes = codes.reshape(*codes.shape[:3], self.channels)
        index = np.searchsorted(np.array(self.codes), codes)
        return (np.arange(len(self.codes) - 1) < index[..., None]).astype(np.uint8)


@dataclass(frozen=True)
class BitInput:
    """The activation bits, or codes, that one binarized layer, or several, read."""

    layer: str
    var: Any
    bits: Bits


@dataclass(frozen=True)
class LayerBits:
    """One row: bits compared before a layer, and how many of them differ."""

    name: str
    planes: int
    checked_bits: int
    flipped_bits: int


def bit_inputs(encoded: Any, canonical: Any) -> list[BitInput]:
    """The packed tensors that the layers of a module read, after the pass ``encode``.

    ``canonical`` is the module after ``collapse_bases``: its levels count, in its scale.
    """
    plain = _convolutions(canonical)
    defined = definitions(encoded["main"])
    found: list[BitInput] = []
    for var, value in defined.items():
        if op_name(value) not in CONVOLUTIONS or any(f.var.same_as(value.args[0]) for f in found):
            continue
        attrs = value.attrs
        if op_name(value) == "abc.dotconv2d":
            found.append(BitInput(hint(var), value.args[0], _codes(value, plain[hint(var)])))
            continue
        planes, alpha = (array_of(value.args[i]).astype(np.float64) for i in (1, 2))
        coded = np.einsum("mo,mohwi->ohwi", alpha, planes)
        scale = _level_scale(coded, plain[hint(var)], LEVEL_ERROR)
        weights = scale * np.array([float(w) for w in attrs["weights"]])
        source = defined[value.args[0]]
        bits = Bits(
            int(attrs["in_channels"]),
            int(attrs["groups"]),
            scale * float(attrs["base"]),
            weights,
            _patterns(str(source.attrs["code"]), len(weights)),
        )
        found.append(BitInput(hint(var), value.args[0], bits))
    return found


def _codes(call: Any, plain: Any) -> ByteCodes:
    """Codes of an ``abc.dotconv2d``; their levels are those of the float form, unrounded."""
    attrs = call.attrs
    codes = np.array([int(n) for n in attrs["codes"]])
    weights = array_of(call.args[1]).astype(np.float64)
    coded = array_of(call.args[2]).astype(np.float64)[:, None, None, None] * weights
    error = float(attrs["error"])
    scale = _level_scale(coded, plain, LEVEL_ERROR + 2 * error)
    order = np.argsort(codes, kind="stable")
    levels = scale * (codes - int(attrs["zero"]))[order].astype(np.float64)
    return ByteCodes(
        int(attrs["in_channels"]),
        int(attrs["groups"]),
        float(levels[0]),
        np.diff(levels),
        _patterns("thermometer", len(codes) - 1),
        LEVEL_ERROR + error,
        tuple(int(n) for n in codes[order]),
        dtype_of(call.args[0]),
    )


def float_form(canonical: Any, layers: list[str]) -> Any:
    """The module after ``collapse_bases`` with the inputs of ``layers`` as further outputs."""
    plain = _convolutions(canonical)
    return _rewired(canonical, {}, [plain[name].args[0] for name in layers])


def forced_form(encoded: Any, inputs: list[BitInput]) -> Any:
    """The module after ``encode`` whose layers read their bits from further inputs of ``main``.

    The bits that the module has computed are further outputs.
    """
    return _rewired(
        encoded,
        {item.var: relax.Var(f"forced_{i}", item.var.ty) for i, item in enumerate(inputs)},
        [item.var for item in inputs],
    )


def compare(item: BitInput, wanted: np.ndarray, packed: np.ndarray) -> LayerBits:
    """Bits that differ between levels ``[B, H, W, C]`` and packed bits.

    A wanted value that is none of the layer's levels counts as flipped in all its planes.
    """
    reference, exact = item.bits.encode(wanted)
    computed = item.bits.unpack(packed)
    differ = (reference != computed).sum(-1)
    # Two patterns may stand for one level where a level is repeated.
    differ[item.bits.levels(reference) == item.bits.levels(computed)] = 0
    planes = len(item.bits.weights)
    differ[~exact] = planes
    return LayerBits(item.layer, planes, int(computed.size), int(differ.sum()))


def _convolutions(canonical: Any) -> dict[str, Any]:
    found = bindings(canonical["main"])
    return {hint(var): call for var, call in found if op_name(call) == "nn.conv2d"}


def _level_scale(coded: np.ndarray, plain: Any, tolerance: float) -> float:
    """Levels of the float form over those of the bits.

    Recognition may move a factor from the levels into alpha. The convolution is the same, so
    ``coded``, the weights that the planes stand for, tell that factor; 1 where they are no
    multiple.
    """
    weight = array_of(plain.args[1]).astype(np.float64)
    scale = float((coded * weight).sum() / max((weight * weight).sum(), 1e-300))
    same = np.abs(coded - scale * weight).max() <= tolerance * np.abs(coded).max()
    return scale if same and scale != 0 else 1.0


def _patterns(code: str, planes: int) -> np.ndarray:
    if code == "binary":
        index = np.arange(2**planes)[:, None]
        return (index >> np.arange(planes) & 1).astype(np.uint8)
    return np.tri(planes + 1, planes, -1, dtype=np.uint8)


def _rewired(module: Any, inputs: dict[Any, Any], outputs: list[Any]) -> Any:
    """``main`` with layers that read ``inputs``, and ``outputs`` after its own results."""
    func = module["main"]
    results = _results(func)
    builder = relax.BlockBuilder()
    params = [*func.params, *inputs.values()]
    with builder.function("main", params, attrs=dict(func.attrs or {})):
        with builder.dataflow():
            env: dict[Any, Any] = {}
            for var, value in bindings(func):
                if isinstance(value, relax.Tuple):
                    continue
                known = {**env, **inputs} if op_name(value) in CONVOLUTIONS else env
                env[var] = emit(builder, substitute(value, known), hint(var))
            fields = [substitute(v, env) for v in (*results, *outputs)]
            result = builder.emit_output(relax.Tuple(fields))
        builder.emit_func_output(result)
    out = builder.get()
    # Operators without a Relax form of their own are private functions beside main.
    for gvar, other in module.functions_items():
        if gvar.name_hint != "main":
            out.update_func(gvar, other)
    return drop_dead(out)


def _results(func: Any) -> list[Any]:
    defined = definitions(func)
    body = func.body.body
    while isinstance(defined.get(body), relax.Var):
        body = defined[body]
    value = defined.get(body, body)
    return list(value.fields) if isinstance(value, relax.Tuple) else [body]
