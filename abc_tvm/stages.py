"""The stages of a compilation: import, passes, machine code. ``compilation`` strings them
together."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import onnx

from abc_tvm import frontend
from abc_tvm.errors import CompilerFault, ModelError, UnsupportedError, UserError
from abc_tvm.frontend.onnx_file import one_line
from abc_tvm.frontend.torch_program import is_program, program_to_onnx
from abc_tvm.layer_names import layer_names
from abc_tvm.open_builders import close_builders
from abc_tvm.runtime.container import Port
from abc_tvm.scratch import memory_files, scratch
from abc_tvm.targets import Device

if TYPE_CHECKING:
    import tvm
    from torch.export import ExportedProgram

    from abc_tvm.relay_passes.context import Context

Source = onnx.ModelProto | str | os.PathLike[str]
Model = Union[Source, "ExportedProgram"]
"""What the public functions take: a path, a model, or a torch program."""

Progress = Callable[[str], None]
Pass = Callable[["tvm.IRModule"], "tvm.IRModule"]

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What passes and TVM raise on a graph that nobody foresaw; TVM's own errors are RuntimeErrors."""

AUTO = "auto"
"""The chooser decides, layer by layer; every other word is a lowering's."""

MOST_ERROR = 0.02
"""What rounding to bytes may change a sum by, where it is allowed without a number."""

_OBJECTS = ("lib0.o", "lib1.o", "lib2.o", "lib3.o", "devc.o")
"""What ``export_library`` has LLVM write: host code, then constants and device code."""


@dataclass
class Imported:
    """An imported network and the user's names for its layers."""

    label: str
    module: Any
    conv_names: list[str]
    dense_names: list[str]
    simple: onnx.ModelProto
    """What the importer was given."""


def import_model(model: Model, batch: int | None = None, *, one_image: bool = False) -> Imported:
    """Import a network, by path or in memory; ``one_image`` makes a batch that is left open 1.

    Raises:
        ModelError: It cannot be read or is not valid; or it is none of the kinds.
        MissingDependencyError: As in :func:`checked_source`.
        UnsupportedError: Valid, but outside what can be imported.
    """
    source = checked_source(model)
    label = "model" if isinstance(source, onnx.ModelProto) else os.fspath(source)
    simple = frontend.simple_onnx(source, batch=batch, one_image=one_image)
    module = frontend.to_relax(simple, label)
    return Imported(label, module, *layer_names(simple, module), simple)


def checked_source(model: object) -> Source:
    """``model`` itself, if it is a path or an ONNX model; a torch program as an ONNX model.

    Raises:
        ModelError: It is none of these, or torch cannot convert it.
        MissingDependencyError: torch needs another package for that.
    """
    if isinstance(model, onnx.ModelProto | str | os.PathLike):
        return model
    if is_program(model):
        return program_to_onnx(model)
    kind = type(model)
    raise ModelError(
        f"model: expected a path, an onnx.ModelProto or a torch ExportedProgram, got "
        f"{kind.__module__}.{kind.__name__}"
    )


def make_context(
    device: Device,
    lowering: str,
    allow_int8: bool | float | None = None,
    check: bool = True,
) -> Context:
    """Settings for the passes; ``check``: they get a second opinion.

    Raises:
        UserError: ``lowering`` is no known way, or ``allow_int8`` no share of 1.
    """
    from abc_tvm.relay_passes.context import Context
    from abc_tvm.relay_passes.lowerings.table import names as lowering_words

    words = (AUTO, *lowering_words())
    if lowering not in words:
        raise UserError(f"lowering: {lowering!r} is unknown; choose one of {', '.join(words)}")
    most = MOST_ERROR if allow_int8 is True else allow_int8 or None
    if most is not None and not 0 < most < 1:
        raise UserError(f"allow_int8: {allow_int8!r} is no error between 0 and 1")
    return Context(device, lowering, allow_int8=most, check=check)


