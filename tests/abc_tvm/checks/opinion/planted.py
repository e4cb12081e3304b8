"""Faults planted in the passes, each of which the second opinion must see.

Every plant wraps what a pass calls today, so that the fault comes back however the pass is written
inside. ``python -m tests.abc_tvm.checks.opinion.planted`` plants them all and counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.analysis.atoms import analysis as atom_analysis
from abc_tvm.relay_passes.analysis.atoms import atoms
from abc_tvm.relay_passes.analysis.moves.move import Move
from abc_tvm.relay_passes.analysis.steps import activations, readings, travelled
from abc_tvm.relay_passes.analysis.weights import (
    accumulator,
    joint_weights,
    linear_form,
    linear_reader,
)
from abc_tvm.relay_passes.lowerings import bitserial, candidate, int8
from abc_tvm.relay_passes.passes import (
    encode,
    recognise_activations,
    recognise_weights,
)
from abc_tvm.relay_passes.passes.canonical import moves
from abc_tvm.relay_passes.rewrite import array_of, const
from tests.abc_tvm.checks.opinion import networks

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Plant:
    """``plant`` makes the passes wrong for ``network``."""

    plant: Callable[[Patch], None]
    network: Callable[[], onnx.ModelProto]
    lowering: str = "bitserial"
    allow_int8: float | None = None


def wrapped(patch: Patch, owner: Any, name: str, change: Callable[[Any], Any]) -> None:
    """Replace a function by one whose result is changed."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **named: change(original(*args, **named)))


def forgetful(patch: Patch, owner: Any, name: str, key: Callable[..., Any]) -> None:
    """A method that remembers its results under too little: the first one is given again."""
    original = getattr(owner, name)

    def method(self: Any, *args: Any) -> Any:
        known = self.__dict__.setdefault(f"planted_{name}", {})
        at = key(*args)
        if at not in known:
            known[at] = original(self, *args)
        return known[at]

    patch.setattr(owner, name, method)


# ---- what is remembered ----------------------------------------------------------------


def steps_without_sense(patch: Patch) -> None:
    forgetful(
        patch,
        recognise_activations.RecogniseActivations,
        "emit_step",
        lambda _, root, steps, *rest: (root, steps.thresholds.tobytes(), steps.levels.tobytes()),
    )


def forgetful_emitter(
    patch: Patch, name: str, key: Callable[[list[Any], dict[str, Any]], Any]
) -> None:
    """Codes of the operator ``name`` are found again by too little."""
    original = encode._Emitter.emit

    def emit(self: Any, hint: str, operator: str, args: list[Any], **attrs: Any) -> Any:
        if operator != name:
            return original(self, hint, operator, args, **attrs)
        known = self.emitted.setdefault("planted", {})
        at = key(args, attrs)
        if at not in known:
            known[at] = original(self, hint, operator, args, **attrs)
        return known[at]

    patch.setattr(encode._Emitter, "emit", emit)


def bits_without_sense(patch: Patch) -> None:
    forgetful_emitter(
        patch,
        "encode_bitserial",
        lambda args, attrs: (args[0], array_of(args[1]).shape, attrs["code"]),
    )


def codes_without_sense(patch: Patch) -> None:
    forgetful_emitter(
        patch,
        "encode_int8",
        lambda args, attrs: (args[0], array_of(args[1]).shape, tuple(attrs["codes"])),
    )


def pools_without_turns(patch: Patch) -> None:
    forgetful_emitter(patch, "pool_bitserial", lambda args, attrs: (args[0], attrs["code"]))


def pooled_codes_without_turns(patch: Patch) -> None:
    forgetful_emitter(patch, "pool_int8", lambda args, attrs: (args[0], tuple(attrs["codes"])))


def padded_bits_without_level(patch: Patch) -> None:
    forgetful_emitter(patch, "pad_bitserial", lambda args, attrs: (args[0], "padding"))


def padded_codes_without_level(patch: Patch) -> None:
    forgetful_emitter(patch, "pad_int8", lambda args, attrs: (args[0], "padding"))


def colliding_weights(patch: Patch) -> None:
    def change(term: Any) -> Any:
        key = term.parts[0].key
        return replace(term, parts=tuple(replace(p, key=type(key)()) for p in term.parts))

    wrapped(patch, linear_reader, "term_of", change)


# ---- ties and thresholds ---------------------------------------------------------------


