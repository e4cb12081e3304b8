"""The public functions: what each asks of a :class:`abc_tvm.compilation.Compilation`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from abc_tvm.artifact import Artifact
from abc_tvm.compilation import Compilation, device_of, refuse_without_runtime
from abc_tvm.errors import TargetError
from abc_tvm.report import Report
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device

if TYPE_CHECKING:
    from abc_tvm.deploy.c_form import CForm


def inspect(
    model: Model,
    target: str | Device = "native",
    *,
    lowering: str = "auto",
    allow_int8: bool | float | None = None,
    check: bool = True,
) -> Report:
    """Say of every convolution and dense layer how it would be compiled, and why.

    Args:
        model: Path of an ONNX file, an ``onnx.ModelProto``, or a ``torch.export.ExportedProgram``.
        target: Name of a device, path of its ``.toml`` file, or a device.
        lowering: ``"auto"`` (for each layer what is fastest and exact), ``"bitserial"`` (bits
            wherever possible), ``"int8"`` (bytes wherever possible), or ``"float"``.
        allow_int8: Runs layers on int8 also where that needs rounding and is faster: ``True``,
            or the most that rounding may change a sum by, relative to its largest value.
        check: Asks for a second opinion on every layer that leaves float (``abc_tvm.checks``); one
            that fails stays in float.

    Raises:
        ModelError: The model cannot be read or is not valid.
        UnsupportedError: Valid, but outside what can be compiled.
        TargetError: The target is unknown.
    """
    return Compilation(
        model, target, lowering=lowering, allow_int8=allow_int8, check=check
    ).report()


def compile(
    model: Model,
    target: str | Device = "native",
    *,
    batch: int | None = None,
    lowering: str = "auto",
    allow_int8: bool | float | None = None,
    debug_dump: str | os.PathLike[str] | None = None,
    records: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    check: bool = True,
) -> Artifact:
    """Compile a network for a device.

    Args:
        model: Path of an ONNX file, an ``onnx.ModelProto``, or a ``torch.export.ExportedProgram``.
        target: Name of a device, path of its ``.toml`` file, or a device.
        batch: Fixes a symbolic batch dimension; ``None`` leaves it symbolic.
        lowering: As in :func:`inspect`.
        allow_int8: As in :func:`inspect`.
        debug_dump: Folder that gets the graph after each pass, as ``NN_pass.py``.
        records: Folder of tuning records, as ``abc-tvm tune`` writes it. It goes before the
            records that ship. A record holds for its shape, target and version only.
        progress: Called with the name of each stage as it begins.
        check: As in :func:`inspect`.

    Raises:
        RecordsError: ``records`` does not exist or is damaged.
        ModelError: The model cannot be read or is not valid, or ``batch`` contradicts it.
        UnsupportedError: Valid, but outside what can be compiled.
        TargetError: The target is unknown, or TVM has no runtime for it.
        MissingDependencyError: There is no C compiler to link with, or no compiler for the
            device code of a GPU.
    """
    device = device_of(target)
    refuse_without_runtime(device)
    return Compilation(
        model,
        device,
        batch=batch,
        lowering=lowering,
        allow_int8=allow_int8,
        check=check,
        tuned=True,
        records=records,
        dump=debug_dump,
        progress=progress,
    ).artifact()


def compile_c(
    model: Model,
    target: str | Device = "native",
    *,
    name: str | None = None,
    batch: int | None = None,
    lowering: str = "auto",
    allow_int8: bool | float | None = None,
    debug_dump: str | os.PathLike[str] | None = None,
    records: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    check: bool = True,
) -> CForm:
    """Compile a network to a C library: kernels, static memory plan, one function to call.

    It needs neither TVM's runtime nor a heap; ``CForm.save`` writes its files.

    Args:
        model: Path of an ONNX file, or an ``onnx.ModelProto``.
        target: Name of a device, path of its ``.toml`` file, or a device.
        name: Beginning of all symbols and file names; by default the model's file name.
        batch: Fixes a symbolic batch dimension; ``None`` makes it 1.
        lowering: As in :func:`inspect`.
        allow_int8: As in :func:`inspect`.
        debug_dump: As in :func:`compile`.
        records: As in :func:`compile`.
        progress: As in :func:`compile`.
        check: As in :func:`inspect`.

    Raises:
        RecordsError: As in :func:`compile`.
        ModelError: The model cannot be read or is not valid, or ``batch`` contradicts it.
        UnsupportedError: Valid, but outside what can be compiled, or in need of a runtime.
        TargetError: The target is unknown, or of a kind that the C form is not made for.
        UserError: ``name`` makes no C name.
    """
    device = device_of(target)
    if device.gpu is not None:
        raise TargetError(
            f"target {device.name}: a C library runs on processors alone; leave --format c out"
        )
    return Compilation(
        model,
        device,
        batch=batch,
        lowering=lowering,
        allow_int8=allow_int8,
        check=check,
        tuned=True,
        records=records,
        dump=debug_dump,
        progress=progress,
        one_image=True,
    ).c_form(name)
