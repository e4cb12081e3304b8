"""Which choice to measure next, by a cost model that is learned while measuring (XGBoost).

Gradient-boosted trees predict how much slower than the layer's best a choice is, from
:meth:`abc_tvm.schedules.space.Space.features`, and learn from every layer that has been measured in
this run.
After the default and a few tiles by rank, the choice with the best prediction is measured; now and
then one at random, so that the model also learns where it would never look.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.space import Space

FIRST = 6
"""Choices that are measured by the default rule's rank."""

ASTRAY = 6
"""Every so many choices, one is taken at random."""

FAILED = 3.0
"""What is learned of a choice that failed: as if it took twenty times the best time."""

TREES = {
    "objective": "reg:squarederror",
    "max_depth": 5,
    "eta": 0.25,
    "min_child_weight": 1,
    "subsample": 1.0,
    "nthread": 1,
    "verbosity": 0,
}
TREE_ROUNDS = 48


class Learned:
    """Proposes the choice that boosted trees predict to be the best of those not yet measured.

    The same seed and history give the same proposals.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._points: dict[Space, tuple[list[Choice], np.ndarray]] = {}
        self._known: dict[Space, tuple[np.ndarray, np.ndarray]] = {}

    def learn(self, space: Space, seen: Mapping[Choice, float]) -> None:
        """Take in what was measured: seconds, infinite where a choice failed."""
        times = np.array(list(seen.values()))
        good = np.isfinite(times)
        if not good.any():
            return
        slower = np.full(len(times), FAILED)
        slower[good] = np.minimum(np.log(times[good] / times[good].min()), FAILED)
        self._known[space] = (space.features(list(seen)), slower)

    def next(
        self, space: Space, seen: Mapping[Choice, float], pending: Collection[Choice] = ()
    ) -> Choice | None:
        """The next choice to measure; ``None`` when there is none left."""
        self.learn(space, seen)
        taken = {*seen, *pending}
        default = space.default()
        for choice in [default, *space.first(FIRST)]:
            if choice not in taken:
                return choice
        points, described = self._described(space)
        fresh = [i for i, choice in enumerate(points) if choice not in taken]
        if not fresh:
            return None
        if not self._known:  # everything is under way
            return points[fresh[0]]
        if len(taken) % ASTRAY == 0:
            return points[random.Random(f"{self.seed} {len(taken)} {space}").choice(fresh)]
        guesses = self._model().predict(_matrix(described[fresh]))
        return points[fresh[int(np.argmin(guesses))]]

    def _described(self, space: Space) -> tuple[list[Choice], np.ndarray]:
        if space not in self._points:
            points = list(space.points())
            self._points[space] = (points, space.features(points))
        return self._points[space]

    def _model(self) -> Any:
        import xgboost

        rows, labels = zip(*self._known.values(), strict=True)
        data = _matrix(np.concatenate(rows), np.concatenate(labels))
        return xgboost.train({**TREES, "seed": self.seed}, data, TREE_ROUNDS)


def _matrix(rows: np.ndarray, labels: np.ndarray | None = None) -> Any:
    import xgboost

    return xgboost.DMatrix(rows, label=labels, nthread=1)
