"""Element-wise bindings behind a tensor, and the single tensors that determine it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from tvm import relax

from abc_tvm.relay_passes.analysis.pointwise import TABLE
from abc_tvm.relay_passes.rewrite import Binding, Definitions, op_name

MOST_ROOTS = 64
"""Of longer chains the deepest and the last tensors are tried: half of these each."""


def chain_behind(defined: Definitions, data: relax.Var) -> tuple[list[Binding], list[relax.Var]]:
    """Element-wise bindings behind ``data`` in an order of computation, and where they start."""
    chain: list[Binding] = []
    leaves: list[relax.Var] = []
    met, waiting = {data}, [data]
    while waiting:
        var = waiting.pop()
        value = defined.get(var)
        if value is None or op_name(value) not in TABLE:
            leaves.append(var)
            continue
        chain.append((var, value))
        inputs = dict.fromkeys(a for a in value.args if isinstance(a, relax.Var))
        new = [a for a in inputs if a not in met]
        met.update(new)
        waiting += new
    return _ordered(chain[::-1]), leaves


def _ordered(chain: Sequence[Binding]) -> list[Binding]:
    """Bindings so that each comes behind what it reads."""
    values = dict(chain)
    readers: dict[relax.Var, list[relax.Var]] = {}
    open_inputs: dict[relax.Var, int] = {}
    for var, value in chain:
        inner = {a for a in value.args if isinstance(a, relax.Var) and a in values}
        open_inputs[var] = len(inner)
        for arg in inner:
            readers.setdefault(arg, []).append(var)
    ready = deque(var for var, count in open_inputs.items() if count == 0)
    done: list[Binding] = []
    while ready:
        var = ready.popleft()
        done.append((var, values[var]))
        for reader in readers.get(var, []):
            open_inputs[reader] -= 1
            if open_inputs[reader] == 0:
                ready.append(reader)
    return done


def roots(defined: Definitions, data: relax.Var) -> Iterator[tuple[relax.Var, list[Binding]]]:
    """``(root, bindings after it)`` for every single tensor that determines ``data``.

    The deepest comes first, ``data`` itself last. In the order of computation a tensor is such a
    root when nothing else computed up to it is read after it.
    """
    chain, leaves = chain_behind(defined, data)
    born = dict.fromkeys(leaves, -1) | {var: i for i, (var, _) in enumerate(chain)}
    last_read = {a: i for i, (_, call) in enumerate(chain) for a in call.args if a in born}
    ends: list[list[relax.Var]] = [[] for _ in chain]
    for var, position in last_read.items():
        ends[position].append(var)
    live = {leaf for leaf in leaves if leaf in last_read}
    start_of: dict[relax.Var, int] = {}
    for position in range(-1, len(chain) - 1):
        if position >= 0:
            live.difference_update(ends[position])
            live.add(chain[position][0])
        if len(live) == 1:
            start_of.setdefault(next(iter(live)), position + 1)
    tried = list(start_of.items())
    if len(tried) > MOST_ROOTS:
        tried = tried[: MOST_ROOTS // 2] + tried[-MOST_ROOTS // 2 :]
    for root, start in tried:
        yield root, _needed(chain[start:], data)
    yield data, []


def _needed(chain: Sequence[Binding], end: relax.Var) -> list[Binding]:
    """The bindings that ``end`` depends on."""
    wanted = {end}
    needed: list[Binding] = []
    for var, call in reversed(chain):
        if var in wanted:
            needed.append((var, call))
            wanted.update(a for a in call.args if isinstance(a, relax.Var))
    return needed[::-1]
