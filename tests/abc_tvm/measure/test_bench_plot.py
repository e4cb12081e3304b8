"""The plot of a comparison: engines side by side, and the same layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abc_tvm.engines.engine import FLOAT, OURS
from abc_tvm.errors import UserError
from abc_tvm.measure.bench import Comparison, Result
from abc_tvm.measure.bench_plot import draw_layers, draw_speedups, same_layers, save_plot
from abc_tvm.measure.profile_plot import MOST_BARS
from abc_tvm.measure.timing import Times
from tests.abc_tvm.measure.made_up import colours_of, profile, report, row


def comparison(rows: dict[str, list[Any]] | None = None, **ms: float) -> Comparison:
    """Of engines with a time each, ours the first; ``rows`` of those whose layers were timed."""
    results = [Result(name.replace("_", "-"), "model", Times.of([t])) for name, t in ms.items()]
    profiles = {name: profile(*of, run_ms=1.0) for name, of in (rows or {}).items()}
    return Comparison(tuple(results), 2, (0, 1), {}, False, report(), profiles=profiles)


@pytest.fixture
def axes() -> Any:
    return pytest.importorskip("matplotlib.figure").Figure().subplots()


def test_the_same_convolutions_stand_side_by_side() -> None:
    ours = [row("transpose"), row("a/A0B0", 8, 3, 3, 4), row("pool"), row("b/A0B0", 8, 1, 1, 8)]
    theirs = [row("a", 8, 3, 3, 4), row("relu"), row("b", 8, 1, 1, 8)]
    found = same_layers(ours, theirs)
    assert {place: other.kernel.name for place, other in found.items()} == {1: "a", 3: "b"}
    turned = same_layers(ours, theirs[::-1])
    assert {place: other.kernel.name for place, other in turned.items()} == {1: "a", 3: "b"}
    assert same_layers(ours, theirs[:1]) == {}
    assert same_layers(ours, [row("a", 8, 3, 3, 4), row("b", 8, 3, 3, 8)]) == {}
    assert same_layers([], []) == {}


def test_equal_shapes_go_by_their_order() -> None:
    ours, theirs = ([row(f"{side}{n}", 4, 1, 1, 4) for n in range(3)] for side in "ab")
    found = same_layers(ours, theirs)
    assert [found[place].kernel.name for place in range(3)] == ["b0", "b1", "b2"]


def test_bars_say_how_much_faster(axes: Any) -> None:
    draw_speedups(axes, comparison(abc_tvm=2.0, onnxruntime=8.0, torch=1.0))
    assert [bar.get_width() for bar in axes.patches] == [4.0, 1.0, 8.0]
    assert [text.get_text() for text in axes.texts] == [
        "2.000 ms",
        "8.000 ms; abc-tvm is 4.00x as fast",
        "1.000 ms; abc-tvm is 0.50x as fast",
    ]
    shades = [bar.get_facecolor() for bar in axes.patches]
    assert shades[0] != shades[1] == shades[2]


def test_a_float_layer_has_its_bar_beside_ours(axes: Any) -> None:
    ours = [row("a", 8, 3, 3, 4, ms=1.0, kind="bitserial"), row("pool", ms=0.5, kind="other")]
    theirs = [row("a", 8, 3, 3, 4, ms=3.0)]
    draw_layers(axes, comparison({OURS: ours, FLOAT: theirs}, abc_tvm=1.0, tvm_float=2.0))
    assert sorted(bar.get_width() for bar in axes.patches) == [500, 1000, 3000]
    centres = {bar.get_width(): bar.get_y() + bar.get_height() / 2 for bar in axes.patches}
    assert centres[3000] - centres[1000] == pytest.approx(0.4)
    assert "tvm-float: the same layer" in axes.get_legend_handles_labels()[1]


def test_of_many_kernels_the_slowest_are_drawn(axes: Any) -> None:
    ours = [row(f"r{n}", 4, 1, 1, 4, ms=1.0 + n) for n in range(MOST_BARS + 5)]
    draw_layers(axes, comparison({OURS: ours, FLOAT: ours[::-1]}, abc_tvm=1.0))
    assert len(axes.patches) == 2 * MOST_BARS
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["r5", "r6"]


@pytest.mark.parametrize("count", [None, 2])
def test_a_picture(count: int | None, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = None if count is None else {OURS: [row(f"${n}^$", kind="int8") for n in range(count)]}
    save_plot(comparison(rows, abc_tvm=1.0), tmp_path / "b.png", r"m$\frac{$.onnx")
    assert colours_of(tmp_path / "b.png") > 3


def test_nothing_to_draw(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UserError, match=r"b\.png: no engine was timed"):
        save_plot(comparison(), tmp_path / "b.png", "m")
    assert not (tmp_path / "b.png").exists()
