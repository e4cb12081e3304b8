"""``abc-tvm zoo``: networks with random weights, and trained ones as they are."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest

from abc_tvm import pretrained
from abc_tvm import zoo as networks
from abc_tvm.cli import run_command
from tests.abc_tvm.cli.commands import Capture, answer, refused


def test_zoo_and_targets(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "z.onnx"
    assert run_command(["zoo", "lenet", "-M", "2", "-N", "1", "-o", str(out)]) == 0
    assert out.stat().st_size > 0
    listed = answer(capsys, "targets")["targets"]
    assert {"native", "zen4"} <= {row["name"] for row in listed}


def test_a_trained_network_is_what_it_is(tmp_path: Path, capfd: Capture) -> None:
    name = pretrained.names()[0]
    out = tmp_path / "n.onnx"
    assert run_command(["zoo", name, "-o", str(out)]) == 0
    assert out.read_bytes() == pretrained.path(name).read_bytes()
    for option in (["--float"], ["-M", "2"], ["--batch", "1"], ["--seed", "1"], ["--width", "2"]):
        refused(capfd, ["zoo", name, "-o", out, *option], "takes -o and no other option")


@pytest.mark.parametrize(
    ("option", "shape"),
    [([], ["N", 1, 20, 20]), (["--batch", "3"], [3, 1, 20, 20]), (["--float"], ["N", 1, 20, 20])],
)
def test_sizes(option: list[str], shape: list[int | str], tmp_path: Path) -> None:
    out = tmp_path / "z.onnx"
    assert run_command(["zoo", "lenet", "--image-size", "20", "-o", str(out), *option]) == 0
    dims = onnx.load(out).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == shape


def test_the_seed_is_of_the_weights(tmp_path: Path) -> None:
    files = []
    for seed in ("0", "0", "1"):
        out = tmp_path / f"{len(files)}.onnx"
        command = ["zoo", "lenet", "--image-size", "20", "--seed", seed, "-o", str(out)]
        assert run_command(command) == 0
        files.append(out.read_bytes())
    assert files[0] == files[1] != files[2]


def test_the_help_names_every_network(capsys: Capture) -> None:
    assert run_command(["zoo", "--help"]) == 0
    listed = set(re.findall(r"[\w-]+", capsys.readouterr().out))
    assert {*networks.names(), *pretrained.names()} <= listed


def test_a_narrow_family(tmp_path: Path) -> None:
    sizes = []
    for width in ("0.25", "0.5"):
        out = tmp_path / f"{width}.onnx"
        command = ["zoo", "irnet20", "--size", "16", "--width", width, "-o", str(out)]
        assert run_command(command) == 0
        sizes.append(out.stat().st_size)
    assert 2 < sizes[1] / sizes[0] < 4


def test_a_width_of_nothing(tmp_path: Path, capfd: Capture) -> None:
    command = ["zoo", "irnet20", "--width", "0", "-o", tmp_path / "z.onnx"]
    refused(capfd, command, "width must be a positive number")
