"""Errors that a user can act on.

Every error here becomes one line on stderr and exit code 2 in the command line; the message
names the file, node or field at fault and what to do about it.
"""

from __future__ import annotations


class UserError(Exception):
    """Bad input or usage. ``str(error)`` is the one line to show; never a traceback."""


class ModelError(UserError):
    """A model file that cannot be read, checked or imported."""


class UnsupportedError(ModelError):
    """A model that is valid but uses something outside what the compiler takes."""


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
