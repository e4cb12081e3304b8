"""What all tests share: seeds, the length of sweeps, and the folder of models and data.

A *sweep* is a list of cases whose full length takes minutes. It runs short unless pytest gets
``--full`` or the environment has ``ABC_TVM_FULL=1``.
"""

from __future__ import annotations

import os

# TVM reads this once, before its first parallel call.
os.environ.setdefault("TVM_NUM_THREADS", "2")
# Where the passes and their second opinion disagree, the passes are wrong: an error in every test.
os.environ.setdefault("ABC_TVM_SECOND_OPINION", "error")

import random
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import settings

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]

# No deadline: the first example of a test may compile. Derandomised: a red test stays red.
settings.register_profile("short", max_examples=25, deadline=None, derandomize=True, database=None)
settings.register_profile("full", max_examples=500, deadline=None, derandomize=True, database=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run all sweeps at full length")


def _full(config: pytest.Config) -> bool:
    return bool(config.getoption("--full")) or os.environ.get("ABC_TVM_FULL") == "1"


def _shared() -> Path | None:
    candidates = (os.environ.get("ABC_TVM_SHARED"), ROOT.parent / "shared", ROOT / "shared")
    return next((Path(c) for c in candidates if c and (Path(c) / "models").is_dir()), None)


def _missing_gpu() -> str | None:
    """Why there is no GPU to test on, before any test emulates one."""
    from abc_tvm.errors import TargetError
    from abc_tvm.targets import driver

    try:
        driver.capability()
    except TargetError as error:
        return f"needs a GPU ({str(error).split(': ')[1]})"
    return None


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("full" if _full(config) else "short")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``@pytest.mark.sweep("argnames", short=[...], full=[...])`` parametrizes a test."""
    for mark in metafunc.definition.iter_markers("sweep"):
        cases = mark.kwargs["full" if _full(metafunc.config) else "short"]
        metafunc.parametrize(mark.args[0], cases)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    missing = _missing_gpu() if on_gpu else None
    if missing is not None:
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason=missing))
    if _shared() is None:
        reason = "there is no folder ../shared with models and data (or ABC_TVM_SHARED)"
        for item in items:
            if item.get_closest_marker("shared"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def sweep(request: pytest.FixtureRequest) -> Callable[[Sequence[T], Sequence[T]], Sequence[T]]:
    """``sweep(short, full)`` is the list that this run asks for."""
    return lambda short, full: full if _full(request.config) else short


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with ``models/`` and ``data/``; for tests marked ``shared``."""
    folder = _shared()
    if folder is None:
        pytest.skip("there is no folder ../shared with models and data (or ABC_TVM_SHARED)")
    return folder


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that differ from test to test and never from run to run."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (for libraries that draw from the global generator)


@pytest.fixture
def cuda_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA devices on the processor: see ``tests/cuda_emulation``."""
    from abc_tvm.deploy.cuda import device_code
    from tests.cuda_emulation import emulation

    emulation.load()
    monkeypatch.setattr(device_code, "compile_source", emulation.compile_source)
