"""The Arm families: AArch64 with and without the dot product, whose loops are written out, and the
32-bit form."""

from __future__ import annotations

from abc_tvm.schedules.problem import Kind
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.floats import Floats
from abc_tvm.schedules.processor.space import Nests

from .bits32 import Bits32
from .instructions32 import TABLE
from .nests import StepBits, StepFloats, StepInt8


def aarch64(*, dot: bool) -> Processor:
    """A family of AArch64; ``dot``: its processors have ``udot`` and ``sdot``."""
    nests: dict[Kind, Nests] = {
        "bitserial": (("popcount", StepBits(dot=dot)),),
        "float": (("popcount", StepFloats()),),
    }
    if dot:
        nests["int8"] = (("popcount", StepInt8()),)
    return Processor(nests, "int8" if dot else None, narrow="int8")


NEON = aarch64(dot=False)
NEON_DOT = aarch64(dot=True)
NEON32 = Processor(
    {"bitserial": (("popcount", Bits32()),), "float": (("popcount", Floats()),)},
    instructions=TABLE,
    narrow="int8",
)
