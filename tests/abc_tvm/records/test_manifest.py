"""A folder of records is for one target and one version; its manifest says which."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.errors import RecordsError
from abc_tvm.records.manifest import FILE, Manifest, folder_name, identity
from abc_tvm.targets import load


@pytest.mark.parametrize("text", ["[]", "3", '{"target": {}}', '{"a": 1}', '{"target": 1}', "{"])
def test_another_manifest_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(RecordsError, match=r"manifest\.json: not a manifest") as caught:
        Manifest.read(tmp_path)
    assert "argument" not in str(caught.value)


def test_written_and_read(tmp_path: Path) -> None:
    assert Manifest.read(tmp_path) is None
    made = replace(Manifest.here(load("rpi4")), settings={"trials": 3})
    made.write(tmp_path)
    assert Manifest.read(tmp_path) == made
    assert (tmp_path / FILE).read_text().endswith("}\n")


def test_unknown_fields_and_wrong_kinds(tmp_path: Path) -> None:
    good = {"target": {}, "tvm": "1", "abc_tvm": "2"}
    for changed in ({"more": 1}, {"target": []}, {"settings": None}):
        (tmp_path / FILE).write_text(json.dumps(good | changed))
        with pytest.raises(RecordsError, match=r"manifest\.json: not a manifest"):
            Manifest.read(tmp_path)
    (tmp_path / FILE).write_text(json.dumps(good))
    found = Manifest.read(tmp_path)
    assert found is not None and found.settings == {} and found.machine == ""


def test_a_folder_is_of_instructions_and_not_of_cores() -> None:
    device = load("zen4")
    name = folder_name(device)
    assert name.startswith(f"{device.cpu}-")
    assert folder_name(replace(device, name="mine")) == name
    more, turned = (replace(device, features=f) for f in (("+a", "+b"), ("+b", "+a")))
    assert folder_name(more) == folder_name(turned) != name
    gpu = load("cuda-sm80")
    assert folder_name(gpu).startswith("sm_80-") and identity(gpu)["arch"] == "sm_80"
    assert "arch" not in identity(device)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tvm": "0.1"}, "tvm 0.1, not "),
        ({"abc_tvm": "0.0"}, "abc_tvm 0.0, not "),
        ({"target": {"cpu": "z80", "features": ["a", "b"]}}, "target z80 a b, not "),
        ({"target": {}}, "target ?, not "),
    ],
)
def test_what_it_is_not_for(changed: dict[str, Any], words: str) -> None:
    here = Manifest.here(load("rpi4"))
    assert here.mismatch(replace(here, machine="another", settings={"a": 1})) is None
    text = replace(here, **changed).mismatch(here)
    assert text is not None and text.startswith(words)
