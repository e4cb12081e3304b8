"""Whether engines compute the same network: looked at before any of them is timed.

The reference of a network is onnxruntime without graph optimisations: every operator as it is
written. Engines that compute in float32, or exactly, agree with it up to rounding; where the
network compares values with thresholds, one activation bit that flips by rounding moves the
outputs, so that there the limit is the one of ``abc_tvm.checks.verify.network`` (which also counts
the bits). A quantised engine is an approximation by intent, and has a limit of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from abc_tvm import frontend
from abc_tvm.checks.verify.network import (
    DRIFT,
    MOST_DRIFT,
    ROUNDING,
    difference,
    relative_error,
    scaled_error,
)
from abc_tvm.engines.onnx_engine import OnnxEngine, has_onnxruntime
from abc_tvm.engines.open_batch import set_batch
from abc_tvm.errors import UserError
from abc_tvm.stages import Source

INT8_LIMIT = 0.35
"""Relative error (2-norm) of a quantised engine; outputs of unrelated networks are 1.4 apart.

Measured on float networks with random weights: 0.02 (ResNet-8), 0.04 (ResNet-18), and on images of
64 pixels, 0.09 (ResNet-18) and 0.19 (ResNet-34).
"""

MOVES = 4
"""Ways to move the inputs, of which the drift is the most."""

CRITERION = (
    f"against onnxruntime without graph optimisations, on the same inputs: float32 and compiled "
    f"engines, every output within {ROUNDING:g} of the largest value; where the network has "
    f"thresholds, or a relative error (2-norm) of at most {DRIFT:g} or the drift of the reference "
    f"(inputs moved to neighbouring float32 numbers, or its optimisations on), but below "
    f"{MOST_DRIFT:g}; int8 engines, a "
    f"relative error of at most {INT8_LIMIT:g}, or {MOST_DRIFT:g} where the network has thresholds"
)

OPTIMISED = "onnxruntime"
"""The engine that is onnxruntime with its optimisations."""

MODEL = "model"
"""The network that is compiled; thresholds that its report knows of are its own."""

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """How far an engine's outputs are from the reference: relative error, and the limit."""

    engine: str
    network: str
    error: float
    largest: float
    limit: float
    agrees: bool

    def line(self) -> str:
        """One line for the user, of an engine that is refused."""
        return (
            f"{self.engine} is not timed: its outputs of the {self.network} are {self.error:.2g} "
            f"(relative, 2-norm) from onnxruntime's, and {self.limit:.2g} is allowed"
        )

    def json(self) -> dict[str, Any]:
        """The finding as JSON."""
        return asdict(self)


