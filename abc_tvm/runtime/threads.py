"""How many threads a run uses: TVM's pool, and what it does not tell.

Tried with TVM 0.27 on Linux, and read in its ``src/runtime/thread_pool.cc``:

- Every thread that runs a parallel loop gets a pool of its own, which ends with that thread. Its
  size is fixed when it is made: ``TVM_NUM_THREADS``, or half of the processors; but a list of
  processors given to ``runtime.config_threadpool`` goes before both, for the calling thread alone.
- Where that size is 1, loops run in the caller and there are no workers.
- A worker that has nothing to do calls ``sched_yield`` 300,000 times before it sleeps, and until
  then does not see that it is to end: 0.2 s of processor time after every run on an idle machine,
  many seconds on a loaded one, at the end of each thread and of the process.
- By default TVM pins its workers *and the calling thread* to one processor each, the caller to
  the first one. Everything else that the process does from then on, another inference library
  for instance, is confined to that processor. So pinning is switched off here unless
  ``TVM_BIND_THREADS`` is set.
- A pool does not survive ``fork``: the child has its data without its workers, a loop waits for
  them for ever, and so does the end of the thread.

So a thread of the user never gets workers: a run with one thread needs none, and one with several
takes place in a thread of ours (:mod:`abc_tvm.runtime.crews`), which a child does not have.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

from abc_tvm.errors import InputError

SPINS = 2000
"""How often an idle worker yields before it sleeps: half a millisecond on an idle machine.

That is longer than from one loop of a network to the next, and from run to run in a row: as fast
as TVM's own number (two threads, resnet18, x86-64; 200: 3 % slower, 0: 27 %).
``TVM_THREAD_POOL_SPIN_COUNT`` goes before it. TVM reads it when it makes its first worker.
"""

_ENV = "TVM_NUM_THREADS"
_BIND = "TVM_BIND_THREADS"
_SPIN = "TVM_THREAD_POOL_SPIN_COUNT"
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


def check_threads(count: int) -> None:
    """Refuse more threads than there are processors, unless ``TVM_NUM_THREADS`` asks for them.

    Raises:
        InputError: ``count`` is not possible here.
    """
    most = max(default_threads(), _processors, len(os.sched_getaffinity(0)))
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
        raise InputError(
            f"threads: {count!r} is not possible here; give 1 to {most} (more, if {_ENV} says so "
            "when the process starts)"
        )


def use_threads(count: int) -> None:
    """Run networks with ``count`` threads from now on, in the calling thread.

    With more than one it gets workers, so it must be a thread that does not fork.

    Raises:
        InputError: ``count`` is not possible here, or more than an earlier call in this thread.
    """
    if getattr(_here, "count", None) == count:
        return
    check_threads(count)
    number_of_threads, configure = _functions()
    before = os.sched_getaffinity(0)
    configure(_BIG_CORES_FIRST, count, [str(n) for n in range(count)])
    if count == 1:  # nothing to be pinned apart from
        os.sched_setaffinity(0, before)
    got = int(number_of_threads())
    if got != count:
        raise InputError(f"threads: {count} asked for, and this thread has a pool of {got}")
    _here.count = count


@functools.cache
def _functions() -> tuple[Any, Any]:
    os.environ.setdefault(_BIND, "0")
    os.environ.setdefault(_SPIN, str(SPINS))
    import tvm

    return (
        tvm.get_global_func("runtime.NumThreads"),
        tvm.get_global_func("runtime.config_threadpool"),
    )


# Before anything confines this process to fewer.
_processors = len(os.sched_getaffinity(0))
_users_text = os.environ.get(_ENV)
