"""The one place that says what to do when PyTorch is missing."""

from __future__ import annotations

from importlib import util

from abc_tvm.errors import MissingDependencyError


def require_torch() -> None:
    """Raise :class:`MissingDependencyError` if PyTorch is not installed."""
    if util.find_spec("torch") is None:
        raise MissingDependencyError(
            "abc_tvm.nn needs PyTorch: install it with pip install 'abc-tvm[torch]'"
        )
