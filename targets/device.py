"""A device: what the compiler must know about the machine that it compiles for.

No file holds code for one device: ``isa`` names the family of ``abc_tvm.schedules`` that serves it.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abc_tvm.errors import TargetError
from abc_tvm.targets import driver, host

if TYPE_CHECKING:
    import tvm


@dataclass(frozen=True)
class Cost:
    """What arithmetic costs on one core of a device; one float32 multiply-add is 1.0.

    ``pair`` is the cost of one binary pair: one weight bit and one activation bit, xored,
    counted and added. A layer of M weight bases and N activation bases takes M·N pairs where
    the float layer takes one multiply-add, so bits win where ``M * N * pair`` is below 1.
    ``dot`` is the cost of a multiply-add of two bytes, on processors with dot products of four
    bytes (AVX-512 VNNI, AVX-VNNI, Arm's dot product, CUDA); ``None`` on others.
    """

    pair: float
    dot: float | None = None


@dataclass(frozen=True)
class Gpu:
    """A CUDA device beside the processor that ``triple`` and ``cpu`` describe.

    ``arch`` is nvcc's name of the real architecture ("sm_80"). ``block_shared_kib`` is the shared
    memory of a thread block without opting in to more. ``b1`` names the tensor cores' instruction
    on bits: "and" (``m16n8k256 … and.popc``), "xor" (``m8n8k128 … xor.popc``), or "none".

    The rest is what one multiprocessor computes in a clock: ``fma`` float32 multiply-adds, ``popc``
    32-bit words of binary products and ``dp4a`` products of four bytes on ordinary cores, and
    ``tensor_words`` and ``tensor_quads`` of the same two on tensor cores.
    """

    arch: str
    block_shared_kib: int
    b1: str
    fma: int
    popc: int
    dp4a: int
    tensor_words: int
    tensor_quads: int


B1 = ("and", "xor", "none")
"""Values of ``Gpu.b1``."""


@dataclass(frozen=True)
class Device:
    """One kind of machine.

    ``triple``, ``cpu`` and ``features`` (each ``+name`` or ``-name``) are LLVM's. ``isa`` is the
    instruction-set family whose schedules serve the device. ``vector_bits`` is the width of one
    vector register and ``vector_registers`` how many there are. ``cores`` counts the cores that
    one run may use. ``runtime`` says whether TVM has a runtime for the device; without one a
    network for it is compiled as a C library. ``in_order`` cores wait where the next instruction
    must wait. Cache sizes are KiB: level 1 and 2 as one core sees them, level 3 as shared.

    With ``gpu`` the network runs on a CUDA device, and ``triple``, ``cpu`` and ``features`` are
    those of its host; a vector register is then one register of a warp, a core is a streaming
    multiprocessor, and a thread may use ``vector_registers``.
    """

    name: str
    description: str
    triple: str
    cpu: str
    features: tuple[str, ...]
    isa: str
    vector_bits: int
    vector_registers: int
    cores: int
    l1d_kib: int
    l2_kib: int
    l3_kib: int
    cost: Cost
    runtime: bool = True
    in_order: bool = False
    gpu: Gpu | None = None

    def tvm_target(self) -> tvm.target.Target:
        """The TVM target for this device: of the GPU, where there is one, with its host.

        Raises ``TargetError`` as :meth:`host_target` does.
        """
        processor = self.host_target()
        if self.gpu is None:
            return processor
        import tvm

        return tvm.target.Target(
            {
                "kind": "cuda",
                "arch": self.gpu.arch,
                "max_num_threads": 1024,
                "thread_warp_size": 32,
                "max_shared_memory_per_block": self.gpu.block_shared_kib * 1024,
                "host": processor,
            }
        )

    def host_target(self) -> tvm.target.Target:
        """The TVM target for the processor.

        Raises ``TargetError`` where LLVM does not know ``cpu``: TVM alone would log a line and
        compile for a generic processor.
        """
        import tvm
        from tvm.target import codegen

        if not codegen.llvm_is_valid_cpu(self.cpu, self.triple):
            raise TargetError(
                f"target {self.name}: LLVM knows no cpu {self.cpu!r} for {self.triple}: "
                "correct the field cpu or triple"
            )
        options: dict[str, object] = {
            "kind": "llvm",
            "mtriple": self.triple,
            "mcpu": self.cpu,
            "mattr": list(self.features),
            "num-cores": 1 if self.gpu is not None else self.cores,
        }
        # Of the 32-bit ARM triples "…hf" alone passes floats in registers, and TVM does not ask it.
        if self.triple.endswith("hf"):
            options["mfloat-abi"] = "hard"
        return tvm.target.Target(options)

    def runs_here(self) -> bool:
        """Whether this machine executes code for the device: every instruction it may use exists.

        False where the machine cannot be examined (not Linux on x86-64).
        """
        if self.gpu is not None and not driver.runs(self.gpu.arch):
            return False

        architecture, _, system = self.triple.partition("-")
        if architecture != platform.machine() or "linux" not in system:
            return False
        try:
            there = host.host_features()
        except TargetError:
            return False
        from tvm.target import codegen

        # LLVM's list also holds tuning hints; only instruction sets can be absent.
        used = {str(feature) for feature in codegen.llvm_get_cpu_features(self.host_target())}
        return used & host.INSTRUCTION_SETS <= there
