"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

MOST_ERROR = 0.02
"""What ``--allow-int8`` alone allows."""

F = TypeVar("F", bound=Callable[..., Any])

model = click.argument("model", metavar="MODEL.onnx", type=click.Path())
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
batch = click.option("--batch", type=click.IntRange(min=1), help="Fix a symbolic batch dimension.")
lowering = click.option(
    "--lowering",
    type=click.Choice(["auto", "bitserial", "int8", "float"]),
    default="auto",
    show_default=True,
    help="auto: what is fastest and exact, for each layer; bitserial, int8: wherever possible.",
)
allow_int8 = click.option(
    "--allow-int8",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    is_flag=False,
    flag_value=MOST_ERROR,
    metavar="[ERROR]",
    help="Bytes also where levels must be rounded, and that changes no sum by more than this share "
    f"of its largest value. [default: not at all; without a number: {MOST_ERROR}]",
)
records = click.option(
    "--records",
    metavar="DIR",
    help="Folder of tuning records (see tune). It goes before the records that ship.",
)
threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of one run. [default: TVM_NUM_THREADS, else all processors]",
)


def target(required: bool = False) -> Callable[[F], F]:
    """``-t TARGET``."""
    return click.option(
        "-t",
        "--target",
        required=required,
        default=None if required else "native",
        show_default=not required,
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
        type=click.FloatRange(min=0, min_open=True),
        default=20.0,
        show_default=True,
        metavar="SECONDS",
        help="How long the device may be silent in any step.",
    ),
)
