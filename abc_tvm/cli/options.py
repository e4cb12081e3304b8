"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

model = click.argument("model", metavar="MODEL.onnx", type=click.Path())
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
batch = click.option("--batch", type=click.IntRange(min=1), help="Fix a symbolic batch dimension.")
lowering = click.option(
    "--lowering",
    type=click.Choice(["auto", "bitserial", "float"]),
    default="auto",
    show_default=True,
    help="auto: bits where they are faster; bitserial: wherever possible; float: nowhere.",
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
