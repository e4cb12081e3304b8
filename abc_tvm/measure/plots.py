"""What all plots share: colours of the kinds of kernels, the check before the work, the file."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from abc_tvm.errors import MissingDependencyError, UserError
from abc_tvm.file_kinds import PLOT
from abc_tvm.files import StrPath, check_output, write_atomically
from abc_tvm.measure.kernel_plan import OTHER
from abc_tvm.relay_passes.lowerings.table import lowerings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUR_COLOUR = "#1b7837"
OTHER_COLOUR = "#878787"


def colours() -> dict[str, str]:
    """The colour of each kind of kernel: of every lowering, and of what is no convolution."""
    return {**{one.name: one.colour for one in lowerings()}, OTHER: OTHER_COLOUR}


def labels() -> dict[str, str]:
    """What legends call each kind of kernel."""
    return {**{one.name: one.title for one in lowerings()}, OTHER: "no convolution"}


def plain(text: str) -> str:
    """A text that is drawn as it stands: between two dollars matplotlib would read a formula."""
    return text.replace("$", r"\$")


def check_plot(path: StrPath, inputs: Sequence[StrPath] = ()) -> None:
    """Refuse a plot that cannot be made, before anything is measured.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        UserError: The name does not end in .png, its folder is missing, or what is there is no
            picture or one of the ``inputs``.
    """
    if not os.fspath(path).endswith(".png"):
        raise UserError(f"{os.fspath(path)}: plots are PNG files; give a name that ends in .png")
    check_output(path, kind=PLOT, inputs=inputs)
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
    write_atomically(path, buffer.getvalue(), kind=PLOT)
