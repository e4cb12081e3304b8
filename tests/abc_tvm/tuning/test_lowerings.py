"""Bits or floats as measured: what is in doubt, who wins, and that compilation heeds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import abc_tvm
from abc_tvm.errors import RecordsError
from abc_tvm.records.database import LOWERINGS, Database, LoweringTimes, Record
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.records import RecordSet, target_json
from abc_tvm.records.task import dump_module
from abc_tvm.reference import weight_bases
from abc_tvm.relay_passes.context import Measured
from abc_tvm.relay_passes.lowerings.doubt import in_doubt
from abc_tvm.targets import Device
from abc_tvm.tuning import maintain
from abc_tvm.tuning.lowerings import Contest, contest, decide
from abc_tvm.tuning.network import Network
from tests.relay_passes.harness import Net


def two(M: int, N: int) -> onnx.ModelProto:
    """Two convolutions of the paper's M bases on N steps."""
    net = Net((1, 32, 9, 9))
    scales = 0.6137 ** np.arange(M)  # no multiples of a step: bytes are not exact

    def convolution(data: str) -> str:
        weight = weight_bases(net.rng.normal(size=(32, 32, 3, 3)), M)
        total = net.step(data, -0.5)
        for n in range(1, N):
            scale = net.constant(1 + n * 0.2371)
            total = net.op("Add", total, net.op("Mul", net.step(data, n / 2), scale))
        return net.conv(total, np.tensordot(scales, weight, 1).astype(np.float32))

    return net.model(convolution(net.op("Relu", convolution("input"))))


@pytest.fixture(scope="module")
def network(device: Device) -> Network:
    return Network(two(3, 4), device)


def pretend(found: Contest, device: Device, folder: Path, fast: str) -> Database:
    """Records of every kernel of the contest, in which one kind is twice as fast."""
    database = Database(folder / folder_name(device))
    keys = {key for kinds in found.kernels.values() for key in kinds[fast]}
    with database:
        Manifest.here(device).write(database.folder)
        for task in found.tasks:
            seconds = (1e-6 if task.key in keys else 2e-6,)
            record = Record(task.key, task.default, seconds, target_json(device), [])
            database.add(task.key, dump_module(task.module), [record])
        assert decide(found, database) == len(found.kernels)
    return database


def test_a_clear_case_is_not_measured(device: Device) -> None:
    found = contest(Network(two(1, 1), device))
    assert found.kernels == {} and found.tasks == [] and found.default


def test_layers_in_doubt_have_kernels_of_both_kinds(network: Network) -> None:
    found = contest(network)
    assert found.kernels
    kinds = {task.key: task.workload.problem.kind for task in found.tasks}
    for both in found.kernels.values():
        assert {kinds[key] for key in both["bitserial"]} == {"bitserial"}
        assert {kinds[key] for key in both["float"]} == {"float"}
    forced = Network(two(3, 4), network.whole.device, lowering="bitserial")
    assert contest(forced).tasks == []


@pytest.mark.parametrize(("fast", "lowering"), [("bitserial", "bitserial"), ("float", "float")])
def test_compilation_takes_the_faster(
    network: Network, device: Device, tmp_path: Path, fast: str, lowering: str
) -> None:
    found = contest(network)
    database = pretend(found, device, tmp_path, fast)
    records = RecordSet(device, [Database(database.folder).read()])
    names = {name for task in found.tasks for name in task.names}
    kinds = {
        name: task.workload.problem.kind
        for task in network.tasks(records)
        for name in task.names
        if name in names
    }
    assert set(kinds.values()) == {fast}
    art = abc_tvm.compile(two(3, 4), device, records=tmp_path)
    rows = [row for row in art.info.layers if row["M"] == 3]
    assert {row["lowering"] for row in rows} == {lowering}
    if fast == "float":
        assert all("measured on" in row["reason"] for row in rows)


def test_what_was_measured_survives_and_the_last_line_counts(tmp_path: Path) -> None:
    first = LoweringTimes("a", {"bitserial": (1e-6, ("1",)), "float": (2e-6, ("2", "3"))})
    last = LoweringTimes("a", {"bitserial": (3e-6, ("1",)), "float": (2e-6, ("2", "3"))})
    with Database(tmp_path) as database:
        database.add_lowering(first)
        database.add_lowering(first)
        database.add_lowering(last)
    assert (tmp_path / LOWERINGS).read_text().count("\n") == 2
    assert Database(tmp_path).read().lowerings == {"a": last}
    assert Measured({"bitserial": 3e-6, "float": 2e-6}).winner == "float"
    (tmp_path / LOWERINGS).write_text('["a", [1]]\n')
    with pytest.raises(RecordsError, match=r"database_lowering\.json, line 1: damaged"):
        Database(tmp_path).read()


def test_check_and_merge_know_lowerings(network: Network, device: Device, tmp_path: Path) -> None:
    found = contest(network)
    database = pretend(found, device, tmp_path / "a", "bitserial")
    maintain.merge([tmp_path / "a"], tmp_path / "b", print)
    copy = Database(tmp_path / "b" / folder_name(device)).read()
    assert copy.lowerings == database.lowerings
    with Database(copy.folder) as writable:
        writable.add_lowering(
            LoweringTimes("x", {"bitserial": (1e-6, ("0",)), "float": (1e-6, ("0",))})
        )
    problems = [f for f in maintain.check(tmp_path / "b", device, print) if f.problem and f.checked]
    assert [(f.workload, f.problem) for f in problems] == [("x", "no record of its kernel 0")]


def test_kinds_are_in_doubt_within_a_factor_of_the_least() -> None:
    assert in_doubt({"bitserial": 0.1, "float": 1.0}) == ["bitserial"]
    assert in_doubt({"bitserial": 0.5, "float": 1.0}) == ["bitserial", "float"]
    assert in_doubt({"bitserial": 2.9, "float": 1.0, "int8": 0.45}) == ["int8", "float"]
