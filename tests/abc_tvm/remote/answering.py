"""A helper process for the tests of the watchdog."""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection

from abc_tvm.remote.watchdog import lifeline


def main() -> None:
    pipe = Connection(int(sys.argv[1]))
    lifeline(pipe)
    while True:
        what, value = pipe.recv()
        if what == "echo":
            pipe.send(("done", value))
        elif what == "refuse":
            pipe.send(("refused", "Kind", value))
        elif what == "steps":
            for number, limit in enumerate(value):
                pipe.send(("step", f"step {number}", limit))
                time.sleep(0.6)
            pipe.send(("done", None))
        elif what == "sleep":
            pipe.send(("at", "it sleeps"))
            time.sleep(value)
        else:
            print(value, file=sys.stderr, flush=True)
            os._exit(3)


if __name__ == "__main__":
    main()
