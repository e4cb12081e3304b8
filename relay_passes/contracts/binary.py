"""What holds of binary layers in levels: planes, scales, and the steps that they read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.padding import pads_levels, unpadded
from abc_tvm.relay_passes.analysis.steps.step_function import MAX_THRESHOLDS, StepFunction, steps_of
from abc_tvm.relay_passes.analysis.weights.accumulator import integer_form
from abc_tvm.relay_passes.contracts.contract import all_calls, functions
from abc_tvm.relay_passes.ops import LEVELS, conv_window
from abc_tvm.relay_passes.rewrite import (
    Definitions,
    bindings,
    constant,
    definitions,
    hint,
    op_name,
    shape_of,
)

_OWN, _TERMS = 2.0**-19, 2.0**-21
"""What planes may differ from a weight by, of the weight and of all scales of its channel."""


def planes_are_signs(mod: tvm.IRModule) -> Iterator[str]:
    """Every ``abc.bconv2d`` has int8 planes ``[M, OC, KH, KW, IC/g]`` of ±1, finite scales
    float32 ``[M, OC]``, and the weights that they are, float32 ``[OC, KH, KW, IC/g]``."""
    for var, call in all_calls(mod, "abc.bconv2d"):
        planes, alpha, weight = (constant(a) for a in call.args[1:4])
        if planes is None or alpha is None or weight is None:
            yield f"{hint(var)}: planes, scales or weights are no constants"
        elif planes.dtype != np.int8 or planes.ndim != 5 or not np.all(np.abs(planes) == 1):
            yield f"{hint(var)}: the planes are not int8 ±1 of five dimensions"
        elif alpha.dtype != np.float32 or alpha.shape != planes.shape[:2]:
            yield f"{hint(var)}: scales {alpha.dtype} {alpha.shape} for planes {planes.shape}"
        elif not np.all(np.isfinite(alpha)):
            yield f"{hint(var)}: a scale is not finite"
        elif weight.dtype != np.float32 or weight.shape != planes.shape[1:]:
            yield f"{hint(var)}: weights {weight.dtype} {weight.shape} of planes {planes.shape}"
        elif conv_window(call).group_in != planes.shape[4]:
            yield f"{hint(var)}: planes of {planes.shape[4]} input channels a group"


def planes_give_the_weights(mod: tvm.IRModule) -> Iterator[str]:
    """``sum_m alpha_m planes_m`` is the weights of every ``abc.bconv2d``, within their rounding."""
    for var, call in all_calls(mod, "abc.bconv2d"):
        planes, alpha, weight = (constant(a) for a in call.args[1:4])
        if planes is None or alpha is None or weight is None:
            continue
        scale = alpha.astype(np.float64)[:, :, None, None, None]
        total = np.zeros(weight.shape)
        for plane, one in zip(planes, scale, strict=True):
            total += one * plane
        allowed = _OWN * np.abs(weight) + _TERMS * np.abs(scale).sum(0)
        if not np.all(np.abs(total - weight) <= allowed):
            yield f"{hint(var)}: the planes are not the weights"


def binary_convolutions_read_steps(mod: tvm.IRModule) -> Iterator[str]:
    """Every ``abc.bconv2d``, and each factor of every ``abc.product``, is a step, or a max-pool of
    a step whose levels rise; or a move of such, all of the same levels; or any of these padded by a
    level of the step."""
    for function in functions(mod).values():
        defined = definitions(function)
        for var, call in bindings(function):
            for read in _read(call):
                yield from _no_step(hint(var), read, defined)


def _read(call: relax.Expr) -> list[relax.Expr]:
    """What a layer in levels reads."""
    if op_name(call) == "abc.product":
        return list(call.args)
    return [call.args[0]] if op_name(call) == "abc.bconv2d" else []


def _no_step(name: str, read: relax.Expr, defined: Definitions) -> Iterator[str]:
    data, pad = unpadded(read, defined)
    source: relax.Expr = defined.get(data)
    leaves = list(source.args[:-4]) if op_name(source) == "abc.move" else [data]
    levels = set()
    for leaf in leaves:
        source = defined.get(leaf)
        pooled = op_name(source) == "nn.max_pool2d"
        if pooled:
            source = defined.get(source.args[0])
        if op_name(source) not in LEVELS:
            yield f"{name} reads {op_name(source) or 'an input'}, not a step"
            continue
        levels.add(steps_of(source).levels.tobytes())
        if pooled and not steps_of(source).rising:
            yield f"{name} reads a max-pool of levels that do not rise"
        elif pad is not None and not pads_levels(pad, source):
            yield f"{name} reads padding that is no level of its step"
    if len(levels) > 1:
        yield f"{name} reads steps of several levels at once"


def steps_are_in_order(mod: tvm.IRModule) -> Iterator[str]:
    """Every step has 1 to 255 thresholds a channel, ascending, as many channels as its input, a
    sense of ±1 for each, and finite levels, one more than thresholds; ``abc.count_step`` has
    int32 thresholds of the same shape, ascending too."""
    for var, call in all_calls(mod, *LEVELS):
        if any(constant(a) is None for a in call.args[1:]):
            yield f"{hint(var)}: thresholds, sense or levels are no constants"
            continue
        steps = steps_of(call)
        fault = _fault(steps, shape_of(call.args[0])[-1])
        if fault:
            yield f"{hint(var)}: {fault}"
        elif op_name(call) == "abc.count_step":
            whole = constant(call.args[1])
            if whole is None or whole.dtype != np.int32 or whole.shape != steps.thresholds.shape:
                yield f"{hint(var)}: integer thresholds are not int32 {steps.thresholds.shape}"
            elif np.any(np.diff(whole.astype(np.int64), axis=0) < 0):
                yield f"{hint(var)}: integer thresholds do not ascend"


def _fault(steps: StepFunction, channels: object) -> str:
    thresholds, sense, levels = steps.thresholds, steps.sense, steps.levels
    if thresholds.dtype != np.float32 or thresholds.ndim != 2:
        return "thresholds are not float32 of two dimensions"
    if not 1 <= len(thresholds) <= MAX_THRESHOLDS:
        return f"{len(thresholds)} thresholds"
    if thresholds.shape[1] != channels:
        return f"thresholds of {thresholds.shape[1]} channels for an input of {channels}"
    if np.isnan(thresholds).any() or np.any(thresholds[1:] < thresholds[:-1]):
        return "thresholds do not ascend"
    if sense.shape != thresholds.shape[1:] or not np.all(np.abs(sense.astype(int)) == 1):
        return "the sense is not ±1 for each channel"
    if levels.dtype != np.float32 or levels.shape != (len(thresholds) + 1,):
        return f"levels {levels.dtype} {levels.shape} for {len(thresholds)} thresholds"
    return "" if np.all(np.isfinite(levels)) else "a level is not finite"


def accumulators_are_compared_as_integers(mod: tvm.IRModule) -> Iterator[str]:
    """No ``abc.step`` reads a convolution of an ``abc.step`` that has an integer form; what
    ``abc.count_step`` compares its accumulator with is the least at which the float comparison
    holds."""
    for function in functions(mod).values():
        defined = definitions(function)
        for var, call in bindings(function):
            if op_name(call) not in LEVELS:
                continue
            exact = integer_form(defined.get(call.args[0]), defined)
            if op_name(call) == "abc.step":
                if exact is not None:
                    yield f"{hint(var)} compares floats of an integer accumulator"
                continue
            whole = constant(call.args[1])
            if exact is None or whole is None:
                yield f"{hint(var)} reads no integer accumulator"
                continue
            for at, t in zip(whole.astype(np.int64), steps_of(call).thresholds, strict=True):
                above = (exact.value(at) >= t) | (at > exact.bound)
                below = (exact.value(at - 1) < t) | (at - 1 < -exact.bound)
                if not np.all(above & below):
                    yield f"{hint(var)}: an integer threshold is not the float one"
