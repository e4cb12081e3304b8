"""One network on its way through the compiler: imported once, and each pass runs once.

Everything that compiles asks a :class:`Compilation` for what it needs: the module at a phase, the
report, the artifact. Nobody else strings stages together.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abc_tvm import stages
from abc_tvm.artifact import Artifact
from abc_tvm.errors import TargetError, UnsupportedError
from abc_tvm.other_layers import with_other_layers
from abc_tvm.records.records import RecordSet, open_records
from abc_tvm.report import Layer, Report
from abc_tvm.runtime.container import Info, pack
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device
from abc_tvm.targets import load as load_target

if TYPE_CHECKING:
    from abc_tvm.deploy.c_form import CForm
    from abc_tvm.relay_passes.context import Records
    from abc_tvm.relay_passes.pipeline import Pass, Phase

CALLER = 5
"""Frames from a warning about records to who called a public function."""


class Compilation:
    """One network on its way from file to artifact: imported once, and each pass runs once.

    Phases are asked for in their order; each that was asked for is kept.

    Attributes:
        device: What it is compiled for.
        context: Settings of the passes, and what they found.
        imported: The network as TVM's importer gave it.
        records: The records that kernels are looked up in, if any are.
    """

    def __init__(
        self,
        model: Model,
        target: str | Device = "native",
        *,
        batch: int | None = None,
        lowering: str = "auto",
        allow_int8: bool | float | None = None,
        check: bool = True,
        tuned: bool = False,
        records: str | os.PathLike[str] | None = None,
        dump: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
        one_image: bool = False,
    ) -> None:
        """Import the network; arguments as ``abc_tvm.compile``.

        ``tuned`` looks kernels and lowerings up in records: those of the folder ``records``, then
        those that ship. ``one_image`` makes a batch that is left open 1.

        Raises:
            UserError: As ``abc_tvm.compile`` does.
        """
        self.device = device_of(target)
        self.context = stages.make_context(self.device, lowering, allow_int8, check)
        self.records: RecordSet | None = None
        if tuned:
            self.records = open_records(
                self.device, records, lambda note: warnings.warn(note, stacklevel=CALLER)
            )
            self.context.records = self.records
        self.tell = progress or _silent
        self.tell("import")
        self.imported = stages.import_model(model, batch, one_image=one_image)
        self._dump = None if dump is None else Path(dump)
        self._begin(self.imported.module, 0)

    def _begin(self, module: Any, done: int) -> None:
        self._order = self._passes()
        self._module, self._done = module, done
        self._kept: dict[Phase, Any] = {}

    def again(
        self,
        phase: Phase,
        *,
        allow_int8: bool | float | None = None,
        records: Records | None = None,
    ) -> Compilation:
        """The same network from a phase on, with other records; this one stays as it is."""
        module = self.until(phase)
        other = object.__new__(type(self))
        other.device, other.imported, other.tell = self.device, self.imported, self.tell
        other.context = stages.make_context(
            self.device, self.context.lowering, allow_int8, self.context.check
        )
        other.context.layers = {n: replace(row) for n, row in self.context.layers.items()}
        other.context.records, other.records = records, None
        other._dump = None
        other._begin(module, self._done)
        return other

    def until(self, phase: Phase) -> Any:
        """The module at a phase.

        Raises:
            UnsupportedError: A pass refuses the network, or fails on it.
            UserError: The dump cannot be written.
            ValueError: The phase is past, and was not asked for.
        """
        from abc_tvm.relay_passes import pipeline

        if phase in self._kept:
            return self._kept[phase]
        end = pipeline.until(self._order, phase)
        if end < self._done:
            raise ValueError(f"the phase {phase.name} is past")
        self._module = self._run(self._order[self._done : end], self._module, self._done)
        self._done = end
        self._kept[phase] = self._module
        return self._module

    def past(self, phase: Phase) -> bool:
        """Whether the module is at a phase, or behind it."""
        from abc_tvm.relay_passes import pipeline

        return pipeline.until(self._order, phase) <= self._done

    def finish(self, module: Any, phase: Phase) -> Any:
        """Another module at a phase through all passes that follow."""
        from abc_tvm.relay_passes import pipeline

        rest = self._order[pipeline.until(self._order, phase) :]
        return stages.apply(self.imported, rest, module)

    def report(self) -> Report:
        """What the passes say of each layer."""
        from abc_tvm.relay_passes.pipeline import Phase

        if not self.past(Phase.ENCODED):
            self.until(Phase.ENCODED)
        context = self.context
        known = [Layer(**row.row()) for row in context.layers.values()]
        rows = with_other_layers(known, self.imported.simple)
        opinion = None if context.opinion is None else context.opinion.facts()
        return Report(rows, self.device.name, context.lowering, opinion)

    def info(self) -> Info:
        """What an artifact says about itself."""
        from importlib import metadata

        inputs, outputs = stages.ports(self.imported.module)
        report = self.report()
        return Info(
            inputs=inputs,
            outputs=outputs,
            target=target_facts(self.device),
            tvm=metadata.version("apache-tvm"),
            lowering=self.context.lowering,
            second_opinion=report.second_opinion,
            layers=report.rows,
        )

    def executable(self) -> Any:
        """Machine code, as a Relax executable.

        Raises:
            MissingDependencyError: There is no compiler for the device code of a GPU.
        """
        lowered = self._lowered()
        self.tell("build")
        return stages.build(lowered, self.device)

    def artifact(self) -> Artifact:
        """The network as a shared library with its description.

        Raises:
            MissingDependencyError: There is no C compiler to link with.
        """
        executable = self.executable()
        self.tell("link")
        library = stages.link(executable, self.device)
        info = self.info()
        return Artifact(pack(library, info), info)

    def c_form(self, name: str | None = None) -> CForm:
        """The network as a C library, whose symbols begin with ``name``, or the model's."""
        from abc_tvm.deploy import c_form
        from abc_tvm.deploy.c_form.source import identifier

        symbol = identifier(Path(self.imported.label).stem if name is None else name)
        lowered = self._lowered()
        self.tell("build")
        ports = stages.ports(self.imported.module)
        try:
            return c_form.build(lowered, self.device, symbol, ports, self.report())
        except UnsupportedError as error:
            raise UnsupportedError(f"{self.imported.label}: {error}") from error

    def _lowered(self) -> Any:
        from abc_tvm.relay_passes.pipeline import Phase

        return self.until(Phase.LOWERED)

    def _passes(self) -> list[tuple[str, Pass]]:
        """The pipeline; the pass ``encode`` asks for a second opinion on what it leaves."""
        from abc_tvm.checks.opinion.guard import guarded
        from abc_tvm.relay_passes import pipeline

        imported = self.imported
        order = pipeline.passes(self.context, imported.conv_names, imported.dense_names)
        return guarded(order, imported.simple, imported.module, self.context)

    def _run(self, passes: list[tuple[str, Pass]], module: Any, first: int) -> Any:
        return stages.apply(
            self.imported, passes, module, dump=self._dump, progress=self.tell, first=first
        )


def device_of(target: str | Device) -> Device:
    """The device of a name or path, or the device itself."""
    return target if isinstance(target, Device) else load_target(target)


def refuse_without_runtime(device: Device) -> None:
    """Raises :class:`TargetError` where TVM's runtime does not exist for a device."""
    if not device.runtime:
        raise TargetError(
            f"target {device.name}: TVM has no runtime for it, so no shared library can run there; "
            "compile with --format c, for a C library that needs none"
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


def _silent(_: str) -> None:
    pass