class Reference:
    """The right outputs of one network on one input.

    Args:
        network: What messages call it.
        engine: onnxruntime without graph optimisations.
        inputs: One input.
        thresholds: Whether the network is known to compare values with thresholds.
        optimised: Makes onnxruntime with its optimisations: another order of the same sums.
    """

    def __init__(
        self,
        network: str,
        engine: OnnxEngine,
        inputs: dict[str, np.ndarray],
        thresholds: bool,
        optimised: Callable[[], OnnxEngine] | None = None,
    ) -> None:
        self.network, self.thresholds, self._optimised = network, thresholds, optimised
        self._engine, self._inputs = engine, inputs
        self.outputs = engine.run(inputs)
        self._moved: float | None = None
        self._drift: float | None = None

    def judge(self, engine: str, outputs: Outputs, *, int8: bool = False) -> Agreement:
        """Compare the outputs of an engine."""
        names = list(self.outputs)
        if list(outputs) != names or any(outputs[n].shape != self.outputs[n].shape for n in names):
            return Agreement(engine, self.network, float("inf"), float("inf"), 0.0, False)
        error = max(relative_error(outputs[n], self.outputs[n]) for n in names)
        scaled = max(scaled_error(outputs[n], self.outputs[n]) for n in names)
        largest = max(float(difference(outputs[n], self.outputs[n]).max(initial=0)) for n in names)
        steps = self.thresholds or (scaled > ROUNDING and self.drift(engine) > ROUNDING)
        if int8:
            limit = MOST_DRIFT if steps else INT8_LIMIT
            return Agreement(engine, self.network, error, largest, limit, error <= limit)
        if scaled <= ROUNDING or not steps:
            return Agreement(engine, self.network, error, largest, ROUNDING, scaled <= ROUNDING)
        limit = min(max(DRIFT, self.drift(engine)), MOST_DRIFT)
        return Agreement(engine, self.network, error, largest, limit, error <= limit)

    def drift(self, engine: str) -> float:
        """How far onnxruntime is from itself: what rounding does to the outputs.

        The most of ``MOVES`` ways to move the inputs to neighbouring float32 numbers, and of a run
        with graph optimisations: which bits flip is chance. (Tried on ABC ResNet-34, M = N = 3,
        64 pixels: no move changes anything, and its optimisations move the outputs by 0.47.) The
        run with optimisations does not count where it is what is judged.
        """
        if self._moved is None:
            moves = [_moved(self._inputs, seed) for seed in range(MOVES)]
            self._moved = self._furthest([self._engine.run(inputs) for inputs in moves])
        if self._optimised is None or engine == OPTIMISED:
            return self._moved
        if self._drift is None:
            self._drift = self._furthest([self._optimised().run(self._inputs)])
        return max(self._moved, self._drift)

    def _furthest(self, runs: list[dict[str, np.ndarray]]) -> float:
        wanted = self.outputs
        return max(relative_error(run[n], wanted[n]) for run in runs for n in wanted)


class References:
    """The reference of each network, made when it is first asked for.

    Args:
        sources: The networks, by what messages call them.
        batch: Fixes a batch that a network leaves open.
        threads: Of the reference.
    """

    def __init__(self, sources: Mapping[str, Source], batch: int, threads: int) -> None:
        self.sources, self.batch, self.threads = sources, batch, threads
        self.thresholds = False
        self._standard: dict[str, onnx.ModelProto] = {}
        self._found: dict[str, Reference] = {}

    def standard(self, network: str) -> onnx.ModelProto:
        """A network in standard ONNX operators, its batch fixed."""
        if network not in self._standard:
            standard = frontend.standard_onnx(self.sources[network])
            set_batch(standard, self.batch)
            self._standard[network] = standard
        return self._standard[network]

    def judge(
        self,
        engine: str,
        network: str,
        inputs: dict[str, np.ndarray],
        outputs: Outputs,
        *,
        int8: bool = False,
    ) -> Agreement | None:
        """Compare outputs; ``None`` where onnxruntime is not installed, and nothing is compared.

        Raises:
            UserError: The network does not take ``inputs``.
        """
        if not has_onnxruntime():
            return None
        if network not in self._found:
            standard = self.standard(network)
            constants = {tensor.name for tensor in standard.graph.initializer}
            wanted = [v.name for v in standard.graph.input if v.name not in constants]
            if set(wanted) != set(inputs):
                raise UserError(
                    f"the {network} has the inputs {', '.join(wanted)}, and the model "
                    f"{', '.join(inputs)}: give a network with the same inputs"
                )
            reference = OnnxEngine(standard, threads=self.threads, optimise=False)
            known = self.thresholds and network == MODEL
            self._found[network] = Reference(
                network,
                reference,
                inputs,
                known,
                lambda: OnnxEngine(standard, threads=self.threads),
            )
        return self._found[network].judge(engine, outputs, int8=int8)


def _moved(inputs: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Every float32 moved to one of its neighbours, at random."""
    rng = np.random.default_rng(seed)

    def neighbour(array: np.ndarray) -> np.ndarray:
        if array.dtype != np.float32:
            return array
        ends = rng.choice(np.array([-np.inf, np.inf], np.float32), array.shape)
        return np.nextafter(array, ends)

    return {name: neighbour(array) for name, array in inputs.items()}
