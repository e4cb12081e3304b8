"""The activation bits that compiled kernels compute, and what they stand for.

The kernels that are shipped are built once more, with what each binarized layer reads as one more
output of the network (:func:`tapped`). :func:`bit_inputs` says how it is packed, and which levels
its bits, or codes, mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.rewrite import (
    array_of,
    bindings,
    definitions,
    drop_dead,
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

    def levels(self, bits: np.ndarray) -> np.ndarray:
        """float64 ``[...]`` of bits uint8 ``[..., P]``."""
        return np.asarray(self.base + bits @ self.weights)

    def index(self, packed: np.ndarray) -> np.ndarray:
        """Which of ``patterns`` stands at each place, int64 ``[B, H, W, C]``."""
        bits = self.unpack(packed).astype(np.int64)
        planes = len(self.weights)
        if len(self.patterns) == 2**planes:
            return bits @ (1 << np.arange(planes))
        return np.asarray(bits.sum(-1))

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Bits uint8 ``[B, H, W, C, P]`` of those that the kernels read."""
        group = self.channels // self.groups
        flat = np.unpackbits(packed.view(np.uint8), axis=-1, bitorder="little")
        bits = np.moveaxis(flat[..., :group], 3, -1)
        return bits.reshape(*bits.shape[:3], self.channels, len(self.weights))


@dataclass(frozen=True)
class ByteCodes(Bits):
    """Levels coded as bytes ``[B, H, W, groups, S]``; ``codes`` are those of the levels in order.

    As bits, a code is its index in thermometer form.
    """

    codes: tuple[int, ...] = ()

    def index(self, packed: np.ndarray) -> np.ndarray:
        """Which level stands at each place, int64 ``[B, H, W, C]``."""
        codes = packed[..., : self.channels // self.groups]
        codes = codes.reshape(*codes.shape[:3], self.channels)
        return np.asarray(np.searchsorted(np.array(self.codes), codes))


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
    unexplained_bits: int = 0


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
        tuple(int(n) for n in codes[order]),
    )


def tapped(encoded: Any, outputs: list[Any]) -> Any:
    """The module after ``encode`` with variables of it as further outputs of ``main``."""
    return _rewired(encoded, outputs)


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


def _rewired(module: Any, outputs: list[Any]) -> Any:
    func = module["main"]
    results = _results(func)
    builder = relax.BlockBuilder()
    with builder.function("main", list(func.params), attrs=dict(func.attrs or {})):
        with builder.dataflow():
            env: dict[Any, Any] = {}
            for var, value in bindings(func):
                if isinstance(value, relax.Tuple):
                    env[var] = substitute(value, env)
                else:
                    env[var] = emit(builder, substitute(value, env), hint(var))
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
