"""What is timed beside what, and what the outcome says; engines here are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from abc_tvm.engines.engine import FLOAT, OPPONENTS, OURS, Refusal
from abc_tvm.errors import UserError
from abc_tvm.measure import bench as module
from abc_tvm.measure.bench import CLOCK, Comparison, Result, bench
from abc_tvm.measure.timing import Times
from tests.abc_tvm.measure.made_up import LIMITS, profile, report, row
from tests.abc_tvm.small_networks import network

SPELLED_OUT = report((3, 2, "bitserial"))


class Bench:
    """Engines of made-up times; those in ``refused`` are not timed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.refused: set[str] = set()
        self.report, self.measured = SPELLED_OUT, 0
        self.profiled: list[tuple[str, str]] = []
        patch.setattr(module, "Engines", self.engines)
        patch.setattr(module, "take_turns", self.take_turns)
        patch.setattr(module, "measure_limits", lambda device, threads: LIMITS)
        patch.setattr(module, "profile_plan", self.profile_plan)

    def engines(self, source: Any, other: Any, *_: Any) -> Any:
        artifact = SimpleNamespace(report=self.report)
        made = SimpleNamespace(
            calls={}, plans={}, agreements=[], refused=[], inputs={},
            network=lambda name: "model" if name == OURS or other is None else "float model",
            records_settings=lambda: None,
        )  # fmt: skip

        def add(name: str) -> None:
            if name in (OURS, FLOAT):
                made.plans[name] = SimpleNamespace(
                    artifact=artifact, name=name, tuned=0, device=None
                )
            if name in self.refused:
                made.refused.append(Refusal(name, "model", f"{name} is not timed"))
            else:
                made.calls[name] = lambda: None

        made.add = add
        return made

    def take_turns(self, calls: dict[str, Callable[[], object]], repeat: int) -> dict[str, Times]:
        self.measured += 1
        return {name: Times.of([1.0 + place]) for place, name in enumerate(calls)}

    def profile_plan(self, plan: Any, file: Any, *_: Any) -> Any:
        self.profiled.append((plan.name, file.name))
        return profile(row("a"), run_ms=1.0)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_engines_that_are_unknown(made_up: Bench) -> None:
    with pytest.raises(UserError, match="against: unknown engine 'tensorrt'") as caught:
        bench(network(), against=["onnxruntime", "tensorrt"])
    assert all(name in str(caught.value) for name in OPPONENTS)
    with pytest.raises(UserError, match="threads"):
        bench(network(), threads=0)
    assert made_up.measured == 0


def test_ours_is_the_first_and_the_clock_is_no_engine(made_up: Bench) -> None:
    found = bench(network(), against=["onnxruntime", "torch"])
    assert [one.engine for one in found.results] == [OURS, "onnxruntime", "torch"]
    assert found.speedup == {"onnxruntime": 2.0, "torch": 3.0}
    assert found.clock == Times.of([4.0]) and CLOCK not in found.speedup
    assert made_up.profiled == [] and found.json()["peaks"] is None


@pytest.mark.parametrize(
    ("against", "layers", "wanted"),
    [
        (["onnxruntime"], True, [OURS]),
        (["onnxruntime", FLOAT], False, [FLOAT]),
        ([FLOAT], True, [OURS, FLOAT]),
    ],
)
def test_whose_layers_are_timed(
    against: list[str], layers: bool, wanted: list[str], made_up: Bench
) -> None:
    found = bench(network(), against=against, layers=layers)
    assert list(found.profiles) == wanted
    assert made_up.profiled == [(name, f"{name}-layers.so") for name in wanted]
    assert list(found.json()["layers"]) == wanted


def test_nothing_is_timed_where_ours_is_refused(made_up: Bench) -> None:
    made_up.refused = {OURS}
    found = bench(network(), layers=True)
    assert (found.results, found.speedup, found.clock, found.profiles) == ((), {}, None, {})
    assert made_up.measured == 0 and [one.engine for one in found.refused] == [OURS]
    assert json.loads(json.dumps(found.json()))["clock"] is None


@pytest.mark.parametrize(
    ("layers", "against", "other", "straw_man"),
    [
        ([(3, 2, "bitserial")], ["onnxruntime"], None, True),
        ([(3, 2, "bitserial")], ["onnxruntime"], network(binary=False), False),
        ([(3, 2, "bitserial")], [FLOAT], None, False),
        ([(1, 1, "bitserial"), (None, None, "int8")], ["onnxruntime"], None, False),
        ([(3, 2, "float")], ["onnxruntime"], None, False),
    ],
)
def test_an_opponent_that_runs_every_base_is_a_straw_man(
    layers: list[Any], against: Sequence[str], other: Any, straw_man: bool, made_up: Bench
) -> None:
    made_up.report = report(*layers)
    found = bench(network(), against=against, float_model=other)
    assert found.straw_man is straw_man
    assert found.results[1].network == ("model" if other is None else "float model")


def test_json_of_a_remote_device() -> None:
    results = tuple(Result(name, "model", Times.of([t])) for name, t in ((OURS, 2.0), ("a", 5.0)))
    found = Comparison(
        results, 2, (0, 1), {"x": [1, 4]}, True, SPELLED_OUT, "board:9090",
        clock=Times.of([1.0, 1.5]), profiles={OURS: profile(row("a"), run_ms=1.0)},
    )  # fmt: skip
    facts = json.loads(json.dumps(found.json()))
    assert facts["machine"] == facts["device"] == "board:9090"
    assert facts["speedup"] == {"a": 2.5} and facts["clock"]["spread"] == 0.5
    assert (facts["bitserial_layers"], facts["straw_man"]) == (1, True)
    assert facts["peaks"]["memory_gbs"] == 10.0 and len(facts["layers"][OURS]) == 1
