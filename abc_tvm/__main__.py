"""``python -m abc_tvm`` is ``abc-tvm``."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line; a Ctrl-C while it is still being imported is one line as well."""
    try:
        from abc_tvm.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("abc-tvm: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
