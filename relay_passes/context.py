"""What passes know besides the graph, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tvm import tirx

    from abc_tvm.checks.opinion import Opinion
    from abc_tvm.schedules.choice import Choice
    from abc_tvm.targets import Device


@dataclass(frozen=True)
class Measured:
    """What one layer was measured to take, lowered in each way: seconds, by ``kind`` of kernel."""

    seconds: dict[str, float]

    @property
    def winner(self) -> str:
        """The fastest kind."""
        return min(self.seconds, key=lambda kind: self.seconds[kind])


class Records(Protocol):
    """What passes need of a set of tuning records."""

    def choice(self, workload: tirx.PrimFunc) -> Choice | None:
        """The best choice for a plain PrimFunc, as :func:`.workload.workload_of` makes it.

        ``None``: there is no record of it, and the default is taken.
        """

    def lowering(self, layer: str) -> Measured | None:
        """What is recorded for a layer, by its key of :func:`.doubt.layer_key`."""


@dataclass(frozen=True)
class Rivals:
    """A layer that can be lowered in several ways: its key, and what each kind of kernel costs.

    A float multiply-accumulate costs 1.
    """

    key: str
    costs: dict[str, float]


@dataclass
class LayerRow:
    """One convolution or dense layer, as ``inspect`` prints it.

    ``op`` is ``Conv`` or ``Dense``; ``shape`` the weights' OHWI, of one group; ``M`` and ``N`` the
    weight planes and activation thresholds that were recognised, ties not counted; ``weight_bytes``
    what the weights take as they are lowered; ``error_bound`` what rounding to bytes may change a
    sum by, of its largest value.
    """

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
    """int8 also where scales and levels must be rounded, if their error stays within this."""
    layers: dict[str, LayerRow] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    records: Records | None = None
    """Tuning records to look kernels and lowerings up in."""
    rivals: dict[str, Rivals] = field(default_factory=dict)
    """By layer: what there was to choose between."""
    check: bool = True
    """Whether a second opinion is asked for after the pass ``encode``."""
    refused: dict[str, str] = field(default_factory=dict)
    """By layer: why it must stay in float, whatever the passes find."""
    opinion: Opinion | None = None
    """What the second opinion said."""
