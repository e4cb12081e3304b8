"""The x86 families: which way counts bits, and who has dot products of bytes.

Where bits can be looked up (a 256-bit byte shuffle: from AVX2 on), the search space has both ways.
"""

from __future__ import annotations

from abc_tvm.schedules.choice import Count
from abc_tvm.schedules.problem import Kind
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.floats import Floats
from abc_tvm.schedules.processor.nest import Nest
from abc_tvm.schedules.processor.space import Nests

from .int8 import Int8Products
from .nibbles import Nibbles
from .popcounts import Popcounts

POPCOUNT: tuple[Count, Nest] = ("popcount", Popcounts())
NIBBLE: tuple[Count, Nest] = ("nibble", Nibbles())


def x86(bits: Nests, *, int8: bool) -> Processor:
    """A family that counts bits in these ways; ``int8``: its devices may have ``vpdpbusd``."""
    nests: dict[Kind, Nests] = {"bitserial": bits, "float": (("popcount", Floats()),)}
    if int8:
        nests["int8"] = (("popcount", Int8Products()),)
    return Processor(nests, "uint8" if int8 else None, narrow="uint8", ruled=True)


AVX512_VPOPCNT = x86((POPCOUNT, NIBBLE), int8=True)
AVX512 = x86((NIBBLE, POPCOUNT), int8=True)
AVX2 = x86((NIBBLE, POPCOUNT), int8=True)
BASELINE = x86((POPCOUNT,), int8=False)
