"""Workloads of a folder that ships, packed and back; no archive makes more than it may."""

from __future__ import annotations

import base64
import json
import lzma
import tracemalloc

import pytest

from abc_tvm.records.packed import BYTES, pack, unpack
from abc_tvm.records.task import Task, dump_module


def test_a_bomb_is_not_unpacked() -> None:
    bomb = lzma.compress(bytes(64 << 20), preset=0)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="unpacks to more than"):
            unpack(bomb, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_packed_and_back(tasks: list[Task]) -> None:
    workloads = {task.key: dump_module(task.module) for task in tasks}
    with_folder = unpack(pack(workloads))
    assert len(with_folder.splitlines()) == len(tasks)
    assert all(key in with_folder and text in with_folder for key, text in workloads.items())
    assert len(pack(workloads)) < len(with_folder) / 5


def test_no_workload_and_every_byte() -> None:
    assert unpack(pack({})) == ""
    every = bytes(range(256))
    stored = base64.b64encode(every).decode()
    (line,) = unpack(pack({"7": stored})).splitlines()
    assert json.loads(line) == ["7", stored]
    assert every.decode(BYTES).encode(BYTES) == every


def test_as_many_bytes_as_allowed() -> None:
    data = pack({"7": "AAAA"})
    size = len(lzma.decompress(data))
    assert unpack(data, size)
    with pytest.raises(ValueError, match=f"unpacks to more than {size - 1} bytes"):
        unpack(data, size - 1)


@pytest.mark.parametrize("end", [0, 1, -1])
def test_a_cut_archive(end: int) -> None:
    with pytest.raises(ValueError, match="ends too early"):
        unpack(pack({"7": "AAAA"})[:end])
