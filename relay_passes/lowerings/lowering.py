"""What a lowering says: everything about one way to compute a convolution.

The chooser, the passes "encode", "fuse" and "lower", ``tune``, ``profile``, ``inspect``,
``verify``, records and plots walk over the list of :mod:`.table`; none of them names one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.emit.anchor import Anchor, Encoding, Pooling
from abc_tvm.relay_passes.ops import TypeOf

from .candidate import Candidate, Offer, Outcome
from .codec import Codec


class Emitter(Protocol):
    """Adds calls to the module; equal calls are one."""

    def emit(self, hint: str, name: str, args: list[relax.Expr], **attrs: Any) -> relax.Var:
        """The variable of ``abc.<name>``."""


class Lowering(ABC):
    """One way to compute a convolution.

    ``name``: its one word, in options, reports, JSON, records and plots. ``kind``: what its kernels
    sum, by which families serve them (:data:`abc_tvm.schedules.problem.Kind`). ``peak``: the loop
    of :mod:`abc_tvm.measure.peaks` that bounds it, ``None`` where there is none; ``arithmetic``:
    what that loop does, in words. ``title`` and ``colour``: in plots.

    ``anchor``: the operator that its kernels begin with, whose values are what the sums mean as
    floats and as integers to be compared, and whose weights it packs. ``encodings``: the operators
    that write its inputs; ``poolings``: those that pool them; ``paddings``: those that pad them by
    a level; ``moves``: those that move them. ``operators``: the type of the result of each operator
    that it brings, by name (``abc.`` left out), so that TVM knows them.
    """

    name: str
    kind: str
    title: str
    colour: str
    arithmetic: str
    peak: str | None
    anchor: Anchor
    encodings: tuple[Encoding, ...] = ()
    poolings: tuple[Pooling, ...] = ()
    paddings: tuple[Pooling, ...] = ()
    moves: tuple[Pooling, ...] = ()
    operators: ClassVar[Mapping[str, TypeOf]] = MappingProxyType({})

    @abstractmethod
    def offer(self, layer: Candidate, rival: float) -> Offer | None:
        """What the layer would cost; ``None`` where it cannot be lowered so.

        ``rival``: the least cost of the lowerings that were asked before. What is dearer than that
        need not be worked out where it would have to be refused.
        """

    @abstractmethod
    def outcome(self, layer: Candidate, offer: Offer) -> Outcome:
        """The layer's row, once this lowering is taken."""

    def taken(self, call: relax.Call) -> relax.Call:
        """The ``abc.bconv2d`` once this lowering is taken, as the passes up to "encode" see it."""
        return call

    @abstractmethod
    def encode(
        self, layer: Candidate, reading: LayerReading, emitter: Emitter, error: float
    ) -> relax.Call | str:
        """The anchor in the place of the layer, reading its code; or why that cannot be.

        ``error``: the bound that the layer's row has.
        """

    def padded(
        self, layer: Candidate, reading: LayerReading, anchor: relax.Call, emitter: Emitter
    ) -> relax.Var | str:
        """What an anchor of :meth:`encode` reads, padded by the level of ``reading``; or why not.

        The anchor was made of the reading without its padding, but for its window.
        """
        return f"{self.title} cannot pad with a level, as the Pad before it does"

    def pairs(self, call: relax.Call) -> int:
        """Products that an anchor's kernel makes of each multiply-accumulate."""
        return 1

    @abstractmethod
    def codec(self, call: relax.Call, source: relax.Call, plain: np.ndarray) -> Codec | None:
        """How what an anchor reads is decoded to the levels of the float layer.

        ``source`` is the call that wrote it, ``plain`` the float layer's weights OHWI. ``None``
        where it reads floats.
        """
