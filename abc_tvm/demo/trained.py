"""The first half of the demo: a trained network, on real images it has not seen.

The ABC network that ships is compiled, runs over the test images that ship, and takes turns with
onnxruntime on the same graph. Its convolutions there are float32 convolutions of the same
shapes, which is what a float network would cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from rich.table import Table

from abc_tvm import pretrained
from abc_tvm.api import compile as compile_network
from abc_tvm.cli.console import size
from abc_tvm.engines.engine import open_session
from abc_tvm.engines.onnx_engine import OnnxEngine
from abc_tvm.engines.open_batch import set_batch
from abc_tvm.measure.facts import machine_name
from abc_tvm.measure.timing import pinned, take_turns
from abc_tvm.scratch import scratch

NETWORK = "resnet-fashion"
REPEAT = 30
NUMBER = 5
AGREEMENT = 0.99
BITS = "abc-tvm, compiled to bits"
FLOAT = "abc-tvm, the same compiled to float"
JUDGE = "onnxruntime, float32"


@dataclass(frozen=True)
class DemoOutcome:
    """What the run found.

    Attributes:
        table: for the terminal.
        passed: whether the compiled network names the class that onnxruntime names, for all images
            but one in a hundred: a bit within rounding of its threshold may flip.
    """

    table: Table
    passed: bool


def run(tell: Callable[[str], None]) -> DemoOutcome:
    """Compile, run over all images, time one image."""
    tell(f"compile {NETWORK}, trained on Fashion-MNIST")
    file = pretrained.path(NETWORK)
    images = pretrained.fashion_test_images()
    model = onnx.load(file)
    set_batch(model, 1)
    inputs = images.inputs[:, None]
    artifacts = {
        BITS: compile_network(file, batch=1),
        FLOAT: compile_network(file, batch=1, lowering="float"),
    }
    with pinned(1), scratch() as folder:
        engines: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
        for number, (name, artifact) in enumerate(artifacts.items()):
            session = open_session(artifact, Path(folder, f"{number}.so"), 1)
            engines[name] = lambda x, s=session: s.run({"input": x})["output"]  # type: ignore[misc]
        judge = OnnxEngine(model)
        engines[JUDGE] = lambda x: judge.run({"input": x})["output"]
        tell(f"{len(images.labels)} test images")
        classes = {
            name: np.array([int(engine(x).argmax()) for x in inputs])
            for name, engine in engines.items()
        }
        tell("measure")
        calls: dict[str, Callable[[], object]] = {
            name: lambda e=engine: e(inputs[0])  # type: ignore[misc]
            for name, engine in engines.items()
        }
        times = take_turns(calls, REPEAT, NUMBER)
    figures = pretrained.figures(NETWORK)
    m, n = figures["M"], figures["N"]
    table = Table(
        title=f"{NETWORK} (M={m}, N={n}), {len(images.labels)} test images, one at a time, "
        f"1 thread, {machine_name()}",
        title_justify="left",
        caption=f"whole test set, from the model card: float network "
        f"{figures['float_accuracy']:.2f} %, ABC network {figures['accuracy']:.2f} %, compiled "
        f"{figures['compiled_accuracy']:.2f} %",
        caption_justify="left",
    )
    table.add_column("engine")
    for column in (
        "right",
        "accuracy",
        "same class as onnxruntime",
        "median ms",
        "speed-up",
        "file",
    ):
        table.add_column(column, justify="right")
    for name, predicted in classes.items():
        right = int((predicted == images.labels).sum())
        same = int((predicted == classes[JUDGE]).sum())
        bytes_ = len(artifacts[name].data) if name in artifacts else file.stat().st_size
        table.add_row(
            name,
            str(right),
            f"{right / len(predicted):.2%}",
            f"{same} of {len(predicted)}",
            f"{times[name].median_ms:.3f}",
            f"{times[JUDGE].median_ms / times[name].median_ms:.2f}x",
            size(bytes_),
        )
    agreement = float((classes[BITS] == classes[JUDGE]).mean())
    return DemoOutcome(table, agreement >= AGREEMENT)
