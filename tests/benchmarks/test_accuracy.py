"""The training recipe: it learns, and an interrupted run goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import _accuracy_train as train

    return train


@pytest.fixture
def data(recipe: Any) -> dict[str, Any]:
    """Bright in the upper or in the lower half: two classes that are learned in an epoch."""
    from _accuracy_data import Split

    rng = np.random.default_rng(0)

    def split(count: int) -> Any:
        labels = rng.integers(0, 2, count, dtype=np.uint8)
        images = rng.integers(0, 100, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[14 * label : 14 * label + 14] += 100
        return Split(images, labels)

    return {"train": split(640), "test": split(200)}


def network() -> Any:
    from _accuracy_networks import lenet

    from abc_tvm.nn import binarize

    torch.manual_seed(0)
    return binarize(lenet(), 2, 2, verbose=False)


class Interrupted(Exception):
    pass


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(
    recipe: Any, data: dict[str, Any], tmp_path: Path
) -> None:
    settings = recipe.Settings(3, 2e-3, 64, shift=1)
    whole = network()
    wanted = recipe.train(whole, data, settings, 5, tmp_path / "whole.pt", lambda *_: None)
    assert wanted.accuracy > 95 and len(wanted.accuracies) == 3

    def stop(done: int, total: int, note: str) -> None:
        if done > total / 3 and "loss" in note:
            raise Interrupted

    place = tmp_path / "part.pt"
    with pytest.raises(Interrupted):
        recipe.train(network(), data, settings, 5, place, stop)
    assert not recipe.is_finished(place, settings)
    resumed = network()
    found = recipe.train(resumed, data, settings, 5, place, lambda *_: None)
    assert recipe.is_finished(place, settings)
    assert found.accuracies == wanted.accuracies
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_other_settings_begin_anew(recipe: Any, data: dict[str, Any], tmp_path: Path) -> None:
    place = tmp_path / "run.pt"
    recipe.train(network(), data, recipe.Settings(1, 2e-3, 64), 0, place, lambda *_: None)
    other = recipe.Settings(1, 1e-3, 64)
    assert not recipe.is_finished(place, other)
    steps: list[int] = []
    recipe.train(network(), data, other, 0, place, lambda done, *_: steps.append(done))
    assert steps[0] == 0


def test_a_damaged_package_is_refused(recipe: Any, tmp_path: Path) -> None:
    import pickle

    from _accuracy_data import _ArraysOnly

    from abc_tvm.errors import InputError

    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps(Path))
    with file.open("rb") as stream, pytest.raises(InputError, match="unexpected object"):
        _ArraysOnly(stream).load()
