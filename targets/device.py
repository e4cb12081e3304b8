"""A device: what the compiler must know about the machine that it compiles for.

Each device is one TOML file, here or anywhere else; ``load`` reads it and refuses what it does
not know. No file holds code for one device: ``isa`` names the module of ``abc_tvm.schedules``
that serves it.
"""

from __future__ import annotations

import difflib
import platform
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abc_tvm.errors import TargetError
from abc_tvm.files import read_regular

if TYPE_CHECKING:
    import tvm

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NATIVE = "native"
CUDA = "cuda"
OPTIONAL = frozenset({"runtime", "in_order", "gpu"})
"""Fields that a file may leave out."""

MOST_BYTES = 1 << 20
"""Of a file that describes a device."""

_FOLDER = Path(__file__).parent


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

    ``arch`` is nvcc's name of the real architecture ("sm_80"). ``sms`` counts streaming
    multiprocessors; ``registers``, ``shared_kib`` and ``warps`` are what one of them has.
    ``block_shared_kib`` is the shared memory of a thread block without opting in to more.
    ``b1`` names the tensor cores' instruction on bits: "and" (``m16n8k256 … and.popc``), "xor"
    (``m8n8k128 … xor.popc``), or "none".
    """

    arch: str
    sms: int
    registers: int
    shared_kib: int
    block_shared_kib: int
    warps: int
    b1: str


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
        host = self.host_target()
        if self.gpu is None:
            return host
        import tvm

        return tvm.target.Target(
            {
                "kind": "cuda",
                "arch": self.gpu.arch,
                "max_num_threads": 1024,
                "thread_warp_size": 32,
                "max_shared_memory_per_block": self.gpu.block_shared_kib * 1024,
                "host": host,
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
        from abc_tvm.targets import cuda, native

        if self.gpu is not None and not cuda.runs(self.gpu.arch):
            return False

        architecture, _, system = self.triple.partition("-")
        if architecture != platform.machine() or "linux" not in system:
            return False
        try:
            host = native.host_features()
        except TargetError:
            return False
        from tvm.target import codegen

        # LLVM's list also holds tuning hints; only instruction sets can be absent.
        used = {str(feature) for feature in codegen.llvm_get_cpu_features(self.host_target())}
        return used & native.INSTRUCTION_SETS <= host


def names() -> tuple[str, ...]:
    """The names of the shipped devices, sorted; ``native`` and ``cuda`` are not among them."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load(name_or_path: str) -> Device:
    """The device of that name, of that ``.toml`` file, or one that is detected.

    ``native`` is the machine we run on, ``cuda`` its first GPU. Raises ``TargetError`` for an
    unknown name, an unreadable or malformed file, and where nothing is detected.
    """
    if name_or_path == NATIVE:
        from abc_tvm.targets import native

        return native.detect()
    if name_or_path == CUDA:
        from abc_tvm.targets import cuda

        return cuda.detect()
    if name_or_path.endswith(".toml"):
        return _read(Path(name_or_path))
    known = names()
    if name_or_path in known:
        return _read(_FOLDER / f"{name_or_path}.toml")
    close = difflib.get_close_matches(name_or_path, (NATIVE, CUDA, *known), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise TargetError(
        f"unknown target {name_or_path!r}: {hint}There are {NATIVE}, {CUDA}, {', '.join(known)}, "
        "and any path to a .toml file"
    )


def _read(path: Path) -> Device:
    try:
        table = tomllib.loads(read_regular(path, TargetError, MOST_BYTES).decode())
    except RecursionError as error:
        raise TargetError(f"{path}: not valid TOML: nested too deeply") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: not valid TOML: {error}") from error
    return _device(table, path)


def _device(table: dict[str, Any], path: Path) -> Device:
    """Check a parsed file against the fields of ``Device``, whose file stem is its name."""
    _check_keys(table, [f.name for f in fields(Device) if f.name != "name"], path, OPTIONAL)
    cost = table["cost"]
    if not isinstance(cost, dict):
        raise _wrong(path, "cost", "a table [cost]")
    _check_keys(cost, [f.name for f in fields(Cost)], path, frozenset({"dot"}), prefix="cost.")
    return Device(
        name=path.stem,
        description=_text(table, "description", path),
        triple=_text(table, "triple", path),
        cpu=_text(table, "cpu", path),
        features=_features(table["features"], path),
        isa=_text(table, "isa", path),
        vector_bits=_count(table, "vector_bits", path),
        vector_registers=_count(table, "vector_registers", path),
        cores=_count(table, "cores", path),
        l1d_kib=_count(table, "l1d_kib", path),
        l2_kib=_count(table, "l2_kib", path),
        l3_kib=_count(table, "l3_kib", path, least=0),
        cost=Cost(
            pair=_ratio(cost["pair"], "pair", path),
            dot=_ratio(cost["dot"], "dot", path) if "dot" in cost else None,
        ),
        runtime=_truth(table, "runtime", path, default=True),
        in_order=_truth(table, "in_order", path, default=False),
        gpu=_gpu(table["gpu"], path) if "gpu" in table else None,
    )


def _gpu(table: object, path: Path) -> Gpu:
    """Check the table ``[gpu]``."""
    if not isinstance(table, dict):
        raise _wrong(path, "gpu", "a table [gpu]")
    _check_keys(table, [f.name for f in fields(Gpu)], path, prefix="gpu.")
    arch, b1 = table["arch"], table["b1"]
    if not isinstance(arch, str) or not arch.startswith("sm_") or not arch[3:].isdigit():
        raise _wrong(path, "gpu.arch", 'the name of a real architecture, such as "sm_80"')
    if b1 not in B1:
        raise _wrong(path, "gpu.b1", f"one of {', '.join(B1)}")
    names = ("sms", "registers", "shared_kib", "block_shared_kib", "warps")
    counts = {name: _count(table, name, path, prefix="gpu.") for name in names}
    return Gpu(arch=arch, b1=b1, **counts)


def _check_keys(
    table: dict[str, Any],
    wanted: list[str],
    path: Path,
    optional: frozenset[str] = frozenset(),
    prefix: str = "",
) -> None:
    for key in table:
        if key not in wanted:
            close = difflib.get_close_matches(key, wanted, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(wanted)}"
            raise TargetError(f"{path}: unknown field {prefix}{key}: {hint}")
    for key in wanted:
        if key not in table and key not in optional:
            raise TargetError(f"{path}: the field {prefix}{key} is missing")


def _wrong(path: Path, field: str, wanted: str) -> TargetError:
    return TargetError(f"{path}: the field {field} must be {wanted}")


def _text(table: dict[str, Any], key: str, path: Path) -> str:
    value = table[key]
    if not isinstance(value, str) or not value.strip():
        raise _wrong(path, key, "a string that is not empty")
    return value


def _count(table: dict[str, Any], key: str, path: Path, least: int = 1, prefix: str = "") -> int:
    value = table[key]
    # TOML's true is an int to Python.
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _wrong(path, prefix + key, f"an integer of at least {least}")
    return value


def _truth(table: dict[str, Any], key: str, path: Path, *, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise _wrong(path, key, "true or false")
    return value


def _features(value: object, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(item, str) and len(item) > 1 and item[0] in "+-" for item in value
    ):
        raise _wrong(path, "features", 'a list of strings such as "+avx2" or "-avx512f"')
    return tuple(value)


def _ratio(value: object, key: str, path: Path) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1e6:
        raise _wrong(path, f"cost.{key}", "a number above 0 (one float32 multiply-add is 1.0)")
    return float(value)
