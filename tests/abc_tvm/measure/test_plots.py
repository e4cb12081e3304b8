"""What is refused before it is drawn, and that texts are drawn as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm.errors import UserError
from abc_tvm.measure.plots import check_plot, colours, labels, plain, save_figure
from tests.abc_tvm.measure.made_up import colours_of


@pytest.mark.parametrize("name", ["plot.pdf", "plot", "no/such/plot.png"])
def test_plots_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=name.rpartition("/")[0] or name):
        check_plot(tmp_path / name)


def test_every_kind_has_a_colour_and_a_label_of_its_own() -> None:
    assert set(colours()) == set(labels()) >= {"bitserial", "int8", "float", "other"}
    assert len(set(colours().values())) == len(colours())
    assert len(set(labels().values())) == len(labels())


@pytest.mark.parametrize("text", ["$", "a$b$c", r"$\frac{$"])
def test_dollars_are_no_formula(text: str, tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(2, 1))
    figure.suptitle(plain(text), color="red")
    save_figure(figure, tmp_path / "text.png")
    with pytest.raises(UserError, match="absent"):
        save_figure(figure, tmp_path / "absent/text.png")
    assert colours_of(tmp_path / "text.png") > 2
