"""Options that several commands share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from abc_tvm.relay_passes.lowerings.table import LOWERINGS, names

MOST_ERROR = 0.02
"""What ``--allow-int8`` alone allows."""

LONGEST_WAIT = 7 * 24 * 3600.0
"""Seconds; the system's own timers end somewhere beyond."""

F = TypeVar("F", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A number in a range; infinity and NaN are in none."""

    def convert(self, value: Any, parameter: Any, context: Any) -> Any:
        number = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", parameter, context)
        return number


class LoweringWord(click.ParamType):
    """``auto`` or the word of a lowering; those of installed packages are looked for when asked."""

    name = "lowering"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join((AUTO, *LOWERINGS))}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        words = (AUTO, *LOWERINGS)
        if value not in words and value not in (words := (AUTO, *names())):
            self.fail(f"{value!r} is not one of {', '.join(map(repr, words))}.", param, ctx)
        return value


AUTO = "auto"

COUNT = click.IntRange(min=1, max=2**31 - 1)
"""Counts, which reach C code as 32 bits."""

model = click.argument("model", metavar="MODEL.onnx", type=click.Path())
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
batch = click.option("--batch", type=COUNT, help="Fix a symbolic batch dimension.")
lowering = click.option(
    "--lowering",
    type=LoweringWord(),
    default="auto",
    show_default=True,
    help="auto: what is fastest and exact, for each layer; bitserial, int8: wherever possible.",
)
check = click.option(
    "--check/--no-check",
    default=True,
    help="A second opinion on every layer that leaves float; without, for those who measure.",
)
records = click.option(
    "--records",
    metavar="DIR",
    help="Folder of tuning records (see tune). It goes before the records that ship.",
)
threads = click.option(
    "--threads",
    type=COUNT,
    help="Threads of one run. [default: TVM_NUM_THREADS, else all processors]",
)


def allow_int8(command: F) -> F:
    """``--allow-int8`` and ``--int8-error``, as one argument: the error, ``None`` without both."""

    @functools.wraps(command)
    def run(*, allow_int8: bool, int8_error: float | None, **rest: Any) -> Any:
        error = int8_error or (MOST_ERROR if allow_int8 else None)
        return command(allow_int8=error, **rest)

    for option in reversed(_ROUNDING):
        run = option(run)
    return cast(F, run)


_ROUNDING = (
    click.option(
        "--allow-int8",
        is_flag=True,
        help="Layers on int8 also where their levels must be rounded, if that is faster.",
    ),
    click.option(
        "--int8-error",
        type=Number(0, 1, min_open=True, max_open=True),
        metavar="SHARE",
        help="The most that rounding may change a sum by, of the largest that it can be; allows "
        f"int8. [default: {MOST_ERROR}]",
    ),
)


def target(required: bool = False) -> Callable[[F], F]:
    """``-t TARGET``."""
    # From click 8.3 on a default of None is a value, with which nothing is missing.
    default: dict[str, Any] = {} if required else {"default": "native", "show_default": True}
    return click.option(
        "-t",
        "--target",
        required=required,
        **default,
        help="Device name (see abc-tvm targets), native, or the path of a .toml file.",
    )


def device(command: F) -> F:
    """``--rpc``, ``--rpc-tracker``, ``--rpc-key`` and ``--rpc-timeout``."""
    for option in reversed(_DEVICE):
        command = option(command)
    return command


_DEVICE = (
    click.option("--rpc", metavar="HOST:PORT", help="Run on the device of this TVM RPC server."),
    click.option(
        "--rpc-tracker", metavar="HOST:PORT", help="Run on a device that this TVM tracker lends."
    ),
    click.option("--rpc-key", metavar="KEY", help="The kind of device to ask the tracker for."),
    click.option(
        "--rpc-timeout",
        type=Number(min=0, min_open=True, max=LONGEST_WAIT),
        default=20.0,
        show_default=True,
        metavar="SECONDS",
        help="How long the device may be silent in any step.",
    ),
)
