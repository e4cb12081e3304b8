"""One network on its way through the compiler: what runs, and how often."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm

import abc_tvm
from abc_tvm import frontend, stages
from abc_tvm.checks.verify.network import verify
from abc_tvm.compilation import Compilation
from abc_tvm.errors import UserError
from abc_tvm.measure.kernel_plan import compile_plan
from abc_tvm.relay_passes import pipeline
from abc_tvm.relay_passes.pipeline import ORDER, Phase
from abc_tvm.tuning.network import Network
from tests.abc_tvm.small_networks import network


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the network was imported, and how often each pass ran."""
    ran: Counter[str] = Counter()
    passes, to_relax = pipeline.passes, frontend.to_relax

    def counting(name: str, step: Any) -> Any:
        def run(module: Any) -> Any:
            ran[name] += 1
            return step(module)

        return run

    def watched(*given: Any, **named: Any) -> Any:
        return [(name, counting(name, step)) for name, step in passes(*given, **named)]

    def imported(*given: Any) -> Any:
        ran["import"] += 1
        return to_relax(*given)

    monkeypatch.setattr(pipeline, "passes", watched)
    monkeypatch.setattr(stages.frontend, "to_relax", imported)
    return ran


ONCE = Counter({"import": 1, **dict.fromkeys(ORDER, 1)})


@pytest.mark.parametrize("make", [abc_tvm.compile, abc_tvm.compile_c, compile_plan])
def test_everything_runs_once(make: Any, counted: Counter[str]) -> None:
    make(network(), "native", lowering="bitserial")
    assert counted == ONCE


def test_inspect_stops_where_layers_are_decided(counted: Counter[str]) -> None:
    report = abc_tvm.inspect(network(), lowering="bitserial")
    assert report.rows and counted == Counter(
        {"import": 1, **dict.fromkeys(ORDER[: ORDER.index("encode") + 1], 1)}
    )


def test_float_looks_at_layers_once(counted: Counter[str]) -> None:
    artifact = abc_tvm.compile(network(), lowering="float")
    assert {row.lowering for row in artifact.report} == {"float"}
    assert any(row.reason == "lowering=float was asked for" for row in artifact.report)
    assert counted["import"] == counted["canonicalise"] == counted["recognise_weights"] == 1
    assert not counted["encode"]


def test_verify_builds_its_kernels_twice_and_nothing_else(counted: Counter[str]) -> None:
    assert verify(network(), lowering="bitserial").passed
    twice = {name: n for name, n in counted.items() if n > 1}
    assert twice == {"fuse": 2, "lower": 2, "legalise": 2}


def test_a_contest_of_lowerings_begins_behind_recognition(counted: Counter[str]) -> None:
    tuned = Network(network(), Compilation(network()).device)
    counted.clear()
    tuned.tasks()
    first = Counter(counted)
    tuned.tasks()
    behind = ORDER[ORDER.index("choose_lowering") : ORDER.index("fuse") + 1]
    assert counted - first == Counter(dict.fromkeys(behind, 1))


def test_phases_are_kept_and_come_in_order() -> None:
    whole = Compilation(network(), lowering="bitserial")
    start = whole.until(Phase.IMPORTED)
    assert start is whole.imported.module
    encoded = whole.until(Phase.ENCODED)
    assert whole.until(Phase.ENCODED) is encoded and whole.past(Phase.RECOGNISED)
    with pytest.raises(ValueError, match="COLLAPSED is past"):
        whole.until(Phase.COLLAPSED)
    again = whole.finish(encoded, Phase.ENCODED)
    tvm.ir.assert_structural_equal(again, whole.until(Phase.LOWERED))


def test_another_with_other_records_leaves_the_first_as_it_is() -> None:
    whole = Compilation(network())
    recognised = whole.until(Phase.RECOGNISED)
    rows = {name: row.row() for name, row in whole.context.layers.items()}
    other = whole.again(Phase.RECOGNISED)
    other.until(Phase.FUSED)
    assert {name: row.row() for name, row in whole.context.layers.items()} == rows
    assert whole.until(Phase.RECOGNISED) is recognised
    assert whole.until(Phase.FUSED) is not other.until(Phase.FUSED)


def test_dumps_are_numbered_through(tmp_path: Path) -> None:
    whole = Compilation(network(), dump=tmp_path)
    whole.until(Phase.COLLAPSED)
    whole.until(Phase.FUSED)
    names = [f"{n:02d}_{name}.py" for n, name in enumerate(ORDER[: ORDER.index("fuse") + 1])]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_a_dump_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/d: the dump cannot be written"):
        Compilation(network(), dump=tmp_path / "file" / "d").until(Phase.COLLAPSED)


def test_a_pass_that_finds_no_file_does_not_blame_the_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> Any:
        raise FileNotFoundError("elsewhere")

    monkeypatch.setattr(pipeline, "passes", lambda *_: [("canonicalise", fail)])
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        Compilation(network(), dump=tmp_path).until(Phase.COLLAPSED)


def test_a_c_library_of_an_open_batch_is_of_one_image() -> None:
    model = network()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    whole = Compilation(model, one_image=True)
    ((port,), _) = stages.ports(whole.imported.module)
    assert port.shape[0] == 1
    assert np.prod(port.shape) > 1
