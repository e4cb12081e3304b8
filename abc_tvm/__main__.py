"""``python -m abc_tvm`` is ``abc-tvm``."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line; what goes wrong while it is still being imported is one line as well."""
    try:
        from abc_tvm.cli import main as run

        run()
    except ImportError as error:
        sys.stderr.write(
            f"abc-tvm: error: the installation is not complete ({error}); install it again: "
            "pip install --force-reinstall abc-tvm\n"
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("abc-tvm: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
