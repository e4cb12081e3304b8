"""ABC-Net layers for PyTorch: train a network here, export it, compile it with ``abc_tvm``.

Source: Lin, Zhao, Pan, "Towards Accurate Binary Convolutional Neural Network", NIPS 2017. Needs
the extra ``abc-tvm[torch]``. The parts, one file each: ``estimators`` (what has no gradient and
gets one), ``bases`` (B_m and α of a weight), ``activation`` (A_n, v_n, β_n), ``weight``, ``conv``
and ``linear`` (the layers), ``binarize`` (a float network becomes an ABC network), ``export``.
"""

from abc_tvm.nn._torch import require_torch

require_torch()

# The modules below import torch, so they come after the check.
from abc_tvm.nn.activation import ABCActivation, shift_penalty  # noqa: E402
from abc_tvm.nn.binarize import Conversion, binarize, summary  # noqa: E402
from abc_tvm.nn.conv import ABCConv2d  # noqa: E402
from abc_tvm.nn.estimators import sign_ste  # noqa: E402
from abc_tvm.nn.export import export_onnx  # noqa: E402
from abc_tvm.nn.linear import ABCLinear  # noqa: E402

__all__ = [
    "ABCActivation",
    "ABCConv2d",
    "ABCLinear",
    "Conversion",
    "binarize",
    "export_onnx",
    "shift_penalty",
    "sign_ste",
    "summary",
]
