"""A lowering that is registered from outside compiles networks, with no other file changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from tvm import relax

import abc_tvm
from abc_tvm import zoo
from abc_tvm.checks.verify.network import verify
from abc_tvm.errors import UserError
from abc_tvm.measure.kernel_plan import compile_plan
from abc_tvm.measure.machine_limits import Limits
from abc_tvm.measure.plots import colours, labels
from abc_tvm.records.task import save_layer
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.lowerings import table
from abc_tvm.relay_passes.lowerings.candidate import Candidate, Offer
from abc_tvm.relay_passes.lowerings.lowering import Emitter
from abc_tvm.targets import load
from abc_tvm.tuning.lowerings import contest
from abc_tvm.tuning.network import Network, tasks_of
from tests.relay_passes.lowerings.toy import TOY, Toy


@pytest.fixture
def _toy() -> Iterator[None]:
    with table.register(TOY):
        yield


@pytest.mark.usefixtures("_toy")
@pytest.mark.parametrize(("M", "N"), [(1, 1), (2, 2)])
def test_it_compiles_lenet(M: int, N: int, tmp_path: Path, rng: np.random.Generator) -> None:
    model = zoo.build("lenet", M, N, batch=2, grid=True)
    x = {"input": rng.standard_normal((2, 1, 28, 28)).astype(np.float32)}
    results = []
    for lowering in ("toy", "float"):
        artifact = abc_tvm.compile(model, "native", lowering=lowering)
        artifact.save(tmp_path / f"{lowering}.so")
        results.append(abc_tvm.load(tmp_path / f"{lowering}.so", threads=1).run(x)["output"])
        if lowering == "toy":
            taken = [row["lowering"] for row in artifact.info.layers]
            assert taken.count("toy") == 2 and set(taken) == {"toy", "float"}
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("_toy")
def test_reports_verify_profile_and_plots_know_it() -> None:
    model = zoo.build("lenet", 2, 2, batch=2, grid=True)
    facts = abc_tvm.inspect(model, lowering="toy").json()
    assert facts["toy_layers"] == 2 and facts["toy_macs"] > 0 and facts["bitserial_layers"] == 0
    outcome = verify(model, lowering="toy")
    assert outcome.passed and outcome.json()["toy_layers"] == 2
    assert outcome.checked_bits > 0 and outcome.flipped_bits == 0
    kinds = [kernel.kind for kernel in compile_plan(model, lowering="toy").kernels]
    assert kinds.count("toy") == 2
    assert {"toy", "other"} <= colours().keys() == labels().keys()
    assert Limits((), 1.0, 1.0, 1).of("toy") is None


@pytest.mark.usefixtures("_toy")
def test_the_chooser_takes_it_where_it_is_cheapest_and_the_tuner_measures_it() -> None:
    cheap = load("rpi4")
    rows = abc_tvm.inspect(zoo.build("lenet", 4, 4, batch=1, grid=True), cheap)
    assert "toy" in {row.lowering for row in rows}
    both = contest(Network(zoo.build("lenet", 3, 3, batch=1, grid=True), cheap))
    assert any("toy" in words for words in both.kernels.values())


def test_it_is_gone_afterwards() -> None:
    with table.register(TOY):
        assert table.names()[-1] == "toy" and table.of_operator("abc.toy_conv2d") is TOY
        with pytest.raises(ValueError, match="already"):
            table.register(TOY)
    assert table.of_operator("abc.toy_conv2d") is None
    with pytest.raises(UserError, match=r"lowering: 'toy' is unknown; choose one of auto, .*int8$"):
        abc_tvm.inspect(zoo.build("lenet", 1, 1), lowering="toy")


def test_a_package_adds_one_for_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("toy", "tests.relay_passes.lowerings.toy:TOY", table.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])
    table.installed.cache_clear()
    try:
        assert table.names()[-1] == "toy" and table.lowering_of("toy") is TOY
    finally:
        table.installed.cache_clear()


class Costly(Toy):
    """Its cost is no number."""

    def offer(self, layer: Candidate, rival: float) -> Offer | None:
        return Offer(float("nan"))


class Silent(Toy):
    """It gives nothing in the place of a layer."""

    def encode(
        self, layer: Candidate, reading: LayerReading, emitter: Emitter, error: float
    ) -> relax.Call | str:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("toy", "message"),
    [
        (Costly(), "the lowering 'toy' offers a cost of nan"),
        (
            Silent(),
            r"the lowering 'toy' gives None for conv2_A0B0, and neither abc\.toy_conv2d nor",
        ),
    ],
)
def test_one_that_misbehaves_is_named(toy: Toy, message: str) -> None:
    with table.register(toy), pytest.raises(UserError, match=message):
        abc_tvm.compile(zoo.build("lenet", 1, 1, grid=True), "zen4", lowering="toy")


PROGRAM = """
import sys
from importlib import metadata
point = metadata.EntryPoint("toy", "tests.relay_passes.lowerings.toy:TOY", "abc_tvm.lowerings")
others = metadata.entry_points
metadata.entry_points = lambda **at: [point] if at.get("group") == point.group else others(**at)
from pathlib import Path
from abc_tvm.records.task import load_layer
from abc_tvm.targets import load
task = load_layer(Path(sys.argv[1]), sys.argv[2], load("native"))
print(task.names[0])
"""


@pytest.mark.usefixtures("_toy")
def test_a_kernel_of_it_is_read_in_another_process(tmp_path: Path) -> None:
    """As the processes of the tuner do, which have it from an entry point."""
    model = zoo.build("lenet", 1, 1, batch=1, grid=True)
    tasks = tasks_of(model, load("native"), lowering="toy")
    task = next(task for task in tasks if "conv2_A0B0" in task.names)
    save_layer(tmp_path, task)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), task.key]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.stdout.strip() == "conv2_A0B0", done.stderr
