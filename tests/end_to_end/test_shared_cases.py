"""Small networks that go wrong, each with what it must do: the folder ``cases`` beside the models.

``equal`` compiles and gives onnxruntime's outputs; ``refused`` is one line and exit code 2;
``bits N`` is ``equal`` with N layers on bits or bytes; ``one line`` is either.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import abc_tvm
from abc_tvm.errors import UserError
from tests.conftest import _shared
from tests.end_to_end.judge import reference

pytestmark = pytest.mark.shared

AREAS = ("memo", "ties", "verify", "operators", "types", "names", "constants", "hostile")
"""Recognition, exactness, size and speed are other promises: those cases must only be right."""

CLOSE = 1e-4
"""Of the largest output: what the cases' own table allows."""

FEW_BYTES = 1 << 30
"""The most memory that a hostile file may take, above what the process has without it."""

COMMAND = """
import resource, sys
import tvm, onnx, onnx.reference
import abc_tvm.relay_passes.pipeline
from abc_tvm.cli import main
with open("/proc/self/statm") as statm:
    now = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[1]), now + int(sys.argv[1])))
sys.argv[1:] = sys.argv[2:]
main()
"""


def cases() -> list[dict[str, str]]:
    folder = _shared()
    table = None if folder is None else folder / "cases" / "cases.json"
    return json.loads(table.read_text()) if table is not None and table.is_file() else []


def named(kinds: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(case, id=Path(case["file"]).stem)
        for case in cases()
        if case["expect"].split()[0] in kinds
    ]


def inputs_of(model: onnx.ModelProto, folder: Path, case: dict[str, str]) -> dict[str, np.ndarray]:
    stored_names = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in stored_names]
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input
    }
    if "inputs" in case:
        with np.load(folder / case["inputs"]) as stored:
            found = dict(stored)
        # One file was stored for another network than the one beside it.
        if all(name in found and _fits(found[name].shape, shapes[name]) for name in names):
            return found
    rng = np.random.default_rng(0)
    arrays = {}
    for value in model.graph.input:
        if value.name not in names:
            continue
        kind = value.type.tensor_type
        shape = [dim.dim_value or 2 for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        drawn = np.rint(rng.normal(0, 3, shape) * 4) / 4  # with zeros and whole numbers
        arrays[value.name] = drawn.astype(dtype)
    return arrays


def _fits(shape: tuple[int, ...], declared: list[int]) -> bool:
    """Whether an array is of a declared shape, where 0 is open."""
    same = len(shape) == len(declared)
    return same and all(b in (0, a) for a, b in zip(shape, declared, strict=True))


def judge(case: dict[str, str], folder: Path, tmp_path: Path, areas: tuple[str, ...]) -> None:
    path = folder / case["file"]
    model = onnx.load(path)
    arrays = inputs_of(model, folder, case)
    refusal = None
    try:
        artifact = abc_tvm.compile(path, target="native")
    except UserError as error:
        if "refused" not in case["expect"]:
            raise
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal
        return
    artifact.save(tmp_path / "case.so")
    found = abc_tvm.load(tmp_path / "case.so", threads=1).run(arrays)
    wanted = reference(model, arrays)
    for (name, a), b in zip(found.items(), wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        largest = max(1e-30, float(np.abs(b.astype(np.float64)).max(initial=0)))
        np.testing.assert_allclose(
            a.astype(np.float64), b.astype(np.float64), rtol=0, atol=CLOSE * largest, err_msg=name
        )
    if case["expect"].startswith("bits") and case["area"] in areas:
        low = sum(row.lowering in ("bitserial", "int8") for row in artifact.report)
        assert low >= int(case["expect"].split()[1])


@pytest.mark.parametrize("case", named(("equal", "bits")))
def test_a_network_that_went_wrong_is_right(
    shared_dir: Path, tmp_path: Path, case: dict[str, str]
) -> None:
    judge(case, shared_dir / "cases", tmp_path, AREAS)


@pytest.mark.parametrize("case", named(("refused",)))
def test_what_has_no_meaning_is_refused(
    shared_dir: Path, tmp_path: Path, case: dict[str, str]
) -> None:
    with pytest.raises(UserError) as caught:
        abc_tvm.compile(shared_dir / "cases" / case["file"], target="native")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", named(("one",)))
def test_a_damaged_file_is_one_line(shared_dir: Path, tmp_path: Path, case: dict[str, str]) -> None:
    path = shared_dir / "cases" / case["file"]
    out = tmp_path / "case.so"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(FEW_BYTES), "compile", path, "-t", "native", "-o", out],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 0:
        judge({**case, "expect": "equal"}, shared_dir / "cases", tmp_path, AREAS)
        return
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
