"""``python -m abc_tvm.demo`` (``make demo``): accuracy of a trained network, speed of larger ones.

First the residual network that ships, on real images (``abc_tvm.demo.trained``). Then ResNet-18
with one and with three weight and activation bases: compiled for this machine, verified (what that
means: ``abc_tvm.checks.verify.network``), and taking turns with onnxruntime's float32 and int8 runs
of the ordinary ResNet-18. Its weights are random: that changes no time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from rich.table import Table

from abc_tvm import zoo
from abc_tvm.artifact import Artifact
from abc_tvm.checks.verify.network import verify
from abc_tvm.cli.console import errors, progress, size, tables
from abc_tvm.demo import trained as demo_trained
from abc_tvm.engines.engine import open_session
from abc_tvm.engines.int8_twin import quantise
from abc_tvm.engines.onnx_engine import OnnxEngine, random_inputs
from abc_tvm.engines.open_batch import set_batch
from abc_tvm.errors import UserError
from abc_tvm.measure.facts import machine_name
from abc_tvm.measure.timing import Times, pinned, take_turns
from abc_tvm.scratch import scratch

NETWORK = "resnet18"
BASES = ((1, 1), (3, 3))
REPEAT = 15


@dataclass(frozen=True)
class DemoRow:
    """One line of the table."""

    name: str
    weights: int
    file: int
    check: str


def main() -> int:
    """Run the demo; the exit code is 1 if a network does not pass."""
    with progress("demo") as tell:
        trained = demo_trained.run(tell)
    tables(False).print(trained.table)
    tables(False).print()
    with progress("demo") as tell:
        rows: dict[str, DemoRow] = {}
        artifacts: dict[str, Artifact] = {}
        passed = trained.passed
        for m, n in BASES:
            tell(f"build, compile and verify ABC-{NETWORK}, M={m}, N={n}")
            name = f"abc-tvm, ABC {NETWORK} M={m} N={n}"
            outcome = verify(zoo.build(NETWORK, m, n))
            passed &= outcome.passed
            artifacts[name] = outcome.artifact
            weights = int(outcome.report.json()["weight_bytes"])
            verdict = (
                f"{'passed' if outcome.passed else 'FAILED'}: {outcome.flipped_bits} of "
                f"{outcome.checked_bits / 1e6:.1f} M bits flipped; relative error "
                f"{outcome.relative_error:.2g}, same argmax {outcome.argmax_agreement:.0%}"
            )
            rows[name] = DemoRow(name, weights, len(outcome.artifact.data), verdict)
        tell("float32 and int8 opponents")
        times = _measure(artifacts, zoo.build_float(NETWORK), rows, tell)
    tables(False).print(_table(rows, times))
    return 0 if passed else 1


def _measure(
    artifacts: dict[str, Artifact],
    plain: onnx.ModelProto,
    rows: dict[str, DemoRow],
    tell: Callable[[str], None],
) -> dict[str, Times]:
    set_batch(plain, 1)
    first = next(iter(artifacts.values()))
    arrays = random_inputs(first.info.inputs, 1)
    with pinned(1), scratch() as folder:
        calls: dict[str, Callable[[], object]] = {}
        for number, (name, artifact) in enumerate(artifacts.items()):
            session = open_session(artifact, Path(folder, f"{number}.so"), 1)
            calls[name] = lambda session=session: session.run(arrays)  # type: ignore[misc]
        small = quantise(plain, arrays)
        for kind, model in (("float32", plain), ("int8", small)):
            name = f"onnxruntime, {kind} {NETWORK}"
            engine = OnnxEngine(model)
            calls[name] = lambda engine=engine: engine.run(arrays)  # type: ignore[misc]
            weights = sum(len(t.raw_data) for t in model.graph.initializer)
            rows[name] = DemoRow(name, weights, model.ByteSize(), "")
        tell("measure")
        return take_turns(calls, REPEAT)


def _table(rows: dict[str, DemoRow], times: dict[str, Times]) -> Table:
    table = Table(title=f"one 224x224 image, 1 thread, {machine_name()}", title_justify="left")
    table.add_column("engine and network")
    for name in ("median ms", "least ms", "over float32", "over int8", "weights", "file"):
        table.add_column(name, justify="right")
    table.add_column("verify")
    opponents = [next(k for k in times if kind in k) for kind in ("float32", "int8")]
    for name, row in rows.items():
        ratios = [times[other].median_ms / times[name].median_ms for other in opponents]
        table.add_row(
            name,
            f"{times[name].median_ms:.2f}",
            f"{times[name].min_ms:.2f}",
            *(f"{ratio:.2f}x" for ratio in ratios),
            size(row.weights),
            size(row.file),
            row.check,
        )
    return table


if __name__ == "__main__":
    try:
        code = main()
    except UserError as error:
        errors().print(f"abc_tvm.demo: error: {error}", soft_wrap=True)
        code = 2
    except KeyboardInterrupt:
        errors().print("abc_tvm.demo: interrupted")
        code = 130
    raise SystemExit(code)
