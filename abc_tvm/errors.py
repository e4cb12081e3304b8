"""Errors that a user can act on.

Every error here becomes one line on stderr and exit code 2 in the command line; the message
names the file, node or field at fault and what to do about it.
"""

from __future__ import annotations

LONGEST = 1200
"""Characters of a message; names come from files, and may have any length."""


def printable(text: str) -> str:
    """``text`` with everything that is no visible character escaped, as Python writes it.

    Names in a model or an artifact are somebody else's: an escape sequence in one would reach the
    user's terminal, and a line feed would make two lines of a message.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """``text`` on one line, printable, cut in its middle where it is very long."""
    line = printable(" ".join(text.split()))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST * 2 // 3]} … {line[-LONGEST // 3 :]}"


class UserError(Exception):
    """Bad input or usage. ``str(error)`` is the one line to show; never a traceback."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ModelError(UserError):
    """A model file that cannot be read, checked or imported."""


class UnsupportedError(ModelError):
    """A model that is valid but uses something outside what the compiler takes."""


class SecondOpinionError(UserError):
    """The passes and their second opinion disagree, and that was asked to be an error."""


class CompilerFault(UnsupportedError):
    """A valid model that a pass or TVM fails on: a fault of the compiler, worth a report."""


class TargetError(UserError):
    """An unknown target, or an artifact for another machine."""


class ArtifactError(UserError):
    """A compiled artifact that is missing, damaged, or made by another version."""


class InputError(UserError):
    """An input of the wrong name, shape or dtype."""


class MissingDependencyError(UserError):
    """An optional package or tool that the command needs and that is not installed."""


class DeviceError(UserError):
    """A remote device that is absent, busy, refuses, or dies."""


class RecordsError(UserError):
    """A folder of tuning records that is missing, damaged, full, or made for something else."""
