"""A network as a list of kernel calls on numbered arrays.

TVM's own passes bring ``main`` to destination-passing form: arrays are allocated, and kernels write
into them. What is left to walk is a straight line without control flow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from abc_tvm.errors import UnsupportedError
from abc_tvm.targets import Device

Kind = Literal["input", "constant", "array"]

RESERVED = ("run", "weights")
"""What the library itself has behind its prefix."""


@dataclass(frozen=True)
class Operand:
    """What a kernel reads or writes: an input, a constant or an array, by its number."""

    kind: Kind
    number: int


@dataclass(frozen=True)
class Call:
    """One kernel and its operands, in the order of its parameters."""

    kernel: str
    operands: tuple[Operand, ...]


@dataclass
class Flat:
    """A network without Relax.

    ``arrays`` are sizes in bytes. ``results`` says where each output of the network lies when all
    ``calls`` are done. ``kernels`` holds the PrimFuncs that are called, by names fit for C.
    """

    calls: list[Call] = field(default_factory=list)
    arrays: list[int] = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)
    results: list[Operand] = field(default_factory=list)
    kernels: dict[str, Any] = field(default_factory=dict)


def flatten(module: Any, device: Device) -> Flat:
    """The kernel calls of a lowered module; all shapes must be fixed.

    Raises:
        UnsupportedError: The network needs TVM's runtime: an operator that is no kernel, or a
            shape that is known only when it runs.
    """
    lowered = _destination_passing(module, device)
    walker = _Walker(lowered)
    walker.walk(lowered["main"])
    return walker.flat


def _destination_passing(module: Any, device: Device) -> Any:
    """The first half of the pipeline that builds a ``.so``, and so the same arithmetic."""
    import tvm
    from tvm.relax import backend, transform

    with device.tvm_target():
        return tvm.transform.Sequential(
            [
                backend.DispatchSampling(),
                backend.DispatchSortScan(),
                transform.LegalizeOps(),
                transform.RewriteDataflowReshape(),
                transform.ToNonDataflow(),
                transform.RemovePurityChecking(),
                transform.CallTIRRewrite(),
            ]
        )(module)


class _Walker:
    """Follows the bindings of ``main`` in order."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.flat = Flat()
        self.known: dict[Any, Operand | tuple[Any, ...]] = {}
        self.constants: dict[tuple[str, bytes], int] = {}
        self.names: dict[str, str] = {}

    def walk(self, main: Any) -> None:
        self.known = {v: Operand("input", n) for n, v in enumerate(main.params)}
        for block in main.body.blocks:
            for binding in block.bindings:
                self.known[binding.var] = self.value(binding.value)
        result = self.value(main.body.body)
        self.flat.results = [
            self.one(r) for r in (result if isinstance(result, tuple) else (result,))
        ]

    def value(self, expr: Any) -> Operand | tuple[Any, ...]:
        from tvm import ir, relax

        if isinstance(expr, ir.GenericConst):
            return self.constant(expr.value.numpy())
        if isinstance(expr, relax.Tuple):
            return tuple(self.value(item) for item in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            items = self.value(expr.tuple_value)
            if isinstance(items, tuple):
                return items[expr.index]
        if isinstance(expr, ir.Call):
            return self.call(expr)
        if expr in self.known:
            return self.known[expr]
        raise needs_runtime(type(expr).__name__)

    def call(self, call: Any) -> Operand | tuple[Any, ...]:
        from tvm import ir, tirx

        if isinstance(call.op, ir.GlobalVar):
            kernel = self.module[call.op]
            if not isinstance(kernel, tirx.PrimFunc):
                raise needs_runtime(f"function {call.op.name_hint}")
            name = self.name(str(call.op.name_hint))
            operands = tuple(self.one(self.value(a)) for a in call.args)
            self.flat.calls.append(Call(name, operands))
            self.flat.kernels[name] = kernel
            return ()
        name = getattr(call.op, "name", type(call.op).__name__)
        if name == "relax.builtin.alloc_tensor":
            self.flat.arrays.append(_bytes(call.ty))
            return Operand("array", len(self.flat.arrays) - 1)
        if name == "relax.reshape":
            return self.value(call.args[0])
        raise needs_runtime(f"operator {name}")

    def name(self, kernel: str) -> str:
        """A name for C of a kernel, whose own may hold letters of any alphabet."""
        if kernel not in self.names:
            plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in kernel)
            # Numbers end what others begin: no kernel is called like another, or like a function
            # or constant of the library.
            taken = {*self.names.values(), *RESERVED}
            number = 0
            while (free := f"{plain}_{number}" if number else plain) in taken:
                number += 1
            self.names[kernel] = free
        return self.names[kernel]

    def one(self, value: Operand | tuple[Any, ...]) -> Operand:
        if isinstance(value, Operand):
            return value
        raise needs_runtime("a nested tuple")

    def constant(self, array: np.ndarray) -> Operand:
        key = (str(array.dtype), array.tobytes())
        number = self.constants.setdefault(key, len(self.flat.constants))
        if number == len(self.flat.constants):
            self.flat.constants.append(np.ascontiguousarray(array))
        return Operand("constant", number)


def _bytes(kind: Any) -> int:
    from tvm import tirx

    sizes = []
    for extent in kind.shape:
        if not isinstance(extent, (int, tirx.IntImm)):
            raise needs_runtime(f"the shape {list(kind.shape)}, known only when it runs,")
        sizes.append(int(extent))
    return int(np.prod(sizes, dtype=np.int64)) * itemsize(kind.dtype)


def itemsize(dtype: Any) -> int:
    """Bytes of one element, all its lanes together."""
    import tvm

    kind = tvm.DataType(str(getattr(dtype, "dtype", dtype)))
    return int(kind.lanes * max(8, kind.bits)) // 8


def needs_runtime(what: str) -> UnsupportedError:
    """The refusal of what TVM's runtime computes."""
    return UnsupportedError(
        f"{what} needs TVM's runtime, which the C form does without; compile the network to a .so"
    )
