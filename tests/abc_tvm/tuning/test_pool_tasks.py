"""Pooling on bits and on bytes is a task as fused kernels are, and its records are compiled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import abc_tvm
from abc_tvm.compute.accumulate import Tile
from abc_tvm.records.database import Database, Record
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.records import open_records, target_json
from abc_tvm.records.task import Task, dump_module, load_layer, save_layer
from abc_tvm.targets import Device
from abc_tvm.tuning.measure import Bench
from abc_tvm.tuning.network import tasks_of
from tests.relay_passes.harness import two_layers


@pytest.fixture(scope="module")
def pooled() -> onnx.ModelProto:
    return two_layers(pool=True, symbolic=True)


@pytest.fixture(scope="module")
def task(pooled: onnx.ModelProto, device: Device) -> Task:
    tasks = tasks_of(pooled, device, lowering="bitserial")
    (found,) = (task for task in tasks if task.space.problem.kind == "pool_bitserial")
    return found


def test_it_is_kept_and_built_again(task: Task, device: Device, tmp_path: Path) -> None:
    assert task.names == ["pooled_bits"] and task.macs == 0
    save_layer(tmp_path, task)
    again = load_layer(tmp_path, task.key, device)
    assert again is not None and again.space == task.space
    assert Bench(again, device).build(task.default).seconds()[0] > 0


def test_a_record_is_compiled_and_changes_no_bit(
    pooled: onnx.ModelProto, task: Task, device: Device, tmp_path: Path, rng: np.random.Generator
) -> None:
    other = replace(task.default, tile=Tile(columns=1, parts=4), cut="rows")
    own = tmp_path / folder_name(device)
    with Database(own) as database:
        Manifest.here(device).write(own)
        record = Record(task.key, other, (1e-6,), target_json(device), [])
        database.add(task.key, dump_module(task.module), [record])
    records = open_records(device, tmp_path, print)
    assert records.choice(task.workload.func) == other
    x = {"input": rng.normal(size=(3, 4, 6, 6)).astype(np.float32)}
    found = []
    for folder in (None, tmp_path):
        path = tmp_path / f"{len(found)}.so"  # a library of the same path may still be loaded
        abc_tvm.compile(pooled, device, lowering="bitserial", records=folder).save(path)
        found.append((path.read_bytes(), abc_tvm.load(path).run(x)))
    assert found[0][0] != found[1][0]
    np.testing.assert_array_equal(found[0][1]["output"], found[1][1]["output"])
