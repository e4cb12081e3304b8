"""What ``inspect`` tells: one row a layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from abc_tvm.relay_passes.lowerings.table import FLOAT, names


@dataclass(frozen=True)
class Layer:
    """One convolution or dense layer.

    ``shape`` is the weights' [out channels, kernel height, kernel width, in channels of a
    group]. ``macs`` are multiply-accumulates of one image. ``M`` and ``N`` are the numbers of
    weight and activation bases, ``None`` where they were not recognised. ``lowering`` is
    ``"bitserial"``, ``"int8"`` or ``"float"``; ``reason`` says why not bits, or what is special.
    ``weight_bytes`` is what the layer's weights take as compiled, ``float_weight_bytes`` what
    they take as float32. ``error_bound``, of an int8 layer: what rounding to bytes may change a sum
    by, relative to the largest that it can be; 0 where nothing is rounded.
    """

    name: str
    op: str
    shape: list[int]
    macs: int
    M: int | None
    N: int | None
    lowering: str
    reason: str
    weight_bytes: int
    float_weight_bytes: int
    error_bound: float | None = None


@dataclass(frozen=True)
class Report:
    """All layers of a network in graph order, for one target. Iterates over them."""

    layers: tuple[Layer, ...]
    target: str
    lowering: str
    second_opinion: dict[str, Any] | None = None
    """``checked``: how many layers; ``unknown``, ``wrong``: by layer, why; ``None``: not asked."""

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The layers as dictionaries."""
        return [asdict(layer) for layer in self.layers]

    @property
    def binarized(self) -> tuple[Layer, ...]:
        """The layers that run on bits, or on levels coded as bytes."""
        return tuple(layer for layer in self.layers if layer.lowering != FLOAT)

    @property
    def rounded(self) -> tuple[Layer, ...]:
        """The layers whose levels or scales were moved to be multiples of a step."""
        return tuple(layer for layer in self.layers if layer.error_bound)

    def layers_by_lowering(self) -> dict[str, int]:
        """How many layers left float, by where to: ``bitserial_layers``, ``int8_layers`` ..."""
        taken = [layer.lowering for layer in self.layers]
        return {f"{name}_layers": taken.count(name) for name in names() if name != FLOAT}

    def _count(self, lowering: str) -> dict[str, int]:
        macs = [layer.macs for layer in self.layers if layer.lowering == lowering]
        return {f"{lowering}_layers": len(macs), f"{lowering}_macs": sum(macs)}

    def json(self) -> dict[str, Any]:
        """The object that ``abc-tvm inspect --json`` prints."""
        return {
            "target": self.target,
            "lowering": self.lowering,
            "layers": self.rows,
            "second_opinion": self.second_opinion,
            "macs": sum(layer.macs for layer in self.layers),
            **{k: v for name in names() if name != FLOAT for k, v in self._count(name).items()},
            "weight_bytes": sum(layer.weight_bytes for layer in self.layers),
            "float_weight_bytes": sum(layer.float_weight_bytes for layer in self.layers),
        }
