"""Kernels as C functions of plain pointers.

TVM wraps a kernel for its runtime: packed arguments, tensors with headers, a pool of threads, a
heap for larger workspaces. Here none of that is wanted. Every parameter becomes a pointer,
parallel loops become serial ones, and a workspace too large for the stack becomes one more
pointer, into the arena that the caller has planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abc_tvm.deploy.c_form.flatten import needs_runtime
from abc_tvm.scratch import object_code
from abc_tvm.targets import Device


@dataclass(frozen=True)
class Kernels:
    """``code`` is one object file for the device.

    ``workspaces`` gives each kernel's additional pointers, after its own parameters: how many bytes
    each must point to.
    """

    code: bytes
    workspaces: Mapping[str, tuple[int, ...]]


def compile_kernels(kernels: Mapping[str, Any], device: Device, prefix: str) -> Kernels:
    """Compile PrimFuncs to one object; each is a C function named ``prefix`` + its name."""
    import tvm
    from tvm import tirx

    from abc_tvm.relay_passes.tir.stack_buffers import stack_bytes

    target = device.tvm_target()
    # A function with a global symbol would get the packed calling convention.
    module = tvm.IRModule(
        {name: kernel.without_attr("global_symbol") for name, kernel in kernels.items()}
    )
    module = tirx.transform.BindTarget(target.with_host(target))(module)
    flat = _passes()(module)
    functions, workspaces = {}, {}
    for gvar, function in flat.functions_items():
        name = str(gvar.name_hint)
        plain = _Plain(function, stack_bytes(device))
        functions[gvar] = plain.function.with_attr("global_symbol", prefix + name)
        workspaces[name] = tuple(plain.workspaces)
    finish = tvm.transform.Sequential(
        [tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()]
    )
    library = tvm.get_global_func("target.build.llvm")(finish(tvm.IRModule(functions)), target)
    return Kernels(object_code(library), workspaces)


def _passes() -> Any:
    """TVM's own order for processors (``tvm.s_tir.pipeline``), up to the packed convention."""
    import tvm
    from tvm import s_tir, tirx

    schedulable, flat = s_tir.transform, tirx.transform
    return tvm.transform.Sequential(
        [
            schedulable.CanonicalizeLoop(),
            schedulable.LowerInitBlock(),
            schedulable.PlanAndUpdateBufferAllocationLocation(),
            schedulable.ConvertBlocksToOpaque(),
            schedulable.CompactBufferAllocation(),
            schedulable.LowerMatchBuffer(),
            schedulable.StmtSimplify(),
            schedulable.AnnotateIrregularLoop(),
            schedulable.LowerOpaqueBlock(),
            flat.FlattenBuffer(),
            flat.BF16ComputeLegalize(),
            flat.NarrowDataType(32),
            schedulable.LoopPartition(),
            flat.VectorizeLoop(True),
            flat.StorageRewrite(),
            schedulable.HoistIfThenElse(),
            flat.UnrollLoop(),
            schedulable.RenormalizeSplitPattern(),
            flat.StmtSimplify(),
            flat.RemoveNoOp(),
            schedulable.RewriteUnsafeSelect(),
            flat.CommonSubexprElim(),
            flat.VerifyMemory(),
        ]
    )


class _Plain:
    """A lowered PrimFunc with pointers for parameters and nothing that needs a runtime."""

    def __init__(self, function: Any, stack: int) -> None:
        from tvm import tirx

        self.stack = stack
        self.workspaces: list[int] = []
        self.pointers: list[Any] = []
        parameters = [self.pointer(p) for p in function.params]
        views = [
            tirx.DeclBuffer(buffer, data=pointer)
            for buffer, pointer in zip(function.params, parameters, strict=True)
        ]
        # A tensor begins where its pointer points: an offset that TVM left open is none.
        starts = [buffer.elem_offset for buffer in function.params]
        begins = [
            tirx.Bind(v, tirx.IntImm(v.ty.dtype, 0)) for v in starts if isinstance(v, tirx.Var)
        ]
        body = tirx.SeqStmt([*begins, *views, self.visit(function.body)])
        self.function = tirx.PrimFunc(
            [*parameters, *self.pointers], body, None, function.attrs
        ).with_attr("calling_conv", 0)

    def pointer(self, buffer: Any, suffix: str = "") -> Any:
        from tvm import tirx
        from tvm.ir import PointerType

        return tirx.Var(f"{buffer.name}{suffix}", PointerType(buffer.ty.dtype))

    def visit(self, stmt: Any) -> Any:
        from tvm import tirx

        from abc_tvm.schedules.statements import with_inner

        if isinstance(stmt, tirx.AllocBuffer):
            return self.allocation(stmt)
        if isinstance(stmt, tirx.Evaluate):
            _refuse_packed(stmt.value)
        stmt = with_inner(stmt, self.visit)
        if isinstance(stmt, tirx.For) and stmt.kind == tirx.ForKind.PARALLEL:
            return tirx.For(
                stmt.loop_var,
                stmt.min,
                stmt.extent,
                tirx.ForKind.SERIAL,
                stmt.body,
                stmt.thread_binding,
                stmt.annotations,
                stmt.step,
            )
        return stmt

    def allocation(self, stmt: Any) -> Any:
        """A large buffer as a pointer of the caller's; small ones stay on the stack."""
        from tvm import tirx

        from abc_tvm.relay_passes.tir.stack_buffers import keep_on_stack
        from abc_tvm.relay_passes.tir.statements import buffer_bytes
        from abc_tvm.schedules.blocks import STACK_BYTES

        size = buffer_bytes(stmt.buffer)
        if size is None:
            raise TypeError(f"{stmt.buffer.name} has no fixed size")
        if size < STACK_BYTES or size <= self.stack:
            return keep_on_stack(stmt, self.stack)
        pointer = self.pointer(stmt.buffer, "_workspace")
        self.workspaces.append(size)
        self.pointers.append(pointer)
        return tirx.DeclBuffer(stmt.buffer, data=pointer)


def _refuse_packed(value: Any) -> None:
    """A function of TVM's runtime, as those that sort are, is none that a C library has."""
    if str(getattr(getattr(value, "op", None), "name", "")).endswith("tvm_call_packed"):
        called = str(getattr(value.args[0], "value", value.args[0])).strip('"')
        raise needs_runtime(f"function {called}")
