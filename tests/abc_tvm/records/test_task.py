"""Tasks: what is counted, what a workload is known by, and layers that were kept on the disk."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import tvm

from abc_tvm.errors import RecordsError
from abc_tvm.records.task import (
    LAYERS,
    Task,
    dump_module,
    load_layer,
    load_module,
    save_layer,
    workload_key,
)
from abc_tvm.relay_passes.ops import OLD_NAMES
from abc_tvm.targets import Device


def test_names_and_counts(tasks: list[Task]) -> None:
    task = replace(tasks[0], names=[])
    assert (task.name, task.count) == (task.key, 1)
    assert (replace(task, names=["a", "b"]).name, replace(task, names=["a", "b"]).count) == ("a", 2)
    assert task.default == task.space.default()


def test_multiply_accumulates_of_one_call(tasks: list[Task]) -> None:
    """Of 8 channels to 16 by 3x3, then 16 to 4 by 1x1, on 6x6 pixels; Sign takes two planes."""
    assert [task.macs for task in tasks] == [0, 2 * 36 * 16 * 8 * 9, 2 * 36 * 4 * 16]


def test_a_module_goes_to_text_and_back(tasks: list[Task]) -> None:
    text = dump_module(tasks[0].module)
    again = load_module(text, "here")
    tvm.ir.assert_structural_equal(again, tasks[0].module)
    assert workload_key(again) == tasks[0].key != tasks[1].key
    assert tasks[0].key.isdigit()


@pytest.mark.parametrize("text", ["", "AAAA", "e30=", "%%%"])
def test_a_text_that_is_no_module(text: str) -> None:
    with pytest.raises(RecordsError, match=r"^here: damaged"):
        load_module(text, "here")


def test_a_layer_that_an_earlier_version_kept(
    tasks: list[Task], device: Device, tmp_path: Path
) -> None:
    """Its operators had other names."""
    for task in tasks:
        save_layer(tmp_path, task)
        path = tmp_path / LAYERS / f"{task.key}.json"
        kept = json.loads(path.read_text())
        text = zlib.decompress(base64.b64decode(kept["function"])).decode()
        for old, new in OLD_NAMES.items():
            text = text.replace(f'"relax.abc.{new}"', f'"relax.abc.{old}"')
        kept["function"] = base64.b64encode(zlib.compress(text.encode())).decode()
        path.write_text(json.dumps(kept))
        again = load_layer(tmp_path, task.key, device)
        assert again is not None and again.key == task.key
    assert '"relax.abc.bitconv2d"' in text


def test_a_layer_is_kept_once(tasks: list[Task], device: Device, tmp_path: Path) -> None:
    task = replace(tasks[0], names=["one", "two"])
    assert load_layer(tmp_path, task.key, device) is None
    save_layer(tmp_path, task)
    save_layer(tmp_path, replace(task, names=["another"]))
    again = load_layer(tmp_path, task.key, device)
    assert again is not None
    assert again.key == task.key and again.names == ["one", "two"]
    tvm.ir.assert_structural_equal(again.workload.function, task.workload.function)


def test_what_was_kept_is_something_else(tasks: list[Task], device: Device, tmp_path: Path) -> None:
    first, second = tasks[:2]
    save_layer(tmp_path, first)
    path = tmp_path / LAYERS / f"{first.key}.json"
    (tmp_path / LAYERS / f"{second.key}.json").write_text(path.read_text())
    with pytest.raises(RecordsError, match="is not the layer that its name says"):
        load_layer(tmp_path, second.key, device)
    good = json.loads(path.read_text())
    for text in ("", "{}", "[]", json.dumps(good | {"function": "AAAA"})):
        path.write_text(text)
        with pytest.raises(RecordsError, match=rf"{first.key}\.json: damaged .*: remove the file"):
            load_layer(tmp_path, first.key, device)


def test_a_folder_that_cannot_be_made(tasks: list[Task], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordsError, match="layers: cannot be made: Not a directory"):
        save_layer(tmp_path / "file", tasks[0])
