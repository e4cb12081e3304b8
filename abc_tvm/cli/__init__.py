"""The command line: one module per command, which parses and prints; the work is elsewhere.

Exit codes: 0 good; 1 a check failed; 2 bad input or usage, with one line on stderr (without one
where the reader of stdout has gone away); 130 after Ctrl-C, with one line. A fault of abc-tvm
itself, which no input should ever cause, is 2 as well, and its line asks for a report
(``abc-tvm --debug …`` shows where).
"""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import traceback
from collections.abc import Sequence

import click

from abc_tvm._version import __version__
from abc_tvm.cli import streams
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
from abc_tvm.errors import UserError, one_line
from abc_tvm.files import reason_of
from abc_tvm.without_torch import import_tvm_without_torch

EXIT_USER = 2
EXIT_INTERRUPTED = 130
EXIT_STOPPED = -2
"""Interrupted, and that has been said."""

EXIT_QUIET = -1
"""The reader of stdout has gone: nothing can be said to it, and nobody else need hear."""

FAULT = "this is a fault of abc-tvm"
"""How the line begins where no input is to blame."""

_ENVIRONMENT = frozenset(
    [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EBADF,
     errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG]
)  # fmt: skip
"""What the system refuses any program."""


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
    given = list(sys.argv[1:] if arguments is None else arguments)
    streams.open_all()
    if not _debug(given):
        streams.silence_libraries()  # for good: they have things to say when the process ends
    code = _run(given)
    with contextlib.suppress(ValueError):  # no main thread, which alone gets signals
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command; returns its exit code, and has printed what there is to say."""
    if _debug(arguments):
        return _run(arguments)
    restore = streams.silence_libraries()
    try:
        return _run(arguments)
    finally:
        restore()


def _run(arguments: list[str]) -> int:
    with streams.interrupts() as pressed:
        code = _outcome(arguments)
        if code == EXIT_STOPPED:
            return EXIT_INTERRUPTED
        # Whatever a Ctrl-C was taken for on its way through libraries.
        if pressed or code == EXIT_INTERRUPTED:
            streams.say("interrupted")
            return EXIT_INTERRUPTED
    if code != EXIT_QUIET:
        return code
    streams.forget_stdout()
    return EXIT_USER


def _outcome(arguments: list[str]) -> int:
    """The exit code of a command; what is wrong has been said, but for an interrupt."""
    try:
        import_tvm_without_torch()
        # Not commands.main: that prints an empty line of its own after Ctrl-C.
        with commands.make_context("abc-tvm", list(arguments)) as context:
            result = commands.invoke(context)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        return int(leave.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USER
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "abc-tvm"
        return _complain(f"{error.format_message()} (see {where} --help)")
    except click.ClickException as error:
        return _complain(error.format_message())
    except UserError as error:
        return _complain(str(error))
    except streams.Stopped:
        return EXIT_STOPPED
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_QUIET
    except MemoryError:
        return _complain("this needs more memory than the machine has, or than ulimit allows")
    except Exception as error:  # noqa: BLE001  (the last line of defence: one line, no traceback)
        if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
            return _complain_of_system(error)
        if _debug(arguments):
            traceback.print_exc()
        return _complain(fault(error, arguments))


def fault(error: BaseException, arguments: Sequence[str]) -> str:
    """What is said of an exception that no input should ever cause."""
    what = f"{type(error).__name__}: {one_line(str(error))[:300]}"
    return (
        f"{FAULT}, not of what it was given ({what}): please report it, with the traceback that "
        f"abc-tvm --debug {' '.join([a for a in arguments if a != '--debug'][:1])} … shows"
    )


def _debug(arguments: list[str]) -> bool:
    return "--debug" in arguments[:1]


def _complain(message: str) -> int:
    streams.say(f"error: {message}")
    return EXIT_USER


def _complain_of_system(error: OSError) -> int:
    """A full disk and its like, where no file of the command's own is at fault."""
    where = "stdout" if error.filename is None else str(error.filename)
    if error.filename is None:
        streams.forget_stdout()
    return _complain(f"{where}: cannot be written or read: {reason_of(error)}")
