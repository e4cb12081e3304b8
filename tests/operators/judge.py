"""Compile one case, run it, and say whether it did what ONNX says."""

from __future__ import annotations

import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.operators.cases import Case

RIGHT, REFUSED, WRONG, INTERNAL, CRASH = "right", "refused", "WRONG", "INTERNAL", "CRASH"
RTOL, ATOL = 1e-3, 1e-7
"""What onnx's own runner allows."""

HALF_RTOL = 2.0**-9
"""Two units in the last place of float16: onnx's reference rounds inside Softmax, for one, as
onnxruntime and we do not, and is a unit from the true value where these are none."""


@dataclass(frozen=True)
class Verdict:
    """What became of a case: one of the words above, and why if it is not ``right``."""

    status: str
    reason: str = ""


def judge(case: Case, *, whole: bool = False) -> Verdict:
    """Compile and run ``case``; with ``whole`` through a linked artifact and its file."""
    from abc_tvm.errors import CompilerFault, UserError

    try:
        model = onnx.ModelProto.FromString(case.model)
        session = _through_file(model) if whole else in_memory(model)
        found = session.run(case.inputs)
    except CompilerFault as error:
        return Verdict(INTERNAL, " ".join(str(error).split())[:240])
    except UserError as error:
        text = str(error)
        if "\n" in text:
            return Verdict(INTERNAL, "refused with more than one line: " + " ".join(text.split()))
        return Verdict(REFUSED, text)
    except Exception as error:  # noqa: BLE001  (what escapes is what is judged)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(f"{type(error).__name__}: {error}".split())[:240]
        return Verdict(INTERNAL, f"{text} ({Path(frame.filename).name}:{frame.lineno})")
    names = [value.name for value in model.graph.output]
    for name, wanted in zip(names, case.outputs, strict=True):
        why = differs(found[name], wanted)
        if why:
            return Verdict(WRONG, f"output {name}: {why}")
    return Verdict(RIGHT)


def differs(found: Any, wanted: Any) -> str:
    """Why two arrays are not the same, or an empty string."""
    if str(found.dtype) != str(wanted.dtype):
        return f"is {found.dtype}, {wanted.dtype} is right"
    if found.shape != wanted.shape:
        return f"has shape {list(found.shape)}, {list(wanted.shape)} is right"
    if found.dtype.kind in "biu":
        count = int((found != wanted).sum())
        return f"{count} of {found.size} elements differ" if count else ""
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(all="ignore"):
        rtol = HALF_RTOL if found.dtype == np.float16 else RTOL
        bad = ~np.isclose(a, b, rtol=rtol, atol=ATOL, equal_nan=True)
    return f"{int(bad.sum())} of {found.size} elements differ" if bad.any() else ""


def in_memory(model: onnx.ModelProto) -> Any:
    """A session on code that was compiled in this process, without a linker."""
    import tvm
    from tvm import relax

    from abc_tvm.compilation import Compilation
    from abc_tvm.runtime.session import Session

    whole = Compilation(model, _device())
    machine = relax.VirtualMachine(whole.executable(), tvm.cpu())
    return Session(whole.info(), machine, 1, tvm.cpu())


def _through_file(model: onnx.ModelProto) -> Any:
    import abc_tvm

    artifact = abc_tvm.compile(model)
    with tempfile.TemporaryDirectory(prefix="abc-tvm-operators-") as folder:
        path = Path(folder, "case.so")
        artifact.save(path)
        return abc_tvm.load(path, threads=1)


_known: list[Any] = []


def _device() -> Any:
    from abc_tvm.compilation import device_of

    if not _known:
        _known.append(device_of("native"))
    return _known[0]
