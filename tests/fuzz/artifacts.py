"""Damaged artifacts: refused in one line, or they work."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import abc_tvm
from abc_tvm.runtime.container import Info, pack

from .command_line import Judged, command, limit_addresses
from .judge import Outcome
from .mutations import NUMBERS, Rng, choose, damage_bytes
from .values import Array
from .workers import Task


def make(seed: int, out: str | None) -> Task:
    """A task that damages one of two artifacts, and runs it."""
    from tests.abc_tvm.small_networks import network

    limit_addresses()
    rng = np.random.default_rng([seed, 17])
    x = rng.integers(-3, 4, (2, 8, 6, 6)).astype(np.float32)
    models = [network(), network(binary=False, dims=(2, 8, 6, 6))]
    built = [abc_tvm.compile(model) for model in models]
    expected = []
    for artifact in built:
        with tempfile.TemporaryDirectory(prefix="abc-fuzz-") as folder:
            artifact.save(Path(folder, "a.so"))
            expected.append(dict(abc_tvm.load(Path(folder, "a.so"), threads=1).run(x)))

    def task(number: int) -> Outcome:
        rng = np.random.default_rng([seed, number, 18])
        which = int(rng.integers(2))
        data = _damaged(rng, built[which].data, built[1 - which].data, built[which].info)
        with tempfile.TemporaryDirectory(prefix="abc-fuzz-") as folder:
            path = Path(folder, "a.so")
            path.write_bytes(data)
            outcome = _try(path, x, expected[which], len(built[which].data))
            if outcome.is_finding and out is not None:
                kept = Path(out, f"artifact_{seed}_{number}.so")
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, kept)
            return outcome

    return task


def _damaged(rng: Rng, data: bytes, other: bytes, info: Info) -> bytes:
    """Damage of every part; a description that lies, under a digest that is right."""
    size = len(data)
    match int(rng.integers(7)):
        case 0:
            return damage_bytes(rng, data)
        case 1:
            at = int(rng.integers(size))
            return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
        case 2:
            return data[: int(rng.integers(size))]
        case 3:
            start, length = int(rng.integers(size)), int(rng.integers(1, 4096))
            return data[:start] + other[start : start + length] + data[start + length :]
        case 4:
            # The end, where description and digest lie.
            tail = damage_bytes(rng, data[-600:])
            return data[:-600] + tail
        case 5:
            return data + choose(rng, (b"\0", data[-48:], rng.bytes(100), other))
        case _:
            return _lying(rng, data, info)


def _lying(rng: Rng, data: bytes, info: Info) -> bytes:
    description = json.dumps(dataclasses.asdict(info), separators=(",", ":")).encode()
    library = data[: data.rindex(description)] if description in data else data
    fields = dataclasses.asdict(info)
    key = choose(rng, list(fields))
    wild = (None, [], {}, "text", *NUMBERS, [1, "a"], {"name": 3})
    if key in ("inputs", "outputs") and rng.random() < 0.7:
        port = dict(fields[key][0])
        part = choose(rng, list(port))
        port[part] = choose(rng, wild)
        fields[key] = [port, *fields[key][1:]]
    elif key == "target" and rng.random() < 0.7:
        part = choose(rng, list(fields[key]))
        fields[key] = {**fields[key], part: choose(rng, wild)}
    else:
        fields[key] = choose(rng, wild)
    loose = dataclasses.make_dataclass("Loose", list(fields))
    return pack(library, loose(**fields))  # type: ignore[arg-type]


def _try(path: Path, x: Array, expected: Mapping[str, Array], size: int) -> Outcome:
    inputs, outputs = path.with_suffix(".npz"), path.with_name("out.npz")
    np.savez(inputs, input=x)
    try:
        command("run", str(path), "-i", str(inputs), "-o", str(outputs), "--repeat", "1")
    except Judged as judged:
        return judged.outcome
    with np.load(outputs) as data:
        got = {name: data[name] for name in data.files}
    for name, right in zip(expected, expected.values(), strict=True):
        values = got.get(name)
        if values is None and len(got) == 1:
            values = next(iter(got.values()))  # the description may call it otherwise
        if values is None or not np.array_equal(values, right):
            return Outcome("wrong", "a damaged artifact computes", f"{size} bytes, {name}")
    return Outcome("right")
