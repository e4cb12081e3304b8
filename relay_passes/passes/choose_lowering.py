"""For each layer the lowering that takes least: never a slower layer than the float one.

1. Every lowering is asked what the layer would cost (:mod:`.lowerings`); float costs 1.
2. The cheapest is taken of those that may be; where a lowering was asked for, that one wherever it
   is possible.
3. Where tuning records have the times of a layer in every lowering that is in doubt, those decide.
4. A lowering that needs other values (rounded scales and levels) gets them here: the step behind
   the layer, and the pooling and padding between, are written once more with those levels.

Where float is left, ``abc.bconv2d`` goes back to ``nn.conv2d`` on the levels, and the layer's row
says by how much the others are dearer.
"""

from __future__ import annotations

from dataclasses import replace

import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.padding import level_index, pad, padding_of
from abc_tvm.relay_passes.analysis.steps.readings import reading_of
from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.context import Context, LayerRow, Measured, Rivals
from abc_tvm.relay_passes.lowerings.candidate import HINT, Candidate, Moved, Offer
from abc_tvm.relay_passes.lowerings.doubt import in_doubt, layer_key
from abc_tvm.relay_passes.lowerings.table import FLOAT, lowerings
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import (
    Content,
    const,
    content,
    emit,
    hint,
    op_name,
    rebuild,
    substitute,
)

SEAM = 0.8
"""What a measured lowering must take of the time of the one that costs least, to replace it.

Between layers of two kinds levels are written beside the bits, which no layer's time contains: of
ABC ResNet-18 (3, 3), float shortcuts save an eighth of their own time, and the network is slower.
"""


class ChooseLowering:
    """Every ``abc.bconv2d`` stays, for the lowering in its row, or becomes ``nn.conv2d``."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        self.lowerings = {one.name: one for one in lowerings()}
        self.defined: dict[relax.Var, relax.Expr] = {}
        self.moved: dict[Content, relax.Var] = {}

        def visit(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            new = value
            if op_name(value) == "abc.bconv2d":
                new = self.choose(builder, self.context.layers[hint(var)], value)
            expr = emit(builder, new, hint(var))
            self.defined[expr] = new
            return expr

        return rebuild(mod, visit)

    def choose(self, builder: relax.BlockBuilder, layer: LayerRow, call: relax.Call) -> relax.Call:
        context = self.context
        steps = steps_of(self.step_behind(call))
        candidate = Candidate(call, steps, context.device, layer.N, context.allow_int8)
        offers = self.offers(candidate)
        costs = {name: offer.cost for name, offer in offers.items() if not offer.refused}
        key = layer_key(candidate.window, candidate.M, candidate.code.planes, len(steps.thresholds))
        context.rivals[layer.name] = Rivals(key, costs)
        measured = self.measured(key, costs)
        name = expected = min(costs, key=lambda one: costs[one])
        if measured is not None:
            seconds = measured.seconds
            if seconds[measured.winner] < SEAM * seconds[expected]:
                name = measured.winner
        if context.lowering in costs:
            name = context.lowering
        refused = _refused(offers, min(costs.values()))
        chosen, offer = self.lowerings[name], offers[name]
        if name == FLOAT:
            if measured is not None:
                times = ", ".join(f"{k} {s * 1e6:.1f} µs" for k, s in measured.seconds.items())
                layer.reason = f"measured on {context.device.name}: {times}"
            else:
                dearer = next((one.dearer for one in offers.values() if one.dearer), "")
                layer.reason = (dearer + refused).removeprefix("; ") or self.no_other(costs)
            return chosen.taken(call)
        outcome = chosen.outcome(candidate, offer)
        layer.lowering, layer.weight_bytes = name, outcome.weight_bytes
        layer.reason = (outcome.reason + refused).removeprefix("; ")
        layer.error_bound = outcome.error_bound
        if offer.moved is not None:
            data = self.with_levels(builder, call.args[0], offer.moved)
            alpha = const(offer.moved.alpha)
            call = relax.Call(call.op, [data, call.args[1], alpha, call.args[3]], call.attrs)
        return chosen.taken(call)

    def no_other(self, costs: dict[str, float]) -> str:
        """Why a layer is in float where no lowering says it."""
        if self.context.lowering in (FLOAT, "auto") or self.context.lowering in costs:
            return "no other lowering has an exact form of it that is quicker"
        return f"it has no exact form on {self.context.lowering}"

    def offers(self, candidate: Candidate) -> dict[str, Offer]:
        """Case 1: what each lowering would cost, where it is possible at all."""
        offers: dict[str, Offer] = {}
        rival = float("inf")
        for name, lowering in self.lowerings.items():
            offer = lowering.offer(candidate, rival)
            if offer is not None:
                if not 0 < offer.cost < float("inf"):
                    raise TypeError(f"the lowering {name!r} offers a cost of {offer.cost}")
                offers[name] = offer
                rival = rival if offer.refused else min(rival, offer.cost)
        return offers

    def measured(self, key: str, costs: dict[str, float]) -> Measured | None:
        """Case 3: what records say of those in doubt; ``None`` where one was not measured."""
        if self.context.records is None or self.context.lowering != "auto":
            return None
        recorded, names = self.context.records.lowering(key), in_doubt(costs)
        if recorded is None or len(names) < 2 or not set(names) <= recorded.seconds.keys():
            return None
        return Measured({name: recorded.seconds[name] for name in names})

    def step_behind(self, call: relax.Call) -> relax.Call:
        """The step of a layer; of several that were put together the first: their levels are one"""
        return reading_of(call.args[0], self.defined).step

    def with_levels(self, builder: relax.BlockBuilder, data: relax.Var, near: Moved) -> relax.Var:
        """Case 4: the step, and pooling and padding behind it, with other levels."""
        key = content(data, near.levels)
        if key not in self.moved:
            call = self.defined[data]
            padding = padding_of(call)
            if padding is not None:
                old = steps_of(reading_of(data, self.defined).step).levels
                index = level_index(padding.value, old)
                if index is None:
                    raise TypeError("a layer reads padding that is no level of its step")
                inner = self.with_levels(builder, call.args[0], near)
                new = pad(inner, replace(padding, value=float(near.levels[index])))
            elif op_name(call) == "abc.move":
                parts = [self.with_levels(builder, leaf, near) for leaf in call.args[:-4]]
                old = steps_of(reading_of(data, self.defined).step).levels
                index = level_index(float(call.attrs["fill"]), old)
                fill = 0.0 if index is None else float(near.levels[index])
                new = make("move", [*parts, *call.args[-4:]], fill=fill)
            elif op_name(call) == "nn.max_pool2d":
                inner = self.with_levels(builder, call.args[0], near)
                new = substitute(call, {call.args[0]: inner})
            else:
                new = relax.Call(call.op, [*call.args[:3], const(near.levels)], call.attrs)
            expr = builder.emit(new, hint(data))
            self.defined[expr] = new
            self.moved[key] = expr
        return self.moved[key]


def _refused(offers: dict[str, Offer], least: float) -> str:
    """What a row says of lowerings that would be quicker but may not be taken."""
    return "".join(
        f"; {name} would take {offer.cost:.2f}x the time of float, but {offer.refused}"
        for name, offer in offers.items()
        if offer.refused and offer.cost < HINT * least
    )
