"""What a tuning record says about a kernel: one point of the search space."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
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

    def words(self) -> dict[str, str]:
        """The knobs by name, as words without spaces; :meth:`of` reads them."""
        tile = {name: str(value) for name, value in asdict(self.tile).items()}
        rest = {"count": self.count, "taps": self.taps, "order": self.order}
        return {**tile, **rest, "tasks": str(self.tasks)}

    @staticmethod
    def of(words: dict[str, str]) -> Choice:
        """The choice that :meth:`words` wrote. Raises ``ValueError`` for anything else."""
        from .cuda.space import CudaChoice, is_cuda_choice  # made of this module's class

        if is_cuda_choice(words):
            return CudaChoice.of(words)
        extents = [knob.name for knob in fields(Tile)]
        numbers = {n: words.get(n, "") for n in (*extents, "tasks")}
        names = {"count": COUNTS, "taps": TAPS, "order": ORDERS}
        if (
            words.keys() != numbers.keys() | names.keys()
            or not all(n.isascii() and n.isdigit() and int(n) > 0 for n in numbers.values())
            or not all(words[name] in known for name, known in names.items())
        ):
            raise ValueError(f"not a choice: {words}")
        *tile, tasks = (int(n) for n in numbers.values())
        knobs: dict[str, Any] = {name: words[name] for name in names}
        return Choice(Tile(*tile), tasks=tasks, **knobs)

    def __str__(self) -> str:
        tile = f"{self.tile.rows}x{self.tile.columns}x{self.tile.blocks}"
        parts = [tile, self.count]
        parts += [f"taps {self.taps}"] if self.taps != "auto" else []
        parts += [f"{self.order} first"] if self.order != "weights" else []
        parts += [f"{self.tasks} tasks"] if self.tasks != TASKS else []
        return ", ".join(parts)
