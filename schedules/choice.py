"""What a tuning record says about a kernel: one point of the search space."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from abc_tvm.compute.accumulate import Tile

from .blocks import TASKS

Count = Literal["popcount", "nibble"]
Taps = Literal["auto", "row", "column", "all", "none"]
Order = Literal["weights", "pixels"]

COUNTS: tuple[Count, ...] = get_args(Count)
TAPS: tuple[Taps, ...] = get_args(Taps)
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True)
class Choice:
    """How one fused convolution runs.

    ``count``: how differing bits are counted (floats ignore it). ``taps``: which reduction loops
    are fused, see :func:`abc_tvm.schedules.window.fuse_taps`. ``order``: "weights" keeps a block
    of weights and walks the rows, "pixels" keeps a row and walks the blocks. ``tasks``: tasks a
    core of the parallel loop, where a task has memory of its own.
    """

    tile: Tile = field(default_factory=Tile)
    count: Count = "popcount"
    taps: Taps = "auto"
    order: Order = "weights"
    tasks: int = TASKS

    def json(self) -> dict[str, Any]:
        """The choice as JSON."""
        return asdict(self)

    @staticmethod
    def of(value: Any) -> Choice:
        """The choice that :meth:`json` wrote. Raises ``ValueError`` for anything else."""
        try:
            tile = Tile(**value["tile"])
            choice = Choice(tile, **{k: v for k, v in value.items() if k != "tile"})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a choice: {error}") from error
        numbers = (tile.rows, tile.columns, tile.blocks, choice.tasks)
        if (
            not all(type(n) is int and n > 0 for n in numbers)
            or choice.count not in COUNTS
            or choice.taps not in TAPS
            or choice.order not in ORDERS
        ):
            raise ValueError(f"not a choice: {value}")
        return choice

    def __str__(self) -> str:
        tile = f"{self.tile.rows}x{self.tile.columns}x{self.tile.blocks}"
        parts = [tile, self.count]
        parts += [f"taps {self.taps}"] if self.taps != "auto" else []
        parts += [f"{self.order} first"] if self.order != "weights" else []
        parts += [f"{self.tasks} tasks"] if self.tasks != TASKS else []
        return ", ".join(parts)
