"""What a tuning record says about a kernel: one point of the search space."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from abc_tvm.compute.accumulate import PLANES, Tile

from .blocks import TASKS

Count = Literal["popcount", "nibble"]
Taps = Literal["auto", "row", "column", "all", "none"]
Order = Literal["weights", "pixels"]
Cut = Literal["rows", "columns", "none"]

COUNTS: tuple[Count, ...] = get_args(Count)
TAPS: tuple[Taps, ...] = get_args(Taps)
ORDERS: tuple[Order, ...] = get_args(Order)
CUTS: tuple[Cut, ...] = get_args(Cut)


Knob = str | int
"""A value of one field of a :class:`Choice`, its tile aside."""


@dataclass(frozen=True)
class Choice:
    """How one fused convolution runs on a processor.

    A family with other knobs derives its own class, whose words begin with the family's ``isa`` and
    an underscore; :func:`.families.choice_of` reads those of every family.

    ``count``: how differing bits are counted (floats ignore it). ``taps``: which reduction loops
    are fused, see :func:`.processor.window.fuse_taps`. ``order``: "weights" keeps a block of
    weights and walks the rows, "pixels" keeps a row and walks the blocks. ``unroll``: steps of
    the innermost reduction loop in one turn. ``cut``: what one step of the parallel loop computes,
    a row of tiles or (at "columns") a tile; pooling may have no parallel loop ("none"). ``tasks``:
    tasks a core of the parallel loop, where a task has memory of its own.
    """

    tile: Tile = field(default_factory=Tile)
    count: Count = "popcount"
    taps: Taps = "auto"
    order: Order = "weights"
    unroll: int = 1
    cut: Cut = "rows"
    tasks: int = TASKS

    def json(self) -> dict[str, object]:
        """The choice as JSON."""
        return asdict(self)

    def words(self) -> dict[str, str]:
        """The knobs by name, as words without spaces; :meth:`of` reads them."""
        knobs = {**asdict(self.tile), **asdict(self)}
        return {name: str(value) for name, value in knobs.items() if name != "tile"}

    @staticmethod
    def of(words: dict[str, str]) -> Choice:
        """The choice that :meth:`words` wrote. Raises ``ValueError`` for anything else."""
        extents = [knob.name for knob in fields(Tile) if knob.name != "planes"]
        numbers = {n: words.get(n, "") for n in (*extents, "unroll", "tasks")}
        if (
            words.keys() != numbers.keys() | _WORDS.keys()
            or not all(n.isascii() and n.isdigit() and int(n) > 0 for n in numbers.values())
            or not all(words[name] in known for name, known in _WORDS.items())
        ):
            raise ValueError(f"not a choice: {words}")
        rows, columns, count, parts, unroll, tasks = (int(n) for n in numbers.values())
        knobs: dict[str, Any] = {name: words[name] for name in _WORDS}
        tile = Tile(rows, columns, count, parts, knobs.pop("planes"))
        return Choice(tile, unroll=unroll, tasks=tasks, **knobs)

    def __str__(self) -> str:
        tile = f"{self.tile.rows}x{self.tile.columns}x{self.tile.blocks}"
        tile += f"/{self.tile.parts}" if self.tile.parts > 1 else ""
        parts = [tile, self.count]
        parts += [f"taps {self.taps}"] if self.taps != "auto" else []
        parts += [f"{self.order} first"] if self.order != "weights" else []
        parts += [f"planes {self.tile.planes}"] if self.tile.planes != "inside" else []
        parts += [f"unroll {self.unroll}"] if self.unroll > 1 else []
        parts += [f"cut {self.cut}"] if self.cut != "rows" else []
        parts += [f"{self.tasks} tasks"] if self.tasks != TASKS else []
        return ", ".join(parts)


_WORDS: dict[str, tuple[str, ...]] = {
    "count": COUNTS,
    "taps": TAPS,
    "order": ORDERS,
    "planes": PLANES,
    "cut": CUTS,
}
