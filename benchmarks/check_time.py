"""What share of the time of ``compile`` the second opinion takes.

    python benchmarks/check_time.py MODEL.onnx … [--target zen4]

Prints, for each model, seconds of processor time of the whole compilation and of the check.
"""

from __future__ import annotations

import argparse
import time
import warnings

import abc_tvm
from abc_tvm.checks.opinion import guard, opinion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--target", default="zen4")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    taken: list[float] = []

    def timed(*args: object, **named: object) -> opinion.Opinion:
        start = time.perf_counter(), time.process_time()
        found = opinion.second_opinion(*args, **named)  # type: ignore[arg-type]
        taken.append(time.perf_counter() - start[0])
        taken.append(time.process_time() - start[1])
        return found

    guard.second_opinion = timed
    for model in arguments.models:
        taken.clear()
        start = time.perf_counter(), time.process_time()
        artifact = abc_tvm.compile(model, arguments.target)
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        said = artifact.info.second_opinion or {}
        share, share_cpu = sum(taken[::2]), sum(taken[1::2])
        print(
            f"{model}: {share:.2f} of {wall:.2f} s ({share / wall:.1%}; processor time "
            f"{share_cpu:.2f} of {cpu:.2f} s), {said.get('checked', 0)} layers checked, "
            f"{len(said.get('unknown', {}))} unknown, {len(said.get('wrong', {}))} wrong",
            flush=True,
        )


if __name__ == "__main__":
    main()
