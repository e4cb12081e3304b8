"""The search space of a convolution on a GPU: tiles of both units, and what a record says of one.

Every point leaves the result as it is. The rule of :mod:`.tiles` ranks them; it is analytic, so a
search should measure more than its first few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.space import Space

from .tiles import UNITS, BlockTile, candidates, choose, clocks

PREFIX = "cuda_"
"""Beginning of the words of a choice: the family's name, as everywhere."""


@dataclass(frozen=True)
class CudaChoice(Choice):
    """How one fused convolution runs on a GPU; the knobs of processors stay at their defaults."""

    block: BlockTile = field(default_factory=BlockTile)

    def json(self) -> dict[str, object]:
        """The choice as JSON."""
        return {"block": asdict(self.block)}

    def words(self) -> dict[str, str]:
        """The knobs by name, as words without spaces; :meth:`of` reads them."""
        return {f"{PREFIX}{name}": str(value) for name, value in asdict(self.block).items()}

    @staticmethod
    def of(words: dict[str, str]) -> CudaChoice:
        """The choice that :meth:`words` wrote. Raises ``ValueError`` for anything else."""
        names = [knob.name for knob in fields(BlockTile)]
        given = {name: words.get(f"{PREFIX}{name}", "") for name in names}
        unit = given.pop("unit")
        if (
            words.keys() != {f"{PREFIX}{name}" for name in names}
            or not all(n.isascii() and n.isdigit() and int(n) > 0 for n in given.values())
            or unit not in UNITS
        ):
            raise ValueError(f"not a choice: {words}")
        numbers: dict[str, Any] = {name: int(n) for name, n in given.items()}
        return CudaChoice(block=BlockTile(**numbers, unit=unit))

    def __str__(self) -> str:
        t = self.block
        parts = [f"{t.pixels}x{t.blocks}", f"{t.warps_p}x{t.warps_o} warps", t.unit]
        return ", ".join([*parts, f"{t.rounds} rounds"] if t.rounds > 1 else parts)


@dataclass(frozen=True)
class CudaSpace(Space):
    """Choices for one convolution on a GPU; its knobs are all in the block's tile."""

    def default(self) -> CudaChoice:
        """What is compiled where nothing is recorded."""
        return CudaChoice(block=choose(self.machine, self.problem))

    def block_tiles(self) -> list[BlockTile]:
        """All tiles, the fastest by the rule first."""
        tiles = candidates(self.machine, self.problem)
        return sorted(tiles, key=lambda tile: clocks(self.machine, self.problem, tile))

    def first(self, count: int) -> list[CudaChoice]:
        """The best by the rule, as many of each unit."""
        tiles = self.block_tiles()
        ranked = [[t for t in tiles if t.unit == unit][:count] for unit in UNITS]
        return [CudaChoice(block=tile) for of_unit in ranked for tile in of_unit]

    def points(self) -> Iterator[CudaChoice]:
        """All choices, the default first."""
        for tile in self.block_tiles():
            yield CudaChoice(block=tile)

    def neighbours(self, choice: Choice) -> Iterator[CudaChoice]:
        """Choices that differ from ``choice`` in one knob; the warps of a block are one."""
        if not isinstance(choice, CudaChoice):
            return
        for tile in self.block_tiles():
            if len(_differing(tile, choice.block)) == 1:
                yield CudaChoice(block=tile)


def _differing(a: BlockTile, b: BlockTile) -> set[str]:
    knobs = {"warps_p": "warps", "warps_o": "warps"}
    before, after = asdict(a), asdict(b)
    return {knobs.get(name, name) for name in before if before[name] != after[name]}
