"""The environment of processes that tests start by the dozen."""

from __future__ import annotations

import os
from pathlib import Path

_PATHS = [str(Path(__file__).parent / "no_torch"), *filter(None, [os.environ.get("PYTHONPATH")])]

QUICK = {**os.environ, "PYTHONPATH": os.pathsep.join(_PATHS)}
"""Without torch: see ``no_torch/torch.py``."""
