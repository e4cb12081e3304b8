"""Trained ABC networks that ship with the package, and real images to run them on.

``lenet-mnist`` reads handwritten digits; ``resnet-fashion`` tells ten kinds of clothing apart. Each
is an ONNX file with an open batch, beside a model card ``NAME.md`` and its figures ``NAME.json``,
all written by ``benchmarks/accuracy_ship.py`` from networks of ``benchmarks/accuracy.py``.

Input ``input``: float32 ``[B, 1, 28, 28]``, a pixel p of 0 … 255 as p / 127.5 − 1. Output
``output``: float32 ``[B, 10]``, one score per class.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abc_tvm.errors import UserError

FOLDER = Path(__file__).resolve().parent
IMAGES = FOLDER / "fashion-test-images.npz"
FASHION = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
"""The classes of Fashion-MNIST, in the order of its labels."""


@dataclass(frozen=True)
class TestImages:
    """``pixels`` uint8 ``[count, 28, 28]`` and ``labels`` uint8 ``[count]``."""

    pixels: np.ndarray
    labels: np.ndarray

    @property
    def inputs(self) -> np.ndarray:
        """What the networks take: float32 ``[count, 1, 28, 28]`` in −1 … 1."""
        return (self.pixels[:, None].astype(np.float32) / np.float32(127.5)) - np.float32(1)


def names() -> tuple[str, ...]:
    """The networks that ship."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.onnx")))


def path(name: str) -> Path:
    """The ONNX file of a network.

    Raises:
        UserError: there is no such network.
    """
    if name not in names():
        raise UserError(f"pretrained network {name!r} is unknown; there are {', '.join(names())}")
    return FOLDER / f"{name}.onnx"


def figures(name: str) -> dict[str, Any]:
    """What its model card says, as values: accuracies in per cent of the whole test set.

    Raises:
        UserError: there is no such network.
    """
    file = path(name).with_suffix(".json")
    stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return stored


def fashion_test_images() -> TestImages:
    """The first 400 images of Fashion-MNIST's test set (Xiao, Rasul, Vollgraf, 2017)."""
    with np.load(IMAGES) as arrays:
        return TestImages(arrays["pixels"], arrays["labels"])