def changed_steps(patch: Patch, change: Callable[[Any], Any]) -> None:
    wrapped(
        patch,
        recognise_activations.Activations,
        "steps",
        lambda found: replace(found, steps=change(found.steps)),
    )


def ties_given_away(patch: Patch) -> None:
    patch.setattr(atoms.Atoms, "at", lambda self, first, last: np.zeros(first.shape, bool))


def changed_atoms(patch: Patch, names: tuple[str, ...], rule: Callable[[Any, Any], Any]) -> None:
    """Another rule of the atoms' analysis for some operators."""
    original = atom_analysis.AtomAnalysis.rule

    def changed(self: Any, var: Any, name: str | None, value: Any) -> Any:
        return rule(self, value) if name in names else original(self, var, name, value)

    patch.setattr(atom_analysis.AtomAnalysis, "rule", changed)


def pads_value_forgotten(patch: Patch) -> None:
    def rule(self: Any, call: Any) -> Any:
        data = call.args[1].fields[0] if len(call.args) > 1 else call.args[0]
        return self.of(data).spread()

    changed_atoms(patch, ("call_tir", "nn.pad"), rule)


def input_of_concat_forgotten(patch: Patch) -> None:
    original = atom_analysis.AtomAnalysis.concat

    def concat(self: Any, call: Any) -> Any:
        last = call.args[0].fields[-1]
        known = self.known.atoms
        self.known.atoms = {**known, last: atoms.NOWHERE}
        try:
            return original(self, call)
        finally:
            self.known.atoms = known

    patch.setattr(atom_analysis.AtomAnalysis, "concat", concat)


def unknown_taken_for_spread(patch: Patch) -> None:
    changed_atoms(patch, ("cumsum", "max"), lambda self, call: atoms.NOWHERE)


def one_float_off(patch: Patch) -> None:
    def change(steps: Any) -> Any:
        moved = steps.thresholds.copy()
        moved[0, 0] = np.nextafter(moved[0, 0], np.float32(np.inf))
        return replace(steps, thresholds=moved)

    changed_steps(patch, change)


def other_channels_thresholds(patch: Patch) -> None:
    changed_steps(patch, lambda s: replace(s, thresholds=np.roll(s.thresholds, 1, axis=1)))


def sense_of_one_channel(patch: Patch) -> None:
    def change(steps: Any) -> Any:
        sense = steps.sense.copy()
        sense[-1] = -sense[-1]
        return replace(steps, sense=sense)

    changed_steps(patch, change)


def levels_reversed(patch: Patch) -> None:
    changed_steps(patch, lambda s: replace(s, levels=s.levels[::-1].copy()))


def one_level_moved(patch: Patch) -> None:
    def change(steps: Any) -> Any:
        levels = steps.levels.copy()
        levels[1] *= np.float32(1 + 2.0**-12)
        return replace(steps, levels=levels)

    changed_steps(patch, change)


def integer_off_by_one(patch: Patch) -> None:
    original = accumulator.Accumulator.threshold

    def threshold(self: Any, t: np.ndarray) -> np.ndarray:
        found = original(self, t)
        return np.asarray(found + 2 * (np.arange(len(found)) == 1))

    patch.setattr(accumulator.Accumulator, "threshold", threshold)


def bias_dropped(patch: Patch) -> None:
    row = pointwise.TABLE["add"]
    patch.setitem(pointwise.TABLE, "add", replace(row, bounds=lambda a, b: a))


def relu_dropped(patch: Patch) -> None:
    row = pointwise.TABLE["nn.relu"]
    patch.setitem(pointwise.TABLE, "nn.relu", replace(row, bounds=lambda a: a))


# ---- weights ---------------------------------------------------------------------------


def changed_planes(patch: Patch, change: Callable[[Any], Any]) -> None:
    wrapped(patch, recognise_weights.weight_planes, "factor", change)


def joined_by_the_largest(patch: Patch) -> None:
    original = recognise_weights.weight_planes.factor

    def factor(weight: np.ndarray) -> Any:
        small = np.abs(weight) < 2.0**-22 * np.abs(weight).max()
        return original(np.where(small, np.float32(0), weight))

    patch.setattr(recognise_weights.weight_planes, "factor", factor)


def alpha_of_the_next_channel(patch: Patch) -> None:
    changed_planes(patch, lambda p: replace(p, alpha=np.roll(p.alpha, 1, axis=1)))


