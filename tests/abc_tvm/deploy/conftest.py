"""A bundle for this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm.deploy.bundle import bundle
from tests.abc_tvm.small_networks import network


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for this machine without the compiled runner, ``in.npz`` and ``want.npy``."""
    path = tmp_path_factory.mktemp("bundle")
    abc_tvm.compile(network(), lowering="bitserial").save(path / "m.so")
    x = np.random.default_rng(2).standard_normal((2, 8, 6, 6)).astype(np.float32)
    np.save(path / "want.npy", abc_tvm.load(path / "m.so", threads=1).run({"input": x})["output"])
    bundle(path / "m.so", path / "b", program=False)
    np.savez(path / "in.npz", input=x)
    return path
