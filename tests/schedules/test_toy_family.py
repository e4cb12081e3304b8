"""A family that is registered from outside compiles networks, with no other file changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm import zoo
from abc_tvm.compilation import Compilation
from abc_tvm.errors import TargetError
from abc_tvm.relay_passes.pipeline import Phase
from abc_tvm.schedules import families
from abc_tvm.schedules.generic import SCHEDULED
from abc_tvm.targets import load
from abc_tvm.tuning.network import tasks_of
from abc_tvm.tuning.tune import tuner
from tests.schedules.toy import MARK, TOY

BOARD = """
description = "a board with a processor of its own"
triple = "x86_64-linux-gnu"
cpu = "x86-64-v2"
features = []
isa = "toy"
vector_bits = 128
vector_registers = 16
cores = 1
l1d_kib = 32
l2_kib = 256
l3_kib = 0
[cost]
pair = 0.1
dot = 0.5
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "board.toml"
    path.write_text(BOARD, encoding="utf-8")
    with families.register("toy", TOY):
        yield str(path)


@pytest.mark.parametrize(
    ("M", "N", "lowering", "anchor"),
    [
        (1, 1, "bitserial", "bitserial_conv2d"),
        (2, 3, "bitserial", "bitserial_conv2d"),
        (2, 2, "int8", "int8_conv2d"),
        (2, 2, "float", "conv2d"),
    ],
)
def test_it_compiles_lenet(
    board: str, M: int, N: int, lowering: str, anchor: str, rng: np.random.Generator
) -> None:
    model = zoo.build("lenet", M, N, batch=2, grid=lowering == "int8")
    x = {"input": rng.standard_normal((2, 1, 28, 28)).astype(np.float32)}
    found, wanted = (
        abc_tvm.compile(model, target, lowering=lowering) for target in (board, "x86-64")
    )
    assert {row["lowering"] for row in found.info.layers} == {"float", lowering}
    results = []
    for number, artifact in enumerate((found, wanted)):
        path = Path(board).with_name(f"{number}.so")
        artifact.save(path)
        results.append(abc_tvm.load(path, threads=1).run(x)["output"])
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_every_kernel_is_its_own(board: str) -> None:
    whole = Compilation(zoo.build("lenet", 1, 1), board, lowering="bitserial")
    module = whole.until(Phase.LOWERED)
    attributes = [function.attrs for _, function in module.functions_items() if function.attrs]
    kernels = [found for found in attributes if SCHEDULED in found]
    assert kernels and all(MARK in found for found in kernels)


def test_it_has_nothing_to_tune(board: str, tmp_path: Path) -> None:
    model = zoo.build("lenet", 1, 1, batch=1)
    assert tasks_of(model, load(board)) == []
    with (
        pytest.raises(TargetError, match="board: the family toy has no search space"),
        tuner(model, load(board), tmp_path, {}, tell=print),
    ):
        pass


def test_it_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text(BOARD, encoding="utf-8")
    with families.register("toy", TOY):
        assert load(str(path)).isa == "toy"
    with pytest.raises(
        TargetError, match=r"field isa must be one of avx512-vpopcnt, .*, not .toy."
    ):
        load(str(path))
