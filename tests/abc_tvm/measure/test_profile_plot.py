"""The plot of a profile: of no kernel, of one, and of more than are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abc_tvm.measure.machine_limits import Limits
from abc_tvm.measure.profile_plot import (
    MOST_BARS,
    draw_roofline,
    draw_times,
    save_profile,
    short,
    slowest,
)
from tests.abc_tvm.measure.made_up import colours_of, profile, row


@pytest.fixture
def axes() -> Any:
    return pytest.importorskip("matplotlib.figure").Figure().subplots()


def test_names_keep_their_ends() -> None:
    assert short("layer1.0.conv1") == "layer1.0.conv1"
    cut = short("/backbone/stages/stage1/block0/conv2/Conv", 12)
    assert cut == "…/conv2/Conv" and len(cut) == 12


def test_the_slowest_stay_in_their_order() -> None:
    rows = [row(f"r{n}", ms=ms) for n, ms in enumerate([1.0, 4.0, 2.0, 3.0])]
    assert slowest(rows, 2) == [1, 3]
    assert slowest(rows) == [0, 1, 2, 3]
    assert slowest([row("same")] * 5, 3) == [0, 1, 2]


def test_a_picture(tmp_path: Path) -> None:
    """Whose names would be formulas, and wrong ones."""
    pytest.importorskip("matplotlib")
    rows = row("$no$ formula $^$", kind="bitserial", of_peak=0.5), row("pool", kind="other")
    save_profile(profile(*rows, run_ms=2.0), tmp_path / "p.png", r"m$\frac{$.onnx")
    assert colours_of(tmp_path / "p.png") > 3


def test_a_bar_for_each_kernel_and_the_rest(axes: Any) -> None:
    rows = [row("a", ms=1.0, of_peak=0.25), row("b", ms=3.0, kind="bitserial")]
    draw_times(axes, rows, 0.5)
    assert [bar.get_width() for bar in axes.patches] == [1000, 3000, 500]
    assert [text.get_text() for text in axes.texts] == [" 25%", ""]
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["a", "b"]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 3


def test_of_equal_kernels_no_more_bars_than_there_is_room_for(axes: Any) -> None:
    """And a rest below nothing, where kernels took longer than the run, has no bar."""
    draw_times(axes, [row("same")] * (MOST_BARS + 9), profile(row("same"), run_ms=0.5).rest_ms)
    assert len(axes.patches) == MOST_BARS + 1
    assert axes.patches[-1].get_width() == 0


def test_a_run_of_no_kernel_is_all_rest(axes: Any) -> None:
    draw_times(axes, [], 2.0)
    assert [bar.get_width() for bar in axes.patches] == [2000]


def test_a_kind_without_a_peak_has_its_points_but_no_line(axes: Any) -> None:
    rows = (row("f"), row("b", kind="bitserial"), row("pool", kind="other"))
    draw_roofline(axes, profile(*rows, run_ms=5.0))
    assert len(axes.collections) == 2, "float and bits; a pool has no multiply-adds"
    assert [text.get_text() for text in axes.texts] == ["float32 FMA: 50 GMAC/s"]
    assert axes.get_ylim() == (0.5, 125)


def test_a_machine_without_any_peak(axes: Any) -> None:
    draw_roofline(axes, profile(run_ms=1.0, limits=Limits((), 80.0, 10.0, 1)))
    assert [line.get_label() for line in axes.lines] == [
        "level 2 cache, 80 GB/s",
        "memory, 10 GB/s",
    ]
    assert axes.get_ylim() == (0.5, 2.5) and not axes.collections