def apply(
    imported: Imported,
    order: list[tuple[str, Pass]],
    module: Any,
    *,
    dump: Path | None = None,
    progress: Progress | None = None,
    first: int = 0,
) -> Any:
    """Run passes on ``module``, with errors that name the model; as ``pipeline.run``."""
    from abc_tvm.relay_passes import pipeline

    begun = ["import"]

    def tell(name: str) -> None:
        begun.append(name)
        if progress is not None:
            progress(name)

    try:
        return pipeline.run(module, order, dump=dump, progress=tell, first=first)
    except FAULTS as error:
        close_builders(error)
        raise CompilerFault(
            f"{imported.label}: pass {begun[-1]} fails on this graph ({type(error).__name__}: "
            f"{one_line(error)}); simplify the part that it names, and report the graph"
        ) from error
    except UnsupportedError as error:
        close_builders(error)
        raise UnsupportedError(f"{imported.label}: {error}") from error


def ports(module: Any) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of ``main``, with the names they have in the ONNX graph."""
    main = module["main"]
    types = [parameter.ty for parameter in main.params]
    result = main.ret_ty
    results = list(result.fields) if hasattr(result, "fields") else [result]
    names = ([str(n) for n in main.attrs[key]] for key in ("input_names", "output_names"))
    inputs, outputs = (
        tuple(_port(n, t) for n, t in zip(names_, types_, strict=True))
        for names_, types_ in zip(names, (types, results), strict=True)
    )
    return inputs, outputs


def build(module: Any, device: Device) -> Any:
    """Machine code of a lowered module, as a Relax executable.

    Raises:
        MissingDependencyError: There is no compiler for the device code of a GPU.
    """
    import tvm
    from tvm import relax

    from abc_tvm.relay_passes.tir.shape_order import order_shape_functions
    from abc_tvm.relay_passes.tir.stack_buffers import lowering_of

    steps = tvm.transform.module_pass(
        lambda mod, _: order_shape_functions(relax.get_pipeline("default")(mod)), opt_level=0
    )
    target = device.tvm_target()
    with target, device_code_of(device):
        try:
            return relax.build(
                module, target, relax_pipeline=steps, tir_pipeline=lowering_of(device)
            )
        except FAULTS as error:
            raise CompilerFault(
                f"target {device.name}: no machine code for this graph ({type(error).__name__}: "
                f"{one_line(error)}); simplify the part that it names, and report the graph"
            ) from error


def device_code_of(device: Device) -> AbstractContextManager[None]:
    """Inside, TVM compiles device code for the GPU of ``device``, where it has one."""
    if device.gpu is None:
        return nullcontext()
    from abc_tvm.deploy.cuda.device_code import compiled_for

    return compiled_for(device.gpu.arch)


def link(executable: Any, device: Device) -> bytes:
    """The shared library of an executable.

    Raises:
        MissingDependencyError: There is no linker for the device, or it failed.
    """
    from abc_tvm.deploy import toolchain

    linker = toolchain.for_library(device.triple, device.name)

    with scratch() as folder, memory_files(folder, _OBJECTS):

        def create(output: str, objects: list[str], options: object = None) -> None:
            # A network without kernels comes with C source in the place of an object.
            files = [folder / f"{n}{Path(made).suffix}" for n, made in enumerate(objects)]
            for file, made in zip(files, objects, strict=True):
                file.write_bytes(Path(made).read_bytes())
            linker.run("-shared", "-fPIC", "-o", output, *files, "-lm")

        library = folder / "network.so"
        executable.export_library(str(library), fcompile=create, workspace_dir=str(folder))
        return library.read_bytes()


def _port(name: str, kind: Any) -> Port:
    from tvm.tirx import IntImm

    if not hasattr(kind, "shape") or kind.shape is None:
        raise UnsupportedError(f"output {name!r} has no fixed rank; export the model again")
    shape = tuple(int(d) if isinstance(d, IntImm) else str(d) for d in kind.shape)
    return Port(name, shape, str(kind.dtype).rpartition(".")[2])
