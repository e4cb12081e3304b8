"""The operators of the normal form, as Relax operators.

========================  =====================================================================
``abc.step``              ``(x, thresholds [N, C], sense [C], levels [N + 1])``: the per-channel
                          step function of :class:`.step_function.StepFunction`, float in, levels
                          out
``abc.count_step``        ``(x, T int32 [N, C], sense, levels, thresholds)``: the same on a
                          convolution that is a function of one integer accumulator, compared
                          with ``T``
``abc.bconv2d``           ``(x, planes int8 [M, OC, KH, KW, IC/g], alpha [M, OC], W)``: NHWC
                          convolution with weights ``sum_m alpha_m * planes_m``, which are
                          ``W`` OHWI
``abc.product``           ``(x, y)``: of levels ``[B, H, T, K]`` and ``[B, H, S, K]`` every row of
                          one times every row of the other, times ``unit`` and ``unit_y``:
                          ``[B, H, T, S]``, or ``[B, T, S]`` where the attribute ``rank`` is 3
``abc.move``              ``(x_1, …, x_K, rows, columns, channels, source)``: levels moved as the
                          tables of :class:`.moves.move.Move` say, and the attribute ``fill``
``abc.encode_bitserial``  ``(x, thresholds [N, C], sense [C])``: the index of ``abc.step`` as packed
                          bits uint32 ``[B, H, W, P, G, words]``
``abc.pool_bitserial``    ``(bits, flip)``: max-pooling of thermometer bits by OR
``abc.pad_bitserial``     ``(bits, level uint32 [P, G, words])``: rows and columns of one level
``abc.move_bitserial``    the same of bits; where nothing is moved to, those of the attribute
                          ``fill``, one for each plane
``abc.bitserial_conv2d``  ``abc.bconv2d`` on packed bits
``abc.bitserial_product`` ``abc.product`` on packed bits; the integers that their planes stand for
                          are the attributes ``base`` and ``weights`` of x, ``base_y`` and
                          ``weights_y``, of ``in_channels`` in ``groups = 1``
``abc.encode_int8``       ``(x, thresholds [N, C], sense [C])``: the code of ``abc.step``'s level,
                          one byte a channel, ``[B, H, W, G, S]``
``abc.pool_int8``         ``(codes, turned)``: max-pooling of indices, then their codes
``abc.pad_int8``          ``(codes)``: rows and columns of the attribute ``code``
``abc.move_int8``         the same of codes; ``fill`` is a code
``abc.int8_conv2d``       ``(codes, weights int8 OHWI, scale [OC])``: ``abc.bconv2d`` on codes,
                          which lie in its groups, or in one where its groups are narrow
========================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from tvm import relax
from tvm.ir import Op, make_node, register_op_attr

from abc_tvm.compute.geometry import Window, pair, words
from abc_tvm.compute.int8_products import code_slots
from abc_tvm.errors import UnsupportedError

from .rewrite import Shape, dtype_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LEVELS = ("abc.step", "abc.count_step")
"""Operators that yield levels."""


def _window_of(
    x_shape: Shape, attrs: Mapping[str, Any], kernel: tuple[int, int], oc: int
) -> Window:
    if not all(isinstance(extent, int) for extent in x_shape[1:]):
        raise UnsupportedError(
            f"a convolution's input has the shape {[str(n) for n in x_shape]}, in which only the "
            "first extent may be open; fix the batch (--batch)"
        )
    return Window(
        batch=x_shape[0],
        height=int(x_shape[1]),
        width=int(x_shape[2]),
        in_channels=int(x_shape[3]),
        out_channels=oc,
        kernel=kernel,
        stride=pair(attrs["strides"]),
        padding=tuple(int(v) for v in attrs["padding"]),  # type: ignore[arg-type]
        dilation=pair(attrs["dilation"]),
        groups=int(attrs["groups"]),
    )


def window_attrs(window: Window) -> dict[str, Any]:
    """Attributes that describe a window in the normal form's operators."""
    return {
        "strides": list(window.stride),
        "padding": list(window.padding),
        "dilation": list(window.dilation),
        "groups": window.groups,
    }


def conv_window(call: relax.Call) -> Window:
    """Window of ``nn.conv2d`` (NHWC, OHWI) or ``abc.bconv2d``."""
    x, w = call.args[0], call.args[1]
    dims = shape_of(w)
    oc, kh, kw = dims[-4], dims[-3], dims[-2]
    if str(call.op.name) == "relax.nn.conv2d":
        a = call.attrs
        attrs = {
            "strides": a.strides,
            "padding": a.padding,
            "dilation": a.dilation,
            "groups": a.groups,
        }
    else:
        attrs = call.attrs
    return _window_of(shape_of(x), attrs, (kh, kw), oc)


def side_by_side(call: relax.Call) -> bool:
    """Whether the groups of an ``abc.int8_conv2d`` lie side by side, in one group of codes."""
    return int(call.attrs["groups"]) > 1 and int(shape_of(call.args[0])[3]) == 1


def coded_window(call: relax.Call) -> Window:
    """Window of an operator that reads bits or codes: a convolution, pooling or padding of them."""
    dims = shape_of(call.args[0])
    attrs = call.attrs
    kernel = pair(attrs["kernel"])
    return _window_of(
        (*dims[:3], int(attrs["in_channels"])), attrs, kernel, int(attrs["out_channels"])
    )


def _tensor(shape: Sequence[int | relax.Expr], dtype: str) -> relax.TensorType:
    return relax.TensorType(list(shape), dtype)


