"""The networks that ship: what their cards say is what they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import abc_tvm
from abc_tvm import pretrained
from abc_tvm.checks.verify.network import verify
from abc_tvm.cli import commands
from abc_tvm.errors import UserError

NAMES = ("lenet-mnist", "resnet-fashion")


def test_two_networks_below_two_megabytes() -> None:
    assert pretrained.names() == NAMES
    assert sum(pretrained.path(name).stat().st_size for name in NAMES) < 2_000_000
    # No trace of the machine that exported them.
    assert all(b".py" not in pretrained.path(name).read_bytes() for name in NAMES)
    with pytest.raises(UserError, match="lenet-mnist, resnet-fashion"):
        pretrained.path("lenet")


@pytest.mark.parametrize("name", NAMES)
def test_everything_between_first_and_last_layer_is_binary(name: str) -> None:
    figures = pretrained.figures(name)
    report = abc_tvm.inspect(pretrained.path(name), lowering="bitserial")
    first, *inner, last = report.layers
    assert first.lowering == last.lowering == "float" and inner
    assert {(layer.M, layer.N) for layer in inner} == {(figures["M"], figures["N"])}
    assert all(layer.lowering == "bitserial" for layer in inner)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_has_the_figures(name: str) -> None:
    card = pretrained.path(name).with_suffix(".md").read_text(encoding="utf-8")
    figures = pretrained.figures(name)
    for key in ("float_accuracy", "accuracy", "compiled_accuracy"):
        assert f"{figures[key]:.2f}" in card
    assert figures["command"] in card


def test_the_compiled_network_is_as_good_as_its_card_says(tmp_path: Path) -> None:
    images = pretrained.fashion_test_images()
    count = len(images.labels)
    assert images.pixels.shape == (count, 28, 28) and count >= 300
    artifact = abc_tvm.compile(pretrained.path("resnet-fashion"), batch=count)
    artifact.save(tmp_path / "n.so")
    (scores,) = abc_tvm.load(tmp_path / "n.so").run({"input": images.inputs}).values()
    right = float((scores.argmax(1) == images.labels).mean())
    stated = pretrained.figures("resnet-fashion")["compiled_accuracy"] / 100
    # A sample of 400 from 10,000: three standard deviations of the share.
    assert abs(right - stated) <= 3 * (stated * (1 - stated) / count) ** 0.5


def test_verify_passes_on_real_images() -> None:
    images = pretrained.fashion_test_images().inputs[:64]
    outcome = verify(
        pretrained.path("resnet-fashion"), inputs={"input": images}, batch=64, lowering="bitserial"
    )
    assert outcome.passed and outcome.argmax_agreement == 1
    assert outcome.flipped_bits <= 1e-5 * outcome.checked_bits


@pytest.mark.shared
def test_the_digits_network_on_the_whole_test_set(shared_dir: Path, tmp_path: Path) -> None:
    """At least 98.9 %, and what its card says to the last image but a few ties."""
    import gzip

    folder = shared_dir / "data"
    raw = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = np.frombuffer(
        gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8
    )
    pixels = np.frombuffer(raw, np.uint8).reshape(-1, 28, 28)
    inputs = pretrained.TestImages(pixels, labels).inputs
    artifact = abc_tvm.compile(pretrained.path("lenet-mnist"), batch=1000)
    artifact.save(tmp_path / "n.so")
    session = abc_tvm.load(tmp_path / "n.so")
    scores = [session.run({"input": part})["output"] for part in np.split(inputs, 10)]
    accuracy = 100 * float((np.concatenate(scores).argmax(1) == labels).mean())
    assert accuracy >= 98.9
    assert abs(accuracy - pretrained.figures("lenet-mnist")["compiled_accuracy"]) < 0.025


def test_zoo_writes_them(tmp_path: Path) -> None:
    out = tmp_path / "n.onnx"
    done = CliRunner().invoke(commands, ["zoo", "lenet-mnist", "-o", str(out)])
    assert done.exit_code == 0
    assert out.read_bytes() == pretrained.path("lenet-mnist").read_bytes()
    onnx.checker.check_model(str(out))
    with pytest.raises(UserError, match="trained network"):
        CliRunner().invoke(
            commands, ["zoo", "lenet-mnist", "-M", "3", "-o", str(out)], catch_exceptions=False
        )
