"""What a compilation for a GPU leaves behind: nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import tvm_ffi

from abc_tvm.deploy.cuda import device_code
from abc_tvm.deploy.cuda.device_code import CALLBACK, compiled_for
from abc_tvm.errors import UnsupportedError

pytestmark = pytest.mark.usefixtures("cuda_emulation")


@pytest.fixture
def registered() -> Iterator[Callable[[], object]]:
    """What is registered now; whatever a test does, afterwards it is what it was."""
    before = tvm_ffi.get_global_func(CALLBACK, allow_missing=True)
    if before is not None:
        tvm_ffi.remove_global_func(CALLBACK)
    yield lambda: tvm_ffi.get_global_func(CALLBACK, allow_missing=True)
    if tvm_ffi.get_global_func(CALLBACK, allow_missing=True) is not None:
        tvm_ffi.remove_global_func(CALLBACK)
    if before is not None:
        tvm_ffi.register_global_func(CALLBACK, before)


def used() -> None:
    """A compilation of nothing."""
    with pytest.MonkeyPatch.context() as patch, compiled_for("sm_80"):
        patch.setattr(device_code, "compile_source", lambda code, arch: b"cubin")
        assert tvm_ffi.get_global_func(CALLBACK)("") == b"cubin"


def test_our_callback_does_not_stay(registered: Callable[[], object]) -> None:
    used()
    assert registered() is None


def test_nor_after_a_failure(registered: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match="in the middle"), compiled_for("sm_80"):
        raise RuntimeError("in the middle")
    assert registered() is None
    with pytest.raises(UnsupportedError, match="no device code"), compiled_for("sm_80"):
        pass
    assert registered() is None


def test_the_users_callback_is_back(registered: Callable[[], object]) -> None:
    tvm_ffi.register_global_func(CALLBACK, lambda code: f"mine: {code}")
    used()
    back = registered()
    assert callable(back) and back("x") == "mine: x"
