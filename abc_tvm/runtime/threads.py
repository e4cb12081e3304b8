"""How many threads a run uses: TVM's pool, and what it does not tell.

Tried with TVM 0.27 on Linux:

- Every Python thread that runs a network gets a pool of its own, with as many workers as
  ``TVM_NUM_THREADS`` says at that moment (unset: half of the processors). It never grows.
- ``TVM_NUM_THREADS`` is read again at every parallel loop: at 1 the loop runs in the caller,
  whatever the pool has. It must therefore keep the size of the pool.
- ``runtime.config_threadpool`` limits a pool to fewer threads and lifts that limit again; with
  a limit of 1 a loop costs as little as with a pool of 1.
- By default TVM pins its workers *and the calling thread* to one processor each, the caller to
  the first one. Everything else that the process does from then on, another inference library
  for instance, is confined to that processor. So pinning is switched off here unless
  ``TVM_BIND_THREADS`` is set.

So the first use makes a pool for all processors, and each session limits it to its own number.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

from abc_tvm.errors import InputError

_ENV = "TVM_NUM_THREADS"
_BIND = "TVM_BIND_THREADS"
_BIG_CORES_FIRST = 1
_here = threading.local()


def default_threads() -> int:
    """``TVM_NUM_THREADS`` if the user has set it, else the processors this process may use.

    Raises:
        InputError: ``TVM_NUM_THREADS`` is no positive number.
    """
    if _users_text is None:
        return len(os.sched_getaffinity(0))
    if not _users_text.isdigit() or int(_users_text) < 1:
        raise InputError(f"{_ENV}: {_users_text!r} is no number of threads; give 1 or more")
    return int(_users_text)


def use_threads(count: int) -> None:
    """Run networks with ``count`` threads from now on, in the calling Python thread.

    Raises:
        InputError: ``count`` is not positive, or more than the pool that this process has made.
    """
    if getattr(_here, "count", None) == count:
        return
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"threads: {count!r} is not possible; give 1 or more")
    number_of_threads, configure = _functions()
    if not hasattr(_here, "count"):
        size = max(count, default_threads(), _processors)
        os.environ[_ENV] = str(size)
    configure(_BIG_CORES_FIRST, count)
    got = int(number_of_threads())
    if got != count:
        raise InputError(
            f"threads: {count} asked for, but this process has made a pool of {got}: set "
            f"{_ENV}={count} before it starts"
        )
    _here.count = count


@functools.cache
def _functions() -> tuple[Any, Any]:
    os.environ.setdefault(_BIND, "0")
    import tvm

    return (
        tvm.get_global_func("runtime.NumThreads"),
        tvm.get_global_func("runtime.config_threadpool"),
    )


# Before anything confines this process to fewer: the pool cannot grow later.
_processors = len(os.sched_getaffinity(0))
# Read before this module writes the variable.
_users_text = os.environ.get(_ENV)
