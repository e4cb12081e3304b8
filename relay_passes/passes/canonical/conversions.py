"""Make a tensor real in another layout than the one that it lies in (see :mod:`.layout`).

1. ``plain``: the graph's own tensor. NHWC is transposed; a flattened image as well, if the graph
   flattens NCHW, and then flattened.
2. ``nhwc``: NHWC of an NCHW tensor.
3. ``dense``: ``[B, 1, 1, F]`` of a ``[B, F]`` tensor.
4. ``row``: ``[B, 1, W, C]`` of a ``[B, C, W]`` tensor.

Nothing is emitted where the tensor lies so already, and each conversion of a tensor once.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import relax

from abc_tvm.relay_passes.analysis.layout import TO_NCHW, TO_NHWC, Placed
from abc_tvm.relay_passes.rewrite import constant, emit, shape_of


class Conversions:
    """Conversions between layouts, emitted through one block builder."""

    def __init__(self, builder: relax.BlockBuilder) -> None:
        self.builder = builder
        self.made: dict[tuple[relax.Expr, str], relax.Expr] = {}

    def once(self, x: relax.Expr, what: str, expr: Callable[[], relax.Expr]) -> relax.Expr:
        """Bind what is made of ``x``, or take what was made so before."""
        key = (x, what)
        if key not in self.made:
            self.made[key] = self.op(expr())
        return self.made[key]

    def op(self, expr: relax.Expr, name: str = "") -> relax.Expr:
        """Bind ``expr`` to a variable of about that name, if it is none and no constant."""
        if isinstance(expr, relax.Var) or constant(expr) is not None:
            return expr
        return self.builder.emit(expr, name)

    def layer(self, expr: relax.Expr, name: str) -> relax.Expr:
        """Bind a layer to a variable of the very name."""
        return emit(self.builder, expr, name)

    def plain(self, value: Placed) -> relax.Expr:
        """1: the graph's own tensor."""
        x = value.expr
        if value.kind == "plain":
            return x
        if value.kind == "nhwc":
            return self.once(x, "nchw", lambda: relax.op.permute_dims(x, TO_NCHW))
        batch, h, w, c = shape_of(x)
        if value.kind == "row":
            x = self.once(x, "nchw", lambda: relax.op.permute_dims(value.expr, TO_NCHW))
            return self.once(x, "row", lambda: relax.op.reshape(x, (batch, c, w)))
        if value.kind == "flat_chw":
            x = self.once(value.expr, "nchw", lambda: relax.op.permute_dims(value.expr, TO_NCHW))
        return self.once(x, "flat", lambda: relax.op.reshape(x, (batch, h * w * c)))

    def nhwc(self, value: Placed) -> relax.Expr:
        """2: NHWC form of a rank-4 NCHW tensor."""
        if value.kind == "nhwc":
            return value.expr
        x = self.plain(value)
        return self.once(x, "nhwc", lambda: relax.op.permute_dims(x, TO_NHWC))

    def row(self, value: Placed) -> relax.Expr:
        """4: ``[B, 1, W, C]`` form of a rank-3 tensor."""
        if value.kind == "row":
            return value.expr
        x = self.plain(value)
        batch, channels, width = shape_of(x)
        turned = self.once(x, "turned", lambda: relax.op.permute_dims(x, [0, 2, 1]))
        return self.once(
            turned, "row", lambda: relax.op.reshape(turned, (batch, 1, width, channels))
        )

    def dense(self, value: Placed) -> relax.Expr:
        """3: ``[B, 1, 1, F]`` form of a rank-2 tensor."""
        if value.kind == "dense":
            return value.expr
        x = self.plain(value)
        batch, features = shape_of(x)
        return self.once(x, "dense", lambda: relax.op.reshape(x, (batch, 1, 1, features)))
