"""One random binarized layer (or two in a row), spelled at random: the same for the same seed."""

from __future__ import annotations

import numpy as np
import onnx

from .layer_spec import LayerSpec, draw_spec
from .layer_values import Array32, NotExactError, layer_input, realize_spec
from .spellings import spell, spellings_for

INEXACT_SHARE = 0.3
# An inexact value this close to its threshold could flip a bit by rounding alone.
MIN_MARGIN = 1e-4


def random_spec(seed: int) -> LayerSpec:
    """A layer; every other one is followed by a second, and about 30 % are inexact."""
    rng = np.random.default_rng([seed, 0])
    exact = bool(rng.random() >= INEXACT_SHARE)
    chain = int(rng.integers(1, 3))
    while True:
        spec = draw_spec(rng, exact=exact, chain=chain)
        try:
            values = realize_spec(spec)
        except NotExactError:
            continue
        if exact or min(layer.margin for layer in values) >= MIN_MARGIN:
            return spec


def random_layer(
    seed: int, qonnx: bool = True
) -> tuple[onnx.ModelProto, dict[str, Array32], LayerSpec, str]:
    """(model, inputs, spec, name of the spelling); without ``qonnx`` onnxruntime takes it."""
    spec = random_spec(seed)
    spelling = str(np.random.default_rng([seed, 4]).choice(spellings_for(spec, qonnx)))
    return spell(spec, spelling, seed), {"input": layer_input(spec)}, spec, spelling