def channels_permuted(patch: Patch) -> None:
    changed_planes(patch, lambda p: replace(p, planes=np.roll(p.planes, 1, axis=-1)))


def kernel_turned(patch: Patch) -> None:
    changed_planes(patch, lambda p: replace(p, planes=p.planes.swapaxes(2, 3).copy()))


def one_sign_flipped(patch: Patch) -> None:
    def change(found: Any) -> Any:
        planes = found.planes.copy()
        planes[0, -1, -1, -1, -1] *= -1
        return replace(found, planes=planes)

    changed_planes(patch, change)


def scale_of_a_sum(patch: Patch) -> None:
    wrapped(patch, linear_form.Term, "plus", lambda t: replace(t, parts=t.parts[:1]))


def coefficient_forgotten(patch: Patch) -> None:
    def change(found: Any) -> Any:
        weight, members = found
        return weight, [(1.0, data) for _, data in members]

    wrapped(patch, joint_weights, "in_integers", change)


def power_not_put_back(patch: Patch) -> None:
    def change(one: Any) -> Any:
        return replace(one, steps=replace(one.steps, levels=one.steps.levels * np.float32(2)))

    wrapped(patch, activations.Activation, "scaled", change)


# ---- codes -----------------------------------------------------------------------------


def changed_code(patch: Patch, change: Callable[[Any], Any]) -> None:
    wrapped(patch, candidate, "best_code", change)


def plane_doubled(patch: Patch) -> None:
    changed_code(patch, lambda c: replace(c, weights=(2 * c.weights[0], *c.weights[1:])))


def base_moved(patch: Patch) -> None:
    changed_code(patch, lambda c: replace(c, base=c.base + c.weights[0]))


def planes_swapped(patch: Patch) -> None:
    changed_code(patch, lambda c: replace(c, weights=c.weights[::-1]))


def changed_bytes(patch: Patch, change: Callable[[Any], Any]) -> None:
    wrapped(patch, int8, "int8_form", lambda form: form and change(form))


def byte_scale(patch: Patch) -> None:
    changed_bytes(patch, lambda f: replace(f, scale=f.scale * np.float32(2)))


def byte_zero(patch: Patch) -> None:
    changed_bytes(patch, lambda f: replace(f, zero=f.zero + 1))


def byte_codes_swapped(patch: Patch) -> None:
    changed_bytes(patch, lambda f: replace(f, codes=(f.codes[1], f.codes[0], *f.codes[2:])))


def byte_weight(patch: Patch) -> None:
    def change(form: Any) -> Any:
        weights = form.weights.copy()
        weights[0, 0, 0, 0] += 1
        return replace(form, weights=weights)

    changed_bytes(patch, change)


def rounding_understated(patch: Patch) -> None:
    wrapped(patch, int8, "rounded", lambda near: replace(near, error=near.error / 20))


# ---- geometry --------------------------------------------------------------------------


def padding_on_one_side(patch: Patch) -> None:
    def change(attrs: dict[str, Any]) -> dict[str, Any]:
        top, left, bottom, right = attrs["padding"]
        return {**attrs, "padding": [top + bottom, left, 0, right]}

    wrapped(patch, bitserial, "window_attrs", change)


def groups_forgotten(patch: Patch) -> None:
    original = bitserial._encode

    def encoded(emitter: Any, step: Any, code: Any, groups: int) -> Any:
        return original(emitter, step, code, 1)

    patch.setattr(bitserial, "_encode", encoded)


def flattened_the_other_way(patch: Patch) -> None:
    def change(value: Any) -> Any:
        return replace(value, kind="flat_hwc") if value.kind == "flat_chw" else value

    wrapped(patch, moves, "flattened", change)


def pools_turned_round(patch: Patch) -> None:
    wrapped(patch, readings, "_turned", lambda t: None if t is None else ~t)


def pool_window(patch: Patch) -> None:
    def change(attrs: dict[str, Any]) -> dict[str, Any]:
        return {**attrs, "kernel": [1, 1], "padding": [0, 0, 0, 0]}

    wrapped(patch, readings.LayerReading, "pool_attributes", change)


def padded_by_another_level(patch: Patch) -> None:
    original = readings.LayerReading.padded_index

    def index(reading: Any) -> int:
        return 1 - original(reading) if original(reading) < 2 else 0

    patch.setattr(readings.LayerReading, "padded_index", index)


