"""What a family of schedules must know of a machine; ``abc_tvm.targets.Device`` is one."""

from __future__ import annotations

from typing import Protocol


class CostFacts(Protocol):
    """What arithmetic costs; one float32 multiply-add is 1."""

    @property
    def dot(self) -> float | None:
        """Of a multiply-add of two bytes; ``None`` without dot products."""


class GpuFacts(Protocol):
    """A GPU. Throughputs are results of one multiprocessor in one clock."""

    @property
    def arch(self) -> str:
        """nvcc's name of the real architecture ("sm_80")."""

    @property
    def block_shared_kib(self) -> int:
        """Shared memory of a thread block without opting in to more."""

    @property
    def b1(self) -> str:
        """The tensor cores' instruction on bits: "and", "xor" or "none"."""

    @property
    def fma(self) -> float:
        """float32 multiply-adds."""

    @property
    def popc(self) -> float:
        """32-bit words of binary products on ordinary cores."""

    @property
    def dp4a(self) -> float:
        """Products of four bytes on ordinary cores."""

    @property
    def tensor_words(self) -> float:
        """32-bit words of binary products of the tensor cores."""

    @property
    def tensor_quads(self) -> float:
        """Products of four bytes of the tensor cores."""


class MachineFacts(Protocol):
    """A kind of machine."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def isa(self) -> str:
        """Its family, by the name in :mod:`.families`."""

    @property
    def vector_bits(self) -> int:
        """Width of a vector register."""

    @property
    def vector_registers(self) -> int:
        """Number of vector registers."""

    @property
    def cores(self) -> int:
        """Cores that one run may use."""

    @property
    def l1d_kib(self) -> int:
        """First data cache, as one core sees it."""

    @property
    def l2_kib(self) -> int:
        """Second cache, as one core sees it."""

    @property
    def in_order(self) -> bool:
        """Whether a core waits where the next instruction must wait."""

    @property
    def cost(self) -> CostFacts:
        """Costs of arithmetic."""

    @property
    def gpu(self) -> GpuFacts | None:
        """The GPU beside the processor, for families of GPUs."""
