"""``bitserial``: planes of weights and activations, xor and popcount, weighted and summed up.

A pair of planes costs ``device.cost.pair`` of a float multiply-accumulate; input channels fill up
whole words; and every input element is compared with every threshold once, at the cost of a
multiply-accumulate each.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from abc_tvm.compute.geometry import WORD, words
from abc_tvm.relay_passes.analysis.moves.index_maps import static_shape
from abc_tvm.relay_passes.analysis.moves.move import Move, put_together
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.analysis.steps.travelled import image_dims
from abc_tvm.relay_passes.analysis.weights.planes_code import Code, thermometer
from abc_tvm.relay_passes.emit.anchor import Anchor
from abc_tvm.relay_passes.emit.frame import Frame
from abc_tvm.relay_passes.ops import coded_window, make, window_attrs
from abc_tvm.relay_passes.rewrite import array_of, const, op_name, shape_of
from abc_tvm.schedules.family import Plan

from .bitserial_epilogue import BITS
from .bitserial_pool import POOL
from .bitserial_sums import BitserialSums
from .candidate import MOST_PLANES, Candidate, Offer, Outcome
from .codec import Codec, level_scale, patterns
from .coded_moves import MOVE_BITS, move_of, whole_words
from .coded_padding import PAD_BITS, packed_level, window_attributes
from .lowering import Emitter, Lowering
from .packing import pack_planes


def begin(frame: Frame, var: relax.Var, call: relax.Call) -> Plan:
    """Packed planes, counts of the bits that differ, and what those mean."""
    window = coded_window(call)
    frame.lay_window(window)
    planes, alpha = array_of(call.args[1]), array_of(call.args[2])
    base = float(call.attrs["base"])
    weights = np.array([float(w) for w in call.attrs["weights"]])
    pairs = len(planes) * len(weights)
    plan = frame.scheduler.plan(window, frame.blocking, pairs, "bitserial", len(planes))
    bits = frame.inputs[call.args[0]]
    packed = pack_planes(planes, window, frame.blocking)
    counts = frame.scheduler.family.sums(plan, bits, packed, frame.table)
    frame.keep_sums(var, BitserialSums(frame, window, planes, alpha, base, weights, counts))
    return plan


class Bitserial(Lowering):
    """Exact for every layer of planes and steps."""

    name = kind = peak = "bitserial"
    title = "bits (xor, popcount)"
    colour = "#1b7837"
    arithmetic = "xor + popcount + add"
    anchor = Anchor(
        "abc.bitserial_conv2d", begin, lambda call: True, lambda call: int(call.attrs["groups"])
    )
    encodings = (BITS,)
    poolings = (POOL,)
    paddings = (PAD_BITS,)
    moves = (MOVE_BITS,)

    def offer(self, layer: Candidate, rival: float) -> Offer:
        window = layer.window
        fill = window.group_in / (words(window.group_in) * WORD)
        cost = layer.slower * layer.pairs * layer.device.cost.pair / fill + layer.compared
        why = f"{layer.pairs} pairs of planes"
        if layer.compared > 0.25:
            why += f" behind {len(layer.steps.thresholds)} thresholds"
        if fill < 0.75:
            why += f" on {window.group_in} channels of {WORD}-bit words"
        slower = f"{why} would take {cost:.1f}x the time of float on {layer.device.name}"
        if layer.M > MOST_PLANES:
            told = slower if layer.device.cost.dot is None else ""  # else bytes are what is near
            return Offer(cost, told, refused=f"{layer.M} planes of weights are too many for bits")
        return Offer(cost, f"{slower}; force with lowering=bitserial")

    def outcome(self, layer: Candidate, offer: Offer) -> Outcome:
        window, planes = layer.window, layer.code.planes
        reason = "" if planes == layer.N else f"{layer.N} thresholds in {planes} planes"
        weights = window.out_channels * window.taps * words(window.group_in) * 4 * layer.M
        return Outcome(reason, weights)

    def encode(
        self, layer: Candidate, reading: LayerReading, emitter: Emitter, error: float
    ) -> relax.Call | str:
        if reading.mixed:
            return "pooling between activations of two kinds"
        bits = packed_bits(emitter, reading, layer.code, layer.window.groups)
        window = layer.window
        return make(
            "bitserial_conv2d",
            [bits, layer.call.args[1], layer.call.args[2]],
            **window_attrs(window),
            kernel=list(window.kernel),
            in_channels=window.in_channels,
            out_channels=window.out_channels,
            base=layer.code.base,
            weights=list(layer.code.weights),
        )

    def padded(
        self, layer: Candidate, reading: LayerReading, anchor: relax.Call, emitter: Emitter
    ) -> relax.Var | str:
        code, window = layer.code, layer.window
        bits = patterns(code.kind, code.planes)[reading.padded_index()]
        return emitter.emit(
            "padded_bits",
            "pad_bitserial",
            [anchor.args[0], const(packed_level(bits, window.in_channels, window.groups))],
            **window_attributes(reading, window.in_channels),
            code=code.kind,
            planes=code.planes,
        )

    def pairs(self, call: relax.Call) -> int:
        return int(shape_of(call.args[1])[0]) * len(call.attrs["weights"])

    def codec(self, call: relax.Call, source: relax.Call, plain: np.ndarray) -> Codec:
        attrs = call.attrs
        planes, alpha = (array_of(call.args[i]).astype(np.float64) for i in (1, 2))
        scale = level_scale(np.einsum("mo,mohwi->ohwi", alpha, planes), plain)
        weights = scale * np.array([float(w) for w in attrs["weights"]])
        return Codec(
            int(attrs["in_channels"]),
            int(attrs["groups"]),
            scale * float(attrs["base"]),
            weights,
            patterns(str(source.attrs["code"]), len(weights)),
        )


def packed_bits(emitter: Emitter, reading: LayerReading, code: Code, groups: int) -> relax.Var:
    """What a layer reads before it is padded, in planes of ``code``."""
    if reading.move is not None:
        parts = [packed_bits(emitter, part, code, 1) for part in reading.parts]
        move, sources = move_of(reading.move), reading.move.args[:-4]
        fill = [int(bit) for bit in patterns(code.kind, code.planes)[reading.fill_index()]]

        def moved(data: list[relax.Expr], move: Move, groups: int) -> relax.Var:
            return emitter.emit(
                "moved_bits",
                "move_bitserial",
                [*data, *map(const, move.tables)],
                code=code.kind,
                planes=code.planes,
                layout_groups=groups,
                fill=fill,
            )

        dims = [image_dims(static_shape(x), False) for x in sources]
        both = None if whole_words(move, groups) else put_together(move, dims, WORD)
        if both is not None:
            # Each bit is picked from one tensor, and not from one of many.
            parts, move = [moved(parts, both[0], 1)], both[1]
        return moved(parts, move, groups)
    if reading.pool is None:
        return _encode(emitter, reading.coded, code, groups)
    raw = thermometer(steps_of(reading.coded).levels)
    return emitter.emit(
        "pooled_bits",
        "pool_bitserial",
        [_encode(emitter, reading.coded, raw, groups), const(reading.turned_channels())],
        **reading.pool_attributes(),
        code=code.kind,
        planes=code.planes,
    )


def _encode(emitter: Emitter, step: relax.Call, code: Code, groups: int) -> relax.Var:
    count = op_name(step) == "abc.count_step"
    return emitter.emit(
        "bits",
        "encode_bitserial",
        list(step.args[:3]) + ([step.args[4]] if count else []),
        code=code.kind,
        planes=code.planes,
        layout_groups=groups,
        count=int(count),
    )


BITSERIAL = Bitserial()