def padded_on_the_other_side(patch: Patch) -> None:
    wrapped(patch, readings.LayerReading, "padded_rows", lambda n: [n[2], n[1], n[0], n[3]])


def padded_in_no_channel(patch: Patch) -> None:
    """Bits of one channel alone are those of the level."""

    def change(packed: Any) -> Any:
        some = packed.copy()
        some[0, 0, 0] ^= 1
        return some

    wrapped(patch, bitserial, "packed_level", change)


# ---- moves -----------------------------------------------------------------------------


def changed_move(patch: Patch, change: Callable[[Move], Move]) -> None:
    wrapped(patch, travelled.Travelled, "move", change)


def next_channels(patch: Patch) -> None:
    changed_move(patch, lambda m: replace(m, channels=np.roll(m.channels, 1, axis=1)))


def sources_swapped(patch: Patch) -> None:
    changed_move(patch, lambda m: replace(m, source=(len(m.rows) - 1 - m.source).astype(np.int32)))


def rows_moved_by_one(patch: Patch) -> None:
    changed_move(patch, lambda m: replace(m, rows=np.roll(m.rows, 1, axis=2)))


def columns_turned_round(patch: Patch) -> None:
    changed_move(patch, lambda m: replace(m, columns=m.columns[..., ::-1].copy()))


def filled_with_another_level(patch: Patch) -> None:
    wrapped(patch, readings.LayerReading, "fill_index", lambda index: 0 if index else 1)


def levels_of_one_leaf(patch: Patch) -> None:
    """Each leaf keeps its own thresholds, though the levels are those of all together."""
    original = travelled.common_levels

    def common(leaves: Any, values: Any) -> Any:
        made = original(leaves, values)
        first = made[0].steps.thresholds
        return [
            replace(one, steps=replace(one.steps, thresholds=first))
            if one.steps.thresholds.shape == first.shape
            else one
            for one in made
        ]

    patch.setattr(travelled, "common_levels", common)


