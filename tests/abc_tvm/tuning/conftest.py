"""What the machine can do is measured once, not by every run of the tuner."""

from __future__ import annotations

from typing import Any

import pytest

from abc_tvm.measure import peaks
from abc_tvm.targets import Device


@pytest.fixture(autouse=True)
def _peaks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each run of the tuner: what the machine can do does not change meanwhile."""

    def measure(device: Device) -> dict[Any, float | None]:
        if device not in _peaks:
            _peaks[device] = _measure(device)
        return _peaks[device]

    monkeypatch.setattr(peaks, "measure", measure)


_measure = peaks.measure
_peaks: dict[Device, dict[Any, float | None]] = {}
