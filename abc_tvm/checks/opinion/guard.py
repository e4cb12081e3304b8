"""The pass ``encode`` with a second opinion: layers that fail it stay in float.

The passes run again, from the imported module, with those layers kept out of recognition (and
joined layers kept apart), until nothing disagrees.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx
import tvm

from abc_tvm.checks.opinion.opinion import Opinion, second_opinion
from abc_tvm.errors import SecondOpinionError

if TYPE_CHECKING:
    from abc_tvm.relay_passes.context import Context

STRICT = "ABC_TVM_SECOND_OPINION"
"""Environment variable: ``error`` makes every disagreement an exception, as in the tests."""

ENCODE = "encode"

Pass = Callable[[tvm.IRModule], tvm.IRModule]


class CheckedEncode:
    """The pass ``encode``, run again without the layers that the second opinion disagrees about."""

    def __init__(
        self,
        simple: onnx.ModelProto,
        module: tvm.IRModule,
        context: Context,
        order: list[tuple[str, Pass]],
    ) -> None:
        self.simple, self.module, self.context = simple, module, context
        names = [name for name, _ in order]
        self.passes = [step for _, step in order[: names.index(ENCODE) + 1]]

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        """The encoded module, all of whose layers on bits or bytes hold or are unknown.

        Raises:
            SecondOpinionError: A layer fails, and :data:`STRICT` asks for an error; or it does not
                stay in float.
        """
        encoded = self.passes[-1](mod)
        wrong: dict[str, str] = {}
        while True:
            opinion = second_opinion(self.simple, encoded, self.context.allow_int8)
            if not opinion.wrong:
                self.context.opinion = replace(opinion, wrong=wrong)
                return encoded
            again = wrong.keys() & opinion.wrong.keys()
            wrong |= opinion.wrong
            if os.environ.get(STRICT) == "error" or again:
                self.context.opinion = opinion
                raise SecondOpinionError(_line(opinion))
            encoded = self._again(opinion)

    def _again(self, opinion: Opinion) -> tvm.IRModule:
        context = self.context
        for name, reason in opinion.wrong.items():
            text = f"the second opinion disagrees: {reason}; please report this network"
            for one in (name, name.partition("+")[0]):
                context.refused.setdefault(one, text)
        context.layers.clear()
        context.rivals.clear()
        module = self.module
        for step in self.passes:
            module = step(module)
        return module


def guarded(
    order: list[tuple[str, Pass]], simple: onnx.ModelProto, module: tvm.IRModule, context: Context
) -> list[tuple[str, Pass]]:
    """The passes, of which ``encode`` asks for a second opinion where ``context`` wants one.

    ``simple`` is what the importer was given, ``module`` what it made of it.
    """
    if not context.check or ENCODE not in dict(order):
        return order
    one = CheckedEncode(simple, module, context, order)
    return [(name, one if name == ENCODE else step) for name, step in order]


def _line(opinion: Opinion) -> str:
    name, reason = next(iter(opinion.wrong.items()))
    more = f" (and {len(opinion.wrong) - 1} more layers)" if len(opinion.wrong) > 1 else ""
    return f"the second opinion disagrees about layer {name!r}{more}: {reason}"
