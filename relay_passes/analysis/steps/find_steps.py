"""The step function that a chain computes, found by evaluating it and not by how it is spelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from abc_tvm.relay_passes.analysis.pointwise import Bounds
from abc_tvm.relay_passes.analysis.steps.constant_pieces import Pieces, distinct_pieces, joined
from abc_tvm.relay_passes.analysis.steps.float_order import from_key
from abc_tvm.relay_passes.analysis.steps.step_function import (
    MAX_THRESHOLDS,
    MOST_THRESHOLDS,
    NotAStep,
    StepFunction,
)
from abc_tvm.relay_passes.analysis.steps.ties import AtomsAt, has_tie, without_ties


def find_steps(
    chain: Callable[[Bounds], Bounds],
    channels: int,
    *,
    levels: np.ndarray | None = None,
) -> StepFunction:
    """The step function that ``chain`` computes.

    ``chain`` maps bounds float32 ``[P, C]`` of inputs to bounds ``[P, C]`` of results. ``levels``
    float32 ``[N + 1]`` fixes the levels (some may then never be taken).

    Raises:
        NotAStep: It computes none; the message says why.
    """
    pieces, same = distinct_pieces(chain, channels)
    return _shared(pieces, same, levels)


def find_steps_without_ties(
    chain: Callable[[Bounds], Bounds], channels: int, atoms: AtomsAt
) -> tuple[StepFunction, int]:
    """The step function of ``chain`` without ties that are met by accident only.

    ONNX's ``Sign`` has a level of its own at a tie, ``Sign(0) = 0``. Where the input is spread
    continuously that point goes to the side of ``>=``, as the paper defines it, which saves the
    plane that the level would cost; where ``atoms`` says that the input can lie there, it stays.
    Beside the function: how many thresholds it has without any tie.

    Raises:
        NotAStep: The chain computes no step function; the message says why.
    """
    pieces, same = distinct_pieces(chain, channels)
    pieces = [joined(*piece) for piece in pieces]
    if not any(has_tie(start, value) for start, value in pieces):
        steps = _shared(pieces, same, None)
        return steps, len(steps.thresholds)
    # Channels of one chain may still have atoms of their own.
    pieces, same = [pieces[i] for i in same], np.arange(channels)
    plain, kept = without_ties(pieces, chain, atoms)
    if kept is None:
        steps = _shared(plain, same, None)
        return steps, len(steps.thresholds)
    steps = _shared(kept, same, None)
    try:
        return steps, len(_shared(plain, same, None).thresholds)
    except NotAStep:
        return steps, len(steps.thresholds)


def common_form(per_channel: Sequence[Pieces]) -> StepFunction:
    """Channels of a few values each, with one list of levels.

    Of each channel: the keys of its jumps, ascending, and the values between them.

    Raises:
        NotAStep: No one list of levels fits all channels.
    """
    return _normal_form(per_channel, None)


def _shared(pieces: Sequence[Pieces], same: np.ndarray, levels: np.ndarray | None) -> StepFunction:
    """The step function of channels that are each ``pieces[same]``."""
    distinct = _normal_form([_merge(*piece) for piece in pieces], levels)
    count, channels = len(distinct.thresholds), len(same)
    if count * channels > MOST_THRESHOLDS:
        raise NotAStep(
            f"{count} thresholds for each of {channels:,} channels are more than the "
            f"{MOST_THRESHOLDS:,} that a step may have"
        )
    return StepFunction(distinct.thresholds[:, same], distinct.sense[same], distinct.levels)


def _merge(start: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop borders between pieces of equal value: keys of the jumps, and the values."""
    start, value = joined(start, value)
    keys = start[1:]
    if np.any(keys == 0):
        raise NotAStep("the activation tells -0.0 from 0.0, which no comparison can")
    return keys, value


def _normal_form(per_channel: Sequence[Pieces], levels: np.ndarray | None) -> StepFunction:
    """One list of levels for all channels, each channel with its own thresholds and sense."""
    if levels is None:
        levels = _common_levels([values for _, values in per_channel])
    if len(levels) == 1:  # constant in every channel: one threshold that is never passed
        levels = np.array([levels[0], levels[0] + max(1, abs(float(levels[0])))], np.float32)
        if not np.isfinite(levels).all():
            raise NotAStep(f"the activation is constant, and as large as {levels[0]:g}")
    count = len(levels) - 1
    if count > MAX_THRESHOLDS:
        raise NotAStep(f"the activation has {count + 1} levels, more than {MAX_THRESHOLDS + 1}")
    thresholds = np.empty((count, len(per_channel)), np.float32)
    sense = np.ones(len(per_channel), np.int8)
    for c, (keys, values) in enumerate(per_channel):
        rising = _thresholds(keys, values, levels)
        if rising is None:
            rising = _thresholds(keys, values, levels[::-1])
            sense[c] = -1
        if rising is None:
            raise NotAStep("channels step through different levels, so no one set of planes fits")
        thresholds[:, c] = rising
    return StepFunction(thresholds, sense, levels.astype(np.float32))


def _common_levels(per_channel: list[np.ndarray]) -> np.ndarray:
    """The levels of the channel that has most, or of all together where each rises or falls."""
    levels = max(per_channel, key=len)
    union = np.unique(np.concatenate(per_channel))
    if len(union) > len(levels) and all(_monotone(values) for values in per_channel):
        levels = union
    return np.sort(levels) if _monotone(levels) else levels


def _monotone(values: np.ndarray) -> bool:
    difference = np.diff(values)
    return bool(np.all(difference > 0) or np.all(difference < 0))


def _thresholds(keys: np.ndarray, values: np.ndarray, levels: np.ndarray) -> np.ndarray | None:
    """``[N]`` thresholds at which the channel passes each level, or ``None`` if it does not."""
    jumps = from_key(keys)
    if np.array_equal(values, levels):  # it takes them all
        return jumps
    where = []
    at = 0
    for value in values:
        hits = np.nonzero(levels[at:] == value)[0]
        if len(hits) == 0:
            return None
        at += int(hits[0])
        where.append(at)
    thresholds = np.full(len(levels) - 1, np.inf, np.float32)
    thresholds[: where[0]] = -np.inf
    for jump, before, after in zip(jumps, where[:-1], where[1:], strict=True):
        thresholds[before:after] = jump
    return thresholds