def _infer_step(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    return call.args[0].ty


def _infer_bconv(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    w = conv_window(call)
    return _tensor((w.batch, w.out_height, w.out_width, w.out_channels), "float32")


def infer_product(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    """The type of a product of levels or bits: float32, of the graph's rank."""
    batch, height, rows = shape_of(call.args[0])[:3]
    columns = shape_of(call.args[1])[2]
    outer = (batch, height) if int(call.attrs["rank"]) == 4 else (batch,)
    return _tensor((*outer, rows, columns), "float32")


def _infer_encode_bitserial(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    b, h, w, c = shape_of(call.args[0])
    groups = int(call.attrs["layout_groups"])
    return _tensor((b, h, w, int(call.attrs["planes"]), groups, words(c // groups)), "uint32")


def _infer_pool_bitserial(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    b, _, _, _, g, c = shape_of(call.args[0])
    w = coded_window(call)
    return _tensor((b, w.out_height, w.out_width, int(call.attrs["planes"]), g, c), "uint32")


def _infer_encode_int8(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    b, h, w, c = shape_of(call.args[0])
    groups = int(call.attrs["layout_groups"])
    return _tensor((b, h, w, groups, code_slots(c // groups)), str(call.attrs["dtype"]))


def _infer_pool_int8(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    b, _, _, g, s = shape_of(call.args[0])
    w = coded_window(call)
    return _tensor((b, w.out_height, w.out_width, g, s), dtype_of(call.args[0]))


def moved_shape(call: relax.Call) -> tuple[int | relax.Expr, int, int, int]:
    """NHWC of what a move gives: the batch of its first input, the lengths of its tables."""
    rows, columns, _, source = (shape_of(a) for a in call.args[-4:])
    return shape_of(call.args[0])[0], int(rows[2]), int(columns[2]), int(source[-1])


def _infer_move(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    return _tensor(moved_shape(call), "float32")


def _infer_move_bitserial(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    b, h, w, c = moved_shape(call)
    groups, planes = int(call.attrs["layout_groups"]), int(call.attrs["planes"])
    return _tensor((b, h, w, planes, groups, words(c // groups)), "uint32")


def _infer_move_int8(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    b, h, w, c = moved_shape(call)
    groups = int(call.attrs["layout_groups"])
    return _tensor((b, h, w, groups, code_slots(c // groups)), dtype_of(call.args[0]))


def infer_coded_convolution(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    """The type of a convolution on bits or codes: float32 NHWC."""
    w = coded_window(call)
    return _tensor((w.batch, w.out_height, w.out_width, w.out_channels), "float32")


TypeOf: TypeAlias = "Callable[[relax.Call, relax.BlockBuilder], relax.Type]"
"""``infer(call, _)``: the type of an operator's result."""

_types: dict[str, TypeOf] = {}
"""Of the operators that TVM knows from here."""


def operator(name: str, infer: TypeOf) -> None:
    """Make ``abc.<name>`` known to TVM, for the rest of the process.

    Raises ``ValueError`` where it is known with another type.
    """
    if name in _types:
        if _types[name] is not infer:
            raise ValueError(f"the operator abc.{name} is there already, with another type")
        return
    _types[name] = infer
    register_op_attr(f"relax.abc.{name}", "FInferType", infer)
    register_op_attr(f"relax.abc.{name}", "FPurity", True)


OLD_NAMES = {
    "encode": "encode_bitserial",
    "pool_bits": "pool_bitserial",
    "bitconv2d": "bitserial_conv2d",
    "encode_bytes": "encode_int8",
    "pool_codes": "pool_int8",
    "dotconv2d": "int8_conv2d",
}
"""What earlier versions called operators in the functions that they stored."""


def in_new_names(text: str) -> str:
    """A stored function, TVM's JSON, with the operators' names of today."""
    for old, new in OLD_NAMES.items():
        text = text.replace(f'"relax.abc.{old}"', f'"relax.abc.{new}"')
    return text


@cache
def register() -> bool:
    """Make the operators known to TVM; needed before a stored function is read."""
    for name, infer in {
        "step": _infer_step,
        "count_step": _infer_step,
        "bconv2d": _infer_bconv,
        "product": infer_product,
        "bitserial_product": infer_product,
        "move": _infer_move,
        "move_bitserial": _infer_move_bitserial,
        "move_int8": _infer_move_int8,
        "encode_bitserial": _infer_encode_bitserial,
        "pool_bitserial": _infer_pool_bitserial,
        "pad_bitserial": _infer_pool_bitserial,
        "bitserial_conv2d": infer_coded_convolution,
        "encode_int8": _infer_encode_int8,
        "pool_int8": _infer_pool_int8,
        "pad_int8": _infer_pool_int8,
        "int8_conv2d": infer_coded_convolution,
    }.items():
        operator(name, infer)
    return True


def make(name: str, args: Sequence[relax.Expr], **attrs: Any) -> relax.Call:
    """A call of ``abc.<name>``."""
    register()
    node = make_node("ir.DictAttrs", **attrs) if attrs else None
    return relax.Call(Op.get(f"relax.abc.{name}"), list(args), node)


def to_float(call: relax.Call) -> relax.Call:
    """``nn.conv2d`` of an ``abc.bconv2d``, with the weights the graph had."""
    w = conv_window(call)
    return relax.op.nn.conv2d(
        call.args[0],
        call.args[3],
        strides=w.stride,
        padding=w.padding,
        dilation=w.dilation,
        groups=w.groups,
        data_layout="NHWC",
        kernel_layout="OHWI",
    )
