"""Networks to try things on: binarized ones, and the float twin of each.

Those of ABC-Net's paper take M and N. The others, ``families``, are what people of this field
publish, each in the spelling of its usual exporter.

The weights are random. Everything else is as in a trained network: batch normalization has the
statistics of its own input, thresholds divide the activations, and scales fit the weights. So the
networks are right for speed and for numerical agreement, and say nothing about accuracy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, isfinite

import numpy as np
import onnx

from abc_tvm.errors import UserError
from abc_tvm.zoo import bireal, float_resnet, lenet, resnet
from abc_tvm.zoo.builder import LOW, OPSET, GraphBuilder, Tensor
from abc_tvm.zoo.families import FAMILIES
from abc_tvm.zoo.numpy_moves import Array

__all__ = ["binarized_layers", "build", "build_float", "families", "names", "sample"]

MOST_BASES = 8


@dataclass(frozen=True)
class _Network:
    """One entry of the zoo.

    Attributes:
        binarized: adds the ABC form; called with M and N unless ``one_basis``.
        real: adds the float twin; where there is none, it is the binarized one in the builder's
            form ``real``.
        channels: of the input image.
        size: default height and width of the input image, in pixels.
        smallest: least size; the last layer then sees one pixel.
        multiple: sizes are multiples of this.
        classes: default number of outputs.
        samples: images for calibration, at the default size.
        one_basis: M and N are 1 by definition.
        layout: axes of the input behind the batch; C is ``channels`` long, the others ``size``.
        opset: of the model.
        suffix: of the names of tensors.
        draw: gives the calibration images of a shape; by default they are normal.
    """

    binarized: Callable[..., Tensor]
    real: Callable[..., Tensor] | None
    channels: int = 3
    size: int = 224
    smallest: int = 32
    multiple: int = 1
    classes: int = 1000
    samples: int = 1
    one_basis: bool = False
    layout: str = "CHW"
    opset: int = OPSET
    suffix: str = ""
    draw: Callable[[np.random.Generator, Sequence[int]], Array] | None = None

    def sample_shape(self, samples: int, size: int) -> list[int]:
        """Shape of ``samples`` inputs of this size."""
        return [samples, *(self.channels if axis == "C" else size for axis in self.layout)]


def _resnet(name: str) -> _Network:
    plan = resnet.PLANS[name]
    binarized = partial(resnet.abc_resnet, plan=plan)
    real = partial(float_resnet.float_resnet, plan=plan)
    if plan.large_stem:
        return _Network(binarized, real)
    return _Network(binarized, real, size=32, smallest=4, classes=10, samples=4)


_NETWORKS = {
    "lenet": _Network(
        lenet.abc_lenet,
        lenet.float_lenet,
        channels=1,
        size=28,
        smallest=16,
        classes=10,
        samples=64,
    ),
    **{name: _resnet(name) for name in resnet.PLANS},
    "bireal18": _Network(bireal.bireal18, _resnet("resnet18").real, multiple=32, one_basis=True),
    **{
        name: _Network(family.add, None, one_basis=True, **family.options)
        for name, family in FAMILIES.items()
    },
}


def names() -> tuple[str, ...]:
    """Return the names that ``build`` and ``build_float`` take."""
    return tuple(_NETWORKS)


def families() -> tuple[str, ...]:
    """Return the names of published families, which are of one basis."""
    return tuple(FAMILIES)


def binarized_layers(model: onnx.ModelProto) -> list[str]:
    """Return the names of the layers of a family's network whose input is a step function and
    whose weights have few values, in the order of the graph."""
    found = [entry.value for entry in model.metadata_props if entry.key == LOW]
    return json.loads(found[0]) if found else []


def sample(name: str, count: int, *, image_size: int | None = None, seed: int = 0) -> Array:
    """Draw ``count`` float32 inputs of a network, like those that it is calibrated with.

    Raises:
        UserError: an unknown name.
    """
    network = _lookup(name)
    shape = network.sample_shape(count, network.size if image_size is None else image_size)
    rng = np.random.default_rng(seed)
    if network.draw is None:
        return rng.standard_normal(shape, dtype=np.float32)
    return network.draw(rng, shape).astype(np.float32)


def build(
    name: str,
    M: int = 1,
    N: int = 1,
    *,
    image_size: int | None = None,
    batch: str | int = "N",
    seed: int = 0,
    width: float = 1.0,
    classes: int | None = None,
    grid: bool = False,
) -> onnx.ModelProto:
    """Build a binarized network.

    Args:
        name: one of ``names()``.
        M: weight bases of every binarized layer, 1 to 8.
        N: activation bases of every binarized layer, 1 to 8.
        image_size: height and width of the input in pixels; by default the network's own.
        batch: batch size, or the name of a symbolic dimension.
        seed: fixes every random number; the same arguments on the same machine give the same
            bytes. Another BLAS may round batch statistics differently in the last bit.
        width: multiplies the channels of every layer.
        classes: number of outputs; by default the network's own.
        grid: α and β are multiples of a power of two, so that layers run on int8 exactly.

    Returns:
        ONNX model: float32 "input" [batch, C, H, W] -> float32 "output" [batch, classes]. Families
        may have another layout; those of Keras are [batch, H, W, C].

    Raises:
        UserError: an unknown name, or a value out of range.
    """
    network = _lookup(name)
    for label, bases in (("M", M), ("N", N)):
        if not _is_count(bases) or bases > MOST_BASES:
            raise UserError(
                f"zoo: {label} must be an integer from 1 to {MOST_BASES}, got {bases!r}"
            )
    if network.one_basis and (M, N) != (1, 1):
        raise UserError(f"zoo: {name} has one basis by definition; use M=1 and N=1")
    layers = network.binarized if network.one_basis else partial(network.binarized, M=M, N=N)
    title = f"{name}-M{M}-N{N}"
    return _assemble(title, network, layers, image_size, batch, seed, width, classes, grid)


def build_float(
    name: str,
    *,
    image_size: int | None = None,
    batch: str | int = "N",
    seed: int = 0,
    width: float = 1.0,
    classes: int | None = None,
) -> onnx.ModelProto:
    """Build the float twin of a network: convolution, batch normalization and ReLU.

    It has the depth, channels and strides of the binarized network in the form that float
    networks usually have; that of a family is the same graph with Relu in the place of every
    quantizer and weights of full precision. Arguments, result and errors are those of ``build``.
    """
    network = _lookup(name)
    title = f"{name}-float"
    layers = network.real or network.binarized
    return _assemble(title, network, layers, image_size, batch, seed, width, classes, real=True)


def _lookup(name: str) -> _Network:
    if name not in _NETWORKS:
        raise UserError(f"zoo: no network {name!r}; choose one of {', '.join(names())}")
    return _NETWORKS[name]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_LARGEST = 4
"""An image may be so many times as high as the network's own: dense layers grow with its area."""


