"""The trained half of the demo: it passes where nearly all images get onnxruntime's class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs the extra [bench]")

from abc_tvm.demo import trained
from abc_tvm.measure.timing import Times

COUNT = 100


class Engine:
    """Names the class of an image, but for the first ``wrong``."""

    def __init__(self, wrong: int) -> None:
        self.wrong, self.seen = wrong, 0

    def run(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.seen += 1
        best = 3 if self.seen > self.wrong else 4
        return {"output": np.eye(10, dtype=np.float32)[None, best]}


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many images the compiled network gets wrong."""
    wrong = {"bits": 0}
    images = trained.pretrained.fashion_test_images()
    few = type(images)(images.inputs[:COUNT], np.full(COUNT, 3))

    def compiled(file: Any, **options: Any) -> Any:
        artifact = type("Artifact", (), {"data": b"x" * 1000, "lowering": options.get("lowering")})
        return artifact()

    def opened(artifact: Any, *_: Any) -> Engine:
        return Engine(0 if artifact.lowering == "float" else wrong["bits"])

    monkeypatch.setattr(trained.pretrained, "fashion_test_images", lambda: few)
    monkeypatch.setattr(trained, "compile_network", compiled)
    monkeypatch.setattr(trained, "open_session", opened)
    monkeypatch.setattr(trained, "OnnxEngine", lambda model: Engine(0))
    times = Times.of([1.0, 2.0])
    monkeypatch.setattr(trained, "take_turns", lambda calls, *_: dict.fromkeys(calls, times))
    return wrong


@pytest.mark.parametrize(("wrong", "passed"), [(0, True), (1, True), (2, False)])
def test_one_image_in_a_hundred_may_differ(
    engines: dict[str, int], wrong: int, passed: bool
) -> None:
    engines["bits"] = wrong
    told: list[str] = []
    found = trained.run(told.append)
    assert found.passed == passed
    assert [str(cell) for cell in found.table.columns[0].cells] == [
        trained.BITS, trained.FLOAT, trained.JUDGE,
    ]  # fmt: skip
    assert [str(cell) for cell in found.table.columns[3].cells] == [
        f"{COUNT - wrong} of {COUNT}", f"{COUNT} of {COUNT}", f"{COUNT} of {COUNT}",
    ]  # fmt: skip
    assert told[-1] == "measure"
