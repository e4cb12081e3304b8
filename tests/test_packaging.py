from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import abc_tvm.relay_passes
import abc_tvm.schedules
import abc_tvm.targets
from abc_tvm._version import __version__

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "abc_tvm": "abc_tvm",
    "relay_passes": "abc_tvm/relay_passes",
    "schedules": "abc_tvm/schedules",
    "targets": "abc_tvm/targets",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the sources, with nothing fetched and nothing left behind."""
    if int(metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("this environment's setuptools is older than the build asks for (77)")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.mark.parametrize(
    "path",
    [
        "abc_tvm/py.typed",
        "abc_tvm/relay_passes/__init__.py",
        "abc_tvm/schedules/__init__.py",
        "abc_tvm/targets/device.py",
        "abc_tvm/targets/zen4.toml",
        "abc_tvm/targets/cuda-sm90.toml",
        "abc_tvm/schedules/cuda/window.cuh",
        "abc_tvm/deploy/runner/CMakeLists.txt",
    ],
)
def test_the_wheel_contains(wheel: zipfile.ZipFile, path: str) -> None:
    assert path in wheel.namelist()


def test_every_module_and_data_file_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    missing = [
        str(file.relative_to(ROOT))
        for folder, inside in FOLDERS.items()
        for pattern in ("*.py", "*.toml", "*.json", "*.cpp", "*.h")
        for file in (ROOT / folder).rglob(pattern)
        if f"{inside}/{file.relative_to(ROOT / folder).as_posix()}" not in packed
    ]
    assert not missing, f"not packed; is an __init__.py missing beside them? {missing}"


def test_nothing_else_becomes_importable(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"abc_tvm", f"abc_tvm-{__version__}.dist-info"}


def test_the_wheels_description(wheel: zipfile.ZipFile) -> None:
    info = f"abc_tvm-{__version__}.dist-info"
    text = wheel.read(f"{info}/METADATA").decode()
    assert re.search(r"^License-Expression: Apache-2\.0$", text, re.M)
    assert re.search(r"^Requires-Dist: apache-tvm==0\.27\.0\.post1$", text, re.M)
    assert re.search(r"^Requires-Dist: apache-tvm-ffi==0\.1\.14\.post1$", text, re.M)
    assert "abc-tvm = abc_tvm.__main__:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_the_three_folders_are_imported_from_the_top_level() -> None:
    for module in (abc_tvm.relay_passes, abc_tvm.schedules, abc_tvm.targets):
        folder = Path(str(module.__file__)).parent
        assert folder.name == module.__name__.rpartition(".")[2]
        assert module.__name__.startswith("abc_tvm.")
