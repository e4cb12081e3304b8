"""What passes know besides the graph, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from abc_tvm.schedules.choice import Choice
    from abc_tvm.targets import Device


class Records(Protocol):
    """What passes need of a set of tuning records."""

    def choice(self, workload: Any) -> Choice | None:
        """The best choice for a plain PrimFunc, made by :mod:`.workload`; ``None``: default."""


@dataclass
class Layer:
    """One convolution or dense layer, as ``inspect`` prints it."""

    name: str
    op: str
    shape: list[int]
    macs: int
    M: int | None = None
    N: int | None = None
    lowering: str = "float"
    reason: str = ""
    weight_bytes: int = 0
    float_weight_bytes: int = 0
    error_bound: float | None = None

    def row(self) -> dict[str, Any]:
        """The layer as JSON."""
        return dict(self.__dict__)


@dataclass
class Context:
    """Settings and findings of one compilation."""

    device: Device
    lowering: str = "auto"
    """``auto``: the chooser decides; ``bitserial``: planes wherever they are possible; ``int8``:
    bytes wherever they are possible, else as ``auto``."""
    allow_int8: float | None = None
    """Bytes also where scales and levels must be rounded, if their error stays within this."""
    layers: dict[str, Layer] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    records: Records | None = None
    """Tuning records to look kernels up in."""

    def layer(self, name: str) -> Layer:
        return self.layers[name]
