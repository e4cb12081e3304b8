"""The engines that ``bench`` times: made, run once, and compared with the reference."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abc_tvm import frontend
from abc_tvm.artifact import Artifact
from abc_tvm.engines.agreement import MODEL, Agreement, References
from abc_tvm.engines.int8_twin import quantise
from abc_tvm.engines.onnx_engine import OnnxEngine, random_inputs
from abc_tvm.engines.open_batch import fixed_batch
from abc_tvm.engines.torch_engine import TorchEngine
from abc_tvm.errors import UnsupportedError
from abc_tvm.measure.kernel_plan import NetworkPlan, compile_plan
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.runtime import Session, load
from abc_tvm.stages import Progress, Source
from abc_tvm.targets import Device

OURS = "abc-tvm"
FLOAT = "tvm-float"
INT8 = "onnxruntime-int8"
OPPONENTS = (FLOAT, "onnxruntime", INT8, "torch")

FLOAT_MODEL = "float model"

Run = Callable[[], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Refusal:
    """An engine that is not timed, and the line that says why."""

    engine: str
    network: str
    reason: str

    def json(self) -> dict[str, Any]:
        """The refusal as JSON."""
        return asdict(self)


class Engines:
    """Engines that run one network, or its float twin, on the same inputs.

    ``calls`` are those that may be timed, ``plans`` those that this compiler made.
    """

    def __init__(
        self,
        model: Source,
        float_model: Source | None,
        target: str | Device,
        batch: int,
        threads: int,
        lowering: str,
        allow_int8: bool | float | None,
        records: str | os.PathLike[str] | None,
        folder: Path,
        tell: Progress,
    ) -> None:
        self.sources = {MODEL: model}
        if float_model is not None:
            self.sources[FLOAT_MODEL] = float_model
        self.references = References(self.sources, batch, threads)
        self.target, self.batch, self.threads = target, batch, threads
        self.lowering, self.allow_int8, self.records = lowering, allow_int8, records
        self.folder, self.tell = folder, tell
        self.calls: dict[str, Run] = {}
        self.plans: dict[str, NetworkPlan] = {}
        self.agreements: list[Agreement] = []
        self.refused: list[Refusal] = []
        self.inputs: dict[str, np.ndarray] = {}

    def network(self, engine: str) -> str:
        """Which network an engine runs."""
        return MODEL if engine == OURS or FLOAT_MODEL not in self.sources else FLOAT_MODEL

    def add(self, name: str) -> None:
        """Make an engine, run it once, and take it or refuse it. Ours comes first.

        Raises:
            UserError: Ours cannot be made; or an opponent's package is not installed.
        """
        network = self.network(name)
        try:
            call = self._make(name)
            outputs = call()
        except UnsupportedError as error:
            if name == OURS:
                raise
            self.refused.append(Refusal(name, network, f"{name} is not timed: {error}"))
            return
        self.tell("compare outputs")
        verdict = self.references.judge(name, network, self.inputs, outputs, int8=name == INT8)
        if verdict is not None:
            self.agreements.append(verdict)
            if not verdict.agrees:
                self.refused.append(Refusal(name, network, verdict.line()))
                return
        self.calls[name] = call

    def records_settings(self) -> dict[str, Any] | None:
        """The settings of the last tuning run on the user's folder, as its manifest keeps them."""
        if self.records is None:
            return None
        own = Path(self.records) / folder_name(self.plans[OURS].device)
        manifest = Manifest.read(own)
        return None if manifest is None else manifest.settings

    def _make(self, name: str) -> Run:
        network = self.network(name)
        source = self.sources[network]
        if name in (OURS, FLOAT):
            plan = compile_plan(
                source,
                self.target,
                batch=fixed_batch(source, self.batch),
                lowering=self.lowering if name == OURS else "float",
                allow_int8=self.allow_int8 if name == OURS else None,
                records=self.records,
                progress=self.tell,
            )
            self.plans[name] = plan
            if name == OURS:
                self.inputs = random_inputs(plan.artifact.info.inputs, self.batch)
                self.references.thresholds = any(
                    layer.N is not None for layer in plan.artifact.report
                )
            session = open_session(plan.artifact, self.folder / f"{name}.so", self.threads)
            return lambda: session.run(self.inputs)
        standard = self.references.standard(network)
        engine: OnnxEngine | TorchEngine
        if name == "torch":
            engine = TorchEngine(frontend.simplify(standard), self.inputs, threads=self.threads)
        elif name == INT8:
            engine = OnnxEngine(quantise(standard, self.inputs), threads=self.threads)
        else:
            engine = OnnxEngine(standard, threads=self.threads)
        return lambda: engine.run(self.inputs)


def open_session(artifact: Artifact, path: Path, threads: int) -> Session:
    """Save an artifact and load it, as a user would."""
    artifact.save(path)
    return load(path, threads)