def _assemble(
    title: str,
    network: _Network,
    layers: Callable[..., Tensor],
    image_size: int | None,
    batch: str | int,
    seed: int,
    width: float,
    classes: int | None,
    grid: bool = False,
    real: bool = False,
) -> onnx.ModelProto:
    size = network.size if image_size is None else image_size
    classes = network.classes if classes is None else classes
    if not _is_count(size) or size < network.smallest or size % network.multiple:
        rule = f"at least {network.smallest}"
        if network.multiple > 1:
            rule = f"a multiple of {network.multiple}"
        raise UserError(f"zoo: image_size of {title} must be {rule}, got {size!r}")
    if size > _LARGEST * network.size:
        most = _LARGEST * network.size
        raise UserError(f"zoo: image_size of {title} must be at most {most}, got {size!r}")
    if not _is_count(classes):
        raise UserError(f"zoo: classes must be a positive integer, got {classes!r}")
    if not (_is_count(batch) or (isinstance(batch, str) and batch.isidentifier())):
        raise UserError(f"zoo: batch must be a positive integer or a name, got {batch!r}")
    if not (isfinite(width) and width > 0):
        raise UserError(f"zoo: width must be a positive number, got {width!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"zoo: seed must be an integer from 0, got {seed!r}")
    # Small images leave few pixels in the last layers; more of them keep its statistics as good.
    samples = ceil(network.samples * max(1.0, network.size / size) ** 2)
    g = GraphBuilder(
        network.sample_shape(samples, size),
        seed=seed,
        grid=grid,
        real=real,
        opset=network.opset,
        suffix=network.suffix,
        draw=network.draw,
    )
    return g.model(layers(g, width=width, classes=classes), name=title, batch=batch)
