"""What is drawn beside what, and what is refused before it is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm.errors import UserError
from abc_tvm.measure.bench_plot import same_layers
from abc_tvm.measure.kernel_plan import Kernel
from abc_tvm.measure.plots import check_plot
from abc_tvm.measure.profile import Row, shares
from abc_tvm.measure.profile_plot import short
from abc_tvm.measure.timing import Times


def row(
    name: str, *shape: int, ms: float = 1.0, of_peak: float | None = None, kind: str = "float"
) -> Row:
    kernel = Kernel(name, kind, 1, shape=shape)  # type: ignore[arg-type]
    return Row(kernel, Times.of([ms]), 1, 1, 1.0, of_peak)


def test_the_same_convolutions_stand_side_by_side() -> None:
    ours = [row("transpose"), row("a/A0B0", 8, 3, 3, 4), row("pool"), row("b/A0B0", 8, 1, 1, 8)]
    theirs = [row("a", 8, 3, 3, 4), row("relu"), row("b", 8, 1, 1, 8)]
    found = same_layers(ours, theirs)
    assert {place: other.kernel.name for place, other in found.items()} == {1: "a", 3: "b"}
    turned = same_layers(ours, theirs[::-1])
    assert {place: other.kernel.name for place, other in turned.items()} == {1: "a", 3: "b"}
    assert same_layers(ours, theirs[:1]) == {}
    assert same_layers(ours, [row("a", 8, 3, 3, 4), row("b", 8, 3, 3, 8)]) == {}


def test_shares_are_weighted_by_time() -> None:
    rows = [
        row("fast", ms=1.0, of_peak=0.9),
        row("slow", ms=3.0, of_peak=0.5),
        row("unknown"),
        row("bitserial", of_peak=0.8, kind="bitserial"),
    ]
    found = dict(shares(rows))
    assert set(found) == {"float", "bitserial"}
    assert found["float"]["of_peak"] == pytest.approx((0.9 + 3 * 0.5) / 4)
    assert (found["float"]["least"], found["float"]["least_layer"]) == (0.5, "slow")


def test_names_keep_their_ends() -> None:
    assert short("layer1.0.conv1") == "layer1.0.conv1"
    cut = short("/backbone/stages/stage1/block0/conv2/Conv", 12)
    assert cut == "…/conv2/Conv" and len(cut) == 12


@pytest.mark.parametrize("name", ["plot.pdf", "plot", "no/such/plot.png"])
def test_plots_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=name.rpartition("/")[0] or name):
        check_plot(tmp_path / name)
