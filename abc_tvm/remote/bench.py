"""Time a compiled network beside its float build, both on a device, in turns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from abc_tvm import stages
from abc_tvm.api import compile as compile_network
from abc_tvm.engines.agreement import MODEL, Agreement, References
from abc_tvm.engines.engine import FLOAT, FLOAT_MODEL, OURS, Refusal
from abc_tvm.engines.onnx_engine import random_inputs
from abc_tvm.engines.open_batch import fixed_batch
from abc_tvm.errors import UserError
from abc_tvm.measure.bench import Comparison, Result
from abc_tvm.measure.timing import alternate
from abc_tvm.remote.address import Address
from abc_tvm.remote.device import DEFAULT_TIMEOUT, connect
from abc_tvm.scratch import scratch
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device

OPPONENTS = (FLOAT,)


def bench(
    model: Model,
    target: str | Device,
    address: Address,
    *,
    against: Sequence[str] = OPPONENTS,
    float_model: Model | None = None,
    batch: int = 1,
    threads: int = 1,
    repeat: int = 20,
    lowering: str = "auto",
    allow_int8: bool | float | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    progress: Progress | None = None,
) -> Comparison:
    """Compile a network and time it on a device; arguments as ``abc_tvm.measure.bench.bench``.

    Args:
        address: The device; ``target`` must describe it.
        against: ``tvm-float``: no other engine runs behind TVM's RPC server.
        timeout: As for ``abc_tvm.remote.connect``.

    Raises:
        UserError: An engine that does not run there, or whatever compiling and the device raise.
    """
    tell = progress or (lambda _: None)
    for name in against:
        if name not in OPPONENTS:
            raise UserError(
                f"against: {name} does not run on a remote device; leave it away, or give "
                f"{', '.join(OPPONENTS)}"
            )
    source = stages.checked_source(model)
    opponent = source if float_model is None else stages.checked_source(float_model)
    fixed = fixed_batch(source, batch)
    ours = compile_network(
        source, target, batch=fixed, lowering=lowering, allow_int8=allow_int8, progress=tell
    )
    artifacts = {OURS: ours}
    for name in against:
        tell(name)
        fixed = fixed_batch(opponent, batch)
        artifacts[name] = compile_network(opponent, target, batch=fixed, lowering="float")
    arrays = random_inputs(ours.info.inputs, batch)
    other = MODEL if float_model is None else FLOAT_MODEL
    networks = {name: MODEL if name == OURS else other for name in artifacts}
    references = References({MODEL: source, other: opponent}, batch, threads)
    references.thresholds = any(layer.N is not None for layer in ours.report)
    agreements: list[Agreement] = []
    refused: list[Refusal] = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        tell("connect")
        device = stack.enter_context(connect(address, timeout))
        measures: dict[str, Callable[[], float]] = {}
        for name, artifact in artifacts.items():
            file = Path(folder, f"{name}.so")
            artifact.save(file)
            network = device.load(file, threads)
            verdict = references.judge(name, networks[name], arrays, network.run(arrays))
            if verdict is not None:
                agreements.append(verdict)
            if verdict is None or verdict.agrees:
                measures[name] = network.time
            else:
                refused.append(Refusal(name, networks[name], verdict.line()))
        tell("measure")
        times = alternate(measures, repeat) if OURS in measures else {}
    return Comparison(
        results=tuple(Result(name, networks[name], t) for name, t in times.items()),
        threads=threads,
        processors=(),
        shapes={name: list(array.shape) for name, array in arrays.items()},
        straw_man=False,
        report=ours.report,
        device=str(address),
        agreements=tuple(agreements),
        refused=tuple(refused),
        settings={"against": list(against), "batch": batch, "repeat": repeat, "lowering": lowering},
    )
