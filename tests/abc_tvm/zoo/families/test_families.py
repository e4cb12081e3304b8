"""The list of families: what each is built with, and the images that statistics come from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm import zoo
from abc_tvm.zoo.families import FAMILIES, images


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_says_where_it_was_published(name: str) -> None:
    one = FAMILIES[name]
    assert one.paper.split()[-1].isdigit() and one.options["opset"] >= 11


def test_images_are_smooth_and_even() -> None:
    drawn = images(np.random.default_rng(0), (8, 64, 64, 3), (1, 2))
    assert abs(float(drawn.std()) - 1) < 0.25
    beside = np.corrcoef(drawn[:, :, 1:].ravel(), drawn[:, :, :-1].ravel())[0, 1]
    assert beside > 0.5


@pytest.mark.parametrize(
    "name", ["reactnet-a", "quicknet-small", "dorefa-alexnet", "irnet20", "unet", "tcresnet8"]
)
def test_the_float_twin_has_no_signs(name: str) -> None:
    model = zoo.build_float(name, image_size=64, width=0.25, classes=7)
    onnx.checker.check_model(model)
    assert not any(node.op_type in ("Sign", "Round") for node in model.graph.node)


def test_the_seed_fixes_every_byte() -> None:
    first, second, other = (
        zoo.build("reactnet-a", seed=seed, image_size=32, width=0.25).SerializeToString(
            deterministic=True
        )
        for seed in (3, 3, 4)
    )
    assert first == second != other
