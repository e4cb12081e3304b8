"""What all plots share: colours of the kinds of kernels, the check before the work, the file."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from abc_tvm.errors import MissingDependencyError, UserError
from abc_tvm.files import check_writable, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"bits": "#1b7837", "bytes": "#762a83", "float": "#2166ac", "other": "#878787"}
LABELS = {
    "bits": "bits (xor, popcount)",
    "bytes": "int8 (dot products)",
    "float": "float32",
    "other": "no convolution",
}


def check_plot(path: str | os.PathLike[str]) -> None:
    """Refuse a plot that cannot be made, before anything is measured.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        UserError: The name does not end in .png, or its folder is missing.
    """
    if not os.fspath(path).endswith(".png"):
        raise UserError(f"{os.fspath(path)}: plots are PNG files; give a name that ends in .png")
    check_writable(path)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib is not installed, and plots are drawn with it: pip install 'abc-tvm[bench]'"
        ) from error


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, buffer.getvalue())
