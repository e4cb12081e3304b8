"""``int8``: levels coded as bytes, and dot products of bytes.

They cost ``device.cost.dot`` of a float multiply-accumulate whatever the number of planes, and the
same comparisons as bits do. They are taken where they are exact, and where rounding is allowed also
where scales and levels must be moved, unless the bound of the error exceeds what is allowed
(:mod:`.int8_form`). Then the layer gets the rounded scales and a step with the rounded levels;
everything after that is exact for those. Narrow groups have another kernel, which needs no dot
products: :mod:`.int8_narrow`.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from abc_tvm.compute.int8_products import QUAD, quads
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.emit.anchor import Anchor
from abc_tvm.relay_passes.emit.frame import Frame
from abc_tvm.relay_passes.ops import coded_window, make, side_by_side, window_attrs
from abc_tvm.relay_passes.rewrite import array_of, const, op_name
from abc_tvm.schedules.families import code_type
from abc_tvm.schedules.family import CodeType, Plan

from .candidate import HINT, MOST_PLANES, Candidate, Offer, Outcome
from .codec import LEVEL_ERROR, ByteCodec, level_scale, patterns
from .coded_moves import MOVE_INT8
from .coded_padding import PAD_INT8, window_attributes
from .int8_epilogue import CODES
from .int8_form import Int8Form, int8_form, rounded
from .int8_narrow import begin_narrow, groups_read, narrow_code, narrow_cost, weight_bytes
from .int8_pool import POOL
from .int8_sums import Int8Sums
from .lowering import Emitter, Lowering


def begin(frame: Frame, var: relax.Var, call: relax.Call) -> Plan:
    """Weights of one byte, sums of products of bytes, and what those mean."""
    if side_by_side(call):
        return begin_narrow(frame, var, call)
    window = coded_window(call)
    frame.lay_window(window)
    weights, scale = (array_of(a) for a in call.args[1:3])
    zero, part = int(call.attrs["zero"]), int(call.attrs["part"])
    plan = frame.scheduler.plan(window, frame.blocking, 1, "int8")
    codes = frame.inputs[call.args[0]]
    sums = frame.scheduler.family.sums(plan, codes, weights, frame.table, zero)
    frame.keep_sums(var, Int8Sums(frame, weights, scale, zero, sums, part=part))
    return plan


class Int8(Lowering):
    """For devices with dot products of bytes; of narrow groups for others as well."""

    name = kind = peak = "int8"
    title = "int8 (dot products)"
    colour = "#762a83"
    arithmetic = "int8 dot product"
    anchor = Anchor("abc.int8_conv2d", begin, lambda call: True, groups_read)
    encodings = (CODES,)
    poolings = (POOL,)
    paddings = (PAD_INT8,)
    moves = (MOVE_INT8,)

    def offer(self, layer: Candidate, rival: float) -> Offer | None:
        code = _code(layer)
        if code is None:
            return None
        levels = layer.steps.levels
        form = int8_form(layer.planes, layer.alpha, levels, code)
        if form is not None:
            cost = _cost(layer, form, code)
            return Offer(
                cost,
                f"bytes behind {len(levels) - 1} thresholds would take {cost:.1f}x the time of "
                f"float on {layer.device.name}; force with lowering=int8",
            )
        if layer.allowed is None and _cost(layer, None, code) >= HINT * rival:
            return None
        near = rounded(layer.planes, layer.alpha, levels, code)
        form = int8_form(layer.planes, near.alpha, near.levels, code)
        if form is None:
            return None
        cost, refusal = _cost(layer, form, code), _refusal(near.error, layer.allowed)
        return Offer(cost, refused=refusal, moved=near)

    def outcome(self, layer: Candidate, offer: Offer) -> Outcome:
        window = layer.window
        weights = window.out_channels * window.taps * quads(window.group_in) * QUAD
        if narrow_code(layer) is not None:
            weights = weight_bytes(window)
        many = f"{layer.pairs} pairs of planes" if layer.pairs > 1 else "one pair of planes"
        if layer.M > MOST_PLANES:
            many = "weights of eight bits"
        if offer.moved is None:
            return Outcome(f"{many} as int8, exact", weights, 0.0)
        error = offer.moved.error
        reason = f"{many} as int8, sums rounded by at most {error:.2%} of the largest"
        return Outcome(reason, weights, error)

    def encode(
        self, layer: Candidate, reading: LayerReading, emitter: Emitter, error: float
    ) -> relax.Call | str:
        code, window = _code(layer), layer.window
        form = None
        if code is not None:
            form = int8_form(layer.planes, layer.alpha, layer.steps.levels, code)
        if form is None or code is None:
            raise TypeError("a layer that was chosen to run on int8 has no such form")
        groups = window.groups if narrow_code(layer) is None else 1
        data = _codes(emitter, reading, form.codes, groups, code)
        return make(
            "int8_conv2d",
            [data, const(form.weights), const(form.scale)],
            codes=list(form.codes),
            error=error,
            **window_attrs(window),
            kernel=list(window.kernel),
            in_channels=window.in_channels,
            out_channels=window.out_channels,
            zero=form.zero,
            part=form.part,
        )

    def padded(
        self, layer: Candidate, reading: LayerReading, anchor: relax.Call, emitter: Emitter
    ) -> relax.Var | str:
        return emitter.emit(
            "padded_codes",
            "pad_int8",
            [anchor.args[0]],
            **window_attributes(reading, layer.window.in_channels),
            code=int(anchor.attrs["codes"][reading.padded_index()]),
        )

    def codec(self, call: relax.Call, source: relax.Call, plain: np.ndarray) -> ByteCodec:
        attrs = call.attrs
        codes = np.array([int(n) for n in attrs["codes"]])
        weights = array_of(call.args[1]).astype(np.float64)
        coded = array_of(call.args[2]).astype(np.float64)[:, None, None, None] * weights
        scale = level_scale(coded, plain, LEVEL_ERROR + 2 * float(attrs["error"]))
        order = np.argsort(codes, kind="stable")
        levels = scale * (codes - int(attrs["zero"]))[order].astype(np.float64)
        return ByteCodec(
            int(attrs["in_channels"]),
            groups_read(call),
            float(levels[0]),
            np.diff(levels),
            patterns("thermometer", len(codes) - 1),
            tuple(int(n) for n in codes[order]),
        )


def _code(layer: Candidate) -> CodeType | None:
    """The bytes that a layer reads; ``None`` where its device has no kernel for it."""
    return narrow_code(layer) or code_type(layer.device)


def _cost(layer: Candidate, form: Int8Form | None, code: CodeType) -> float:
    """What a layer takes of its time in float, at least where its form is not known."""
    dot = layer.device.cost.dot
    if narrow_code(layer) is not None or dot is None:
        return narrow_cost(layer, form, code)
    channels = layer.window.group_in
    return layer.slower * dot * quads(channels) * QUAD / channels + layer.compared


def _refusal(error: float, allowed: float | None) -> str:
    """Why rounding may not be done; empty where it may."""
    if allowed is not None and error <= allowed:
        return ""
    size = f"rounding to it may change a sum by {error:.2%} of its largest value"
    if allowed is None:
        return f"{size}: allow it with --allow-int8"
    return f"{size}, more than the {allowed:.2%} that are allowed"


def _codes(
    emitter: Emitter, reading: LayerReading, codes: tuple[int, ...], groups: int, dtype: CodeType
) -> relax.Var:
    """What a layer reads before it is padded; ``codes`` are those of its levels."""
    if reading.move is not None:
        return emitter.emit(
            "moved_codes",
            "move_int8",
            [
                *(_codes(emitter, part, codes, 1, dtype) for part in reading.parts),
                *reading.move.args[-4:],
            ],
            layout_groups=groups,
            fill=int(codes[reading.fill_index()]),
        )
    if reading.pool is None:
        return _encode(emitter, reading.step, codes, groups, dtype)
    # Codes rise with the level. Where a step reads what was pooled, its index is.
    after: tuple[int, ...] = ()
    written = codes
    if reading.coded is not reading.step:
        after, written = codes, tuple(range(len(codes)))
    raw = _encode(emitter, reading.coded, written, groups, dtype)
    return emitter.emit(
        "pooled_codes",
        "pool_int8",
        [raw, const(reading.turned_channels())],
        **reading.pool_attributes(),
        codes=list(after),
    )


def _encode(
    emitter: Emitter, step: relax.Call, codes: tuple[int, ...], groups: int, dtype: CodeType
) -> relax.Var:
    count = op_name(step) == "abc.count_step"
    return emitter.emit(
        "codes",
        "encode_int8",
        list(step.args[:3]) + ([step.args[4]] if count else []),
        codes=list(codes),
        dtype=dtype,
        layout_groups=groups,
        count=int(count),
    )


INT8 = Int8()
