"""Between which lowerings of a layer only a measurement decides, and what it is recorded under."""

from __future__ import annotations

from abc_tvm.compute.geometry import Window

DOUBT = 2.5
"""Costs within this factor of the least may be wrong: tuning measures these lowerings."""


def in_doubt(costs: dict[str, float]) -> list[str]:
    """Lowerings that may be the fastest, the one that costs least first."""
    names = sorted(costs, key=lambda name: costs[name])
    return [name for name in names if costs[name] < DOUBT * costs[names[0]]]


def layer_key(window: Window, bases: int, planes: int, thresholds: int) -> str:
    """What decides how long a layer takes in any lowering; one word, the batch left out."""
    facts = [
        f"{window.height}x{window.width}x{window.in_channels}",
        f"o{window.out_channels}",
        "k{}x{}".format(*window.kernel),
        "s{}x{}".format(*window.stride),
        "p" + "x".join(map(str, window.padding)),
        "d{}x{}".format(*window.dilation),
        f"g{window.groups}",
        f"M{bases}",
        f"P{planes}",
        f"T{thresholds}",
    ]
    return "-".join(facts)
