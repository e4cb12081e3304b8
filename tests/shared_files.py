"""Real networks and data that live beside the repository, in ``../shared``, on some machines."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared_model(name: str) -> Path:
    """Path of a real network; skips the test where it is missing."""
    return _shared("models", name)


def shared_data(name: str) -> Path:
    """Path of a real data file; skips the test where it is missing."""
    return _shared("data", name)


def _shared(folder: str, name: str) -> Path:
    path = SHARED / folder / name
    if not path.is_file():
        pytest.skip(f"needs ../shared/{folder}/{name} beside the repository")
    return path
