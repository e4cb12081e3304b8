"""The command line: one module per command, which parses and prints; the work is elsewhere.

Exit codes: 0 good; 1 a check failed; 2 bad input or usage, with one line on stderr; 70 an error
in abc-tvm itself (``abc-tvm --debug …`` shows where); 130 after Ctrl-C; 141 when the reader of
stdout has gone away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from abc_tvm._version import __version__
from abc_tvm.cli.bench import bench
from abc_tvm.cli.bundle import bundle
from abc_tvm.cli.compile import compile_
from abc_tvm.cli.inspect import inspect
from abc_tvm.cli.profile import profile
from abc_tvm.cli.records import records
from abc_tvm.cli.run import run
from abc_tvm.cli.targets import targets
from abc_tvm.cli.tune import tune
from abc_tvm.cli.verify import verify
from abc_tvm.cli.zoo import zoo
from abc_tvm.errors import UserError
from abc_tvm.without_torch import import_tvm_without_torch

EXIT_USER = 2
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="abc-tvm")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors in abc-tvm itself.")
def commands(debug: bool) -> None:
    """Compile binarized networks (ABC-Net and its relatives) to xor-popcount kernels."""


COMMANDS = (
    inspect, compile_, bundle, run, verify, tune, records, bench, profile, zoo, targets
)  # fmt: skip

for command in COMMANDS:
    commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    import_tvm_without_torch()
    given = list(sys.argv[1:] if arguments is None else arguments)
    code = run_command(given)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_left()
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command; returns its exit code, and has printed what there is to say."""
    debug = "--debug" in arguments[:1]
    try:
        # Not commands.main: that prints an empty line of its own after Ctrl-C.
        with commands.make_context("abc-tvm", list(arguments)) as context:
            result = commands.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        return int(leave.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USER
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "abc-tvm"
        return _complain(f"{_line(error.format_message())} (see {where} --help)")
    except click.ClickException as error:
        return _complain(_line(error.format_message()))
    except UserError as error:
        return _complain(_line(str(error)))
    except (KeyboardInterrupt, click.Abort):
        click.echo("abc-tvm: interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _reader_left()
    except Exception as error:
        if debug:
            raise
        kind, text = type(error).__name__, _line(str(error))[:300]
        click.echo(
            f"abc-tvm: internal error: {kind}: {text}: please report it, with the traceback that "
            f"abc-tvm --debug {' '.join(arguments[:1])} … shows",
            err=True,
        )
        return EXIT_INTERNAL


def _complain(message: str) -> int:
    click.echo(f"abc-tvm: error: {message}", err=True)
    return EXIT_USER


def _line(text: str) -> str:
    return " ".join(text.split())


def _reader_left() -> int:
    """Nothing more can be printed; keep the interpreter from trying when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return EXIT_PIPE
