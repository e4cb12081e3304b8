"""``python -m abc_tvm`` is ``abc-tvm``."""

from __future__ import annotations

from abc_tvm.cli import main

if __name__ == "__main__":
    main()
