"""The public functions. Each line of ``compile`` is a stage: see ``abc_tvm.stages``."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abc_tvm import stages
from abc_tvm.artifact import Artifact
from abc_tvm.errors import TargetError, UnsupportedError
from abc_tvm.report import Report
from abc_tvm.runtime.container import Info, pack
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device
from abc_tvm.targets import load as load_target
from abc_tvm.tuning.records import open_records

if TYPE_CHECKING:
    from abc_tvm.deploy.c_form import CForm
    from abc_tvm.relay_passes.context import Context

BEFORE_KERNELS = "encode"
"""The last pass that decides how a layer is lowered."""


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
        allow_int8: Runs layers on bytes also where that needs rounding and is faster: ``True``,
            or the most that rounding may change a sum by, relative to its largest value.
        check: Asks for a second opinion on every layer that leaves float (``abc_tvm.checks``); one
            that fails stays in float.

    Raises:
        ModelError: The model cannot be read or is not valid.
        UnsupportedError: Valid, but outside what can be compiled.
        TargetError: The target is unknown.
    """
    context = stages.make_context(device_of(target), lowering, allow_int8, check)
    imported = stages.import_model(model)
    if lowering != "float":
        order = imported.passes(context)
        last = [name for name, _ in order].index(BEFORE_KERNELS)
        stages.apply(imported, order[: last + 1])
    return stages.report_of(context, imported)


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
    tell = progress or _silent
    device = device_of(target)
    if not device.runtime:
        raise TargetError(
            f"target {device.name}: TVM has no runtime for it, so no shared library can run there; "
            "compile with --format c, for a C library that needs none"
        )
    context = stages.make_context(device, lowering, allow_int8, check)
    context.records = open_records(device, records, lambda note: warnings.warn(note, stacklevel=4))
    tell("import")
    imported = stages.import_model(model, batch)
    dump = None if debug_dump is None else Path(debug_dump)
    lowered = stages.apply(imported, imported.passes(context), dump=dump, progress=tell)
    return assemble(imported, context, lowered, tell)


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
    from abc_tvm.deploy import c_form
    from abc_tvm.deploy.c_form.source import identifier

    tell = progress or _silent
    device = device_of(target)
    if device.gpu is not None:
        raise TargetError(
            f"target {device.name}: a C library runs on processors alone; leave --format c out"
        )
    context = stages.make_context(device, lowering, allow_int8, check)
    context.records = open_records(device, records, lambda note: warnings.warn(note, stacklevel=4))
    tell("import")
    imported = stages.import_model(model, batch)
    if batch is None and _is_symbolic(imported):
        imported = stages.import_model(model, 1)
    label = Path(imported.label).stem if name is None else name
    symbol = identifier(label)
    dump = None if debug_dump is None else Path(debug_dump)
    lowered = stages.apply(imported, imported.passes(context), dump=dump, progress=tell)
    report = stages.report_of(context, imported)
    tell("build")
    try:
        return c_form.build(lowered, device, symbol, stages.ports(imported.module), report)
    except UnsupportedError as error:
        raise UnsupportedError(f"{imported.label}: {error}") from error


def _is_symbolic(imported: stages.Imported) -> bool:
    return any(
        isinstance(extent, str)
        for side in stages.ports(imported.module)
        for port in side
        for extent in port.shape
    )


def assemble(
    imported: stages.Imported, context: Context, lowered: Any, progress: Progress | None = None
) -> Artifact:
    """The artifact of a module that has been through all passes.

    Raises:
        MissingDependencyError: There is no C compiler to link with.
    """
    tell = progress or _silent
    tell("build")
    executable = stages.build(lowered, context.device)
    tell("link")
    library = stages.link(executable, context.device)
    info = describe(imported, context)
    return Artifact(pack(library, info), info)


def describe(imported: stages.Imported, context: Context) -> Info:
    """What an artifact says about itself."""
    from importlib import metadata

    inputs, outputs = stages.ports(imported.module)
    report = stages.report_of(context, imported)
    return Info(
        inputs=inputs,
        outputs=outputs,
        target=target_facts(context.device),
        tvm=metadata.version("apache-tvm"),
        lowering=context.lowering,
        second_opinion=report.second_opinion,
        layers=report.rows,
    )


def target_facts(device: Device) -> dict[str, Any]:
    """What an artifact says about the machine it is for: see ``runtime.container.Info``."""
    from tvm.target import codegen

    from abc_tvm.targets.host import INSTRUCTION_SETS

    # LLVM's list also holds tuning hints; only instruction sets can be absent from a processor.
    used = {str(name) for name in codegen.llvm_get_cpu_features(device.host_target())}
    return {
        "name": device.name,
        "triple": device.triple,
        "cpu": device.cpu,
        "features": list(device.features),
        "requires": sorted(used & INSTRUCTION_SETS),
        **({} if device.gpu is None else {"gpu": {"arch": device.gpu.arch}}),
    }


def device_of(target: str | Device) -> Device:
    """The device of a name or path, or the device itself."""
    return target if isinstance(target, Device) else load_target(target)


def _silent(_: str) -> None:
    pass
