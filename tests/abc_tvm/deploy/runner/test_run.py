"""``run.py`` of a bundle: it runs without this package, and refuses with one line."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests import qemu


def test_run_py_needs_nothing_of_this_package(folder: Path) -> None:
    guard = "import sys; sys.modules['abc_tvm'] = None; sys.argv[0] = 'run.py'; "
    guard += "import runpy; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    options = ["-i", "in.npz", "-o", "py.npz", "--threads", "1", "--repeat", "2", "--number", "3"]
    said = qemu.run([sys.executable, "-c", guard, "b/run.py", "b/m.so", *options], folder)
    assert "(2 x 3 runs, 1 threads)" in said
    with np.load(folder / "py.npz") as found:
        np.testing.assert_array_equal(found["output"], np.load(folder / "want.npy"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros((1, 8, 6, 6), np.float32)}, "input 'input' is missing"),
        ({"input": np.zeros((1, 8, 6, 6))}, "float64 [1, 8, 6, 6] was given and float32"),
        ({"input": np.zeros((1, 8, 6), np.float32)}, "[1, 8, 6] was given"),
        ({"input": np.full((1, 8, 6, 6), np.nan, np.float32)}, "NaN or infinity"),
    ],
)
def test_run_py_refuses_with_one_line(
    folder: Path, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    refused_by_run_py(folder, message, "b/m.so", "-i", str(tmp_path / "bad.npz"))


def test_run_py_names_the_file_that_it_cannot_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("none.npz", "text.npz", "one.npy"):
        refused_by_run_py(folder, f"{name}: ", "b/m.so", "-i", str(tmp_path / name))
    refused_by_run_py(folder, "m2.ports: ", "b/m2.so", "--random")


def refused_by_run_py(folder: Path, message: str, *arguments: str) -> None:
    command = [sys.executable, "b/run.py", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """``run.py`` as a module."""
    path = Path(__file__).parents[4] / "abc_tvm" / "deploy" / "runner" / "run.py"
    spec = importlib.util.spec_from_file_location("run_py", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_ports_of_any_name_and_rank(script: ModuleType, tmp_path: Path) -> None:
    text = "input float32 4 -1 8 6 6 a b  c\noutput int64 0 y\noutput bool 1 3 z\nother\n"
    (tmp_path / "m.ports").write_text(text)
    inputs, outputs, binarized = script.read_ports(tmp_path / "m.ports")
    assert inputs == [("a b  c", "float32", [-1, 8, 6, 6])]
    assert outputs == [("y", "int64", []), ("z", "bool", [3])]
    assert not binarized
    (tmp_path / "m.ports").write_text(text + "binarized\n")
    assert script.read_ports(tmp_path / "m.ports")[2]


@pytest.mark.parametrize(
    ("array", "fits"),
    [
        (np.zeros((5, 3), np.float32), True),
        (np.zeros((5, 4), np.float32), False),
        (np.zeros((5, 3, 1), np.float32), False),
        (np.zeros((5, 3), np.float64), False),
        (np.full((1, 3), np.inf, np.float32), False),
    ],
)
def test_what_a_network_takes(
    script: ModuleType, array: np.ndarray, fits: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = [("x", "float32", [-1, 3])]
    if fits:
        script.check({"x": array}, ports, True)
        return
    with pytest.raises(SystemExit) as caught:
        script.check({"x": array}, ports, True)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("run.py: error: input 'x': ")


def test_infinity_is_a_float_networks_business(script: ModuleType) -> None:
    script.check({"x": np.full(3, np.nan, np.float32)}, [("x", "float32", [3])], False)


def test_a_time_is_of_one_run(script: ModuleType) -> None:
    calls: list[int] = []
    assert script.measure(lambda *given: calls.append(len(given)), [1, 2], 5) >= 0
    assert calls == [2] * 5