def copies_in_another_order(patch: Patch) -> None:
    def change(tables: Any) -> Any:
        rows, columns, channels, source = tables
        return rows, columns, np.repeat(channels[:, :3], channels.shape[1] // 3, 1), source

    wrapped(patch, recognise_activations, "copied", change)


def a_value_is_forgotten(patch: Patch) -> None:
    wrapped(patch, activations, "own_steps",
            lambda steps: replace(steps, levels=steps.levels[::-1].copy()))  # fmt: skip


def constants_of_another_step(patch: Patch) -> None:
    original = encode.make

    def make(name: str, args: list[Any], **attrs: Any) -> Any:
        if name == "encode_bitserial" and len(args) > 3:
            limits = array_of(args[1])
            args = [args[0], const(np.roll(limits, 1, axis=1)), *args[2:]]
        return original(name, args, **attrs)

    patch.setattr(encode, "make", make)


PLANTS: dict[str, Plant] = {
    "a step is remembered without its sense": Plant(steps_without_sense, networks.both_signs),
    "bits are remembered without their sense": Plant(bits_without_sense, networks.both_signs),
    "codes are remembered without their sense": Plant(
        codes_without_sense, networks.both_signs, "int8"
    ),
    "a pool of bits is remembered without its turns": Plant(
        pools_without_turns, networks.both_signs_pooled
    ),
    "a pool of codes is remembered without its turns": Plant(
        pooled_codes_without_turns, networks.both_signs_pooled, "int8"
    ),
    "padded bits are remembered without their level": Plant(
        padded_bits_without_level, networks.one_padding_of_two_levels
    ),
    "padded codes are remembered without their level": Plant(
        padded_codes_without_level, networks.one_padding_of_two_levels, "int8"
    ),
    "weights of one hash are one weight": Plant(colliding_weights, networks.spelled),
    "a tie at a ReLU's bound before a pool": Plant(ties_given_away, networks.pooled_relu),
    "the zeros of a Pad are no atom": Plant(pads_value_forgotten, networks.padded_by),
    "the halves of a Pad are no atom": Plant(pads_value_forgotten, lambda: networks.padded_by(0.5)),
    "an input of Concat has no atoms": Plant(input_of_concat_forgotten, networks.put_together),
    "an unknown operator has no atoms": Plant(unknown_taken_for_spread, networks.summed_up),
    "a largest value has no atoms": Plant(unknown_taken_for_spread, networks.without_the_largest),
    "weights joined relative to the largest": Plant(joined_by_the_largest, networks.uneven_weights),
    "a threshold one float off": Plant(one_float_off, networks.two_layers),
    "thresholds of the next channel": Plant(other_channels_thresholds, networks.two_layers),
    "the sense of one channel": Plant(sense_of_one_channel, networks.two_layers),
    "levels in the other order": Plant(levels_reversed, networks.two_layers),
    "a level moved": Plant(one_level_moved, networks.levels),
    "an integer threshold off by one": Plant(integer_off_by_one, networks.two_layers),
    "integer thresholds of the next channel": Plant(constants_of_another_step, networks.two_layers),
    "a bias left out of a threshold": Plant(bias_dropped, networks.two_layers),
    "a ReLU left out of a threshold": Plant(relu_dropped, networks.pooled_relu),
    "alpha of the next channel": Plant(alpha_of_the_next_channel, networks.shuffled),
    "input channels permuted": Plant(channels_permuted, networks.two_layers),
    "a kernel's rows for its columns": Plant(kernel_turned, networks.two_layers),
    "one sign of a plane": Plant(one_sign_flipped, networks.two_layers),
    "a base left out of a sum": Plant(scale_of_a_sum, networks.spelled),
    "coefficients of a sum forgotten": Plant(coefficient_forgotten, networks.spelled),
    "a power of two not put back": Plant(power_not_put_back, networks.levels),
    "a plane's weight doubled": Plant(plane_doubled, networks.levels),
    "the base of a code": Plant(base_moved, networks.levels),
    "planes in the other order": Plant(planes_swapped, networks.levels),
    "the scale of bytes": Plant(byte_scale, networks.levels, "int8"),
    "the zero of bytes": Plant(byte_zero, networks.levels, "int8"),
    "two codes swapped": Plant(byte_codes_swapped, networks.levels, "int8"),
    "one weight of bytes": Plant(byte_weight, networks.levels, "int8"),
    "rounding understated": Plant(rounding_understated, networks.rounded, "int8", 0.1),
    "padding on one side": Plant(padding_on_one_side, lambda: networks.two_layers(pad=1)),
    "groups of the packed bits": Plant(groups_forgotten, networks.levels),
    "an image flattened the other way": Plant(flattened_the_other_way, networks.flattened),
    "a pool turned round": Plant(pools_turned_round, networks.both_signs_pooled),
    "a pool of one pixel": Plant(pool_window, networks.both_signs_pooled),
    "bits are padded by another level": Plant(padded_by_another_level, networks.padded_levels),
    "two bits are padded by another level": Plant(
        padded_by_another_level, lambda: networks.padded_levels(3)
    ),
    "codes are padded by another level": Plant(
        padded_by_another_level, networks.padded_levels, "int8"
    ),
    "channels that are moved to the next one": Plant(next_channels, networks.moved_levels),
    "codes that are moved to the next channel": Plant(next_channels, networks.moved_levels, "int8"),
    "sources of a move swapped": Plant(sources_swapped, networks.moved_levels),
    "rows moved by one": Plant(rows_moved_by_one, networks.moved_levels),
    "columns turned round": Plant(columns_turned_round, networks.moved_levels, "int8"),
    "a hole filled with another level": Plant(filled_with_another_level, networks.moved_levels),
    "a hole filled with another code": Plant(
        filled_with_another_level, networks.moved_levels, "int8"
    ),
    "thresholds of another leaf": Plant(levels_of_one_leaf, networks.moved_levels),
    "copies in another order": Plant(copies_in_another_order, networks.thermometer),
    "values of a tensor turned round": Plant(a_value_is_forgotten, networks.xnor),
    "the other side is padded by a level": Plant(padded_on_the_other_side, networks.padded_levels),
    "one channel is padded by another level": Plant(padded_in_no_channel, networks.padded_levels),
}


def main() -> None:
    """Plant every fault and say what came of it."""
    caught = 0
    for name, plant in PLANTS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("ABC_TVM_SECOND_OPINION", raising=False)
            plant.plant(patch)
            opinion = networks.judged(plant.network(), plant.lowering, plant.allow_int8)[0]
        caught += bool(opinion.wrong)
        reason = next(iter(opinion.wrong.values()), "NOT SEEN")
        print(f"{name}: {reason}")
    print(f"caught {caught} of {len(PLANTS)}")


if __name__ == "__main__":
    main()
