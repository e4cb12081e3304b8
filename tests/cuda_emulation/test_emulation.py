"""The emulation itself: what must be seen there is seen."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.cuda_emulation import emulation

HEAD = "#include <cuda.h>\n"
COPY = """
template <int BYTES> void copy(void* to, const void* from) {
  abc_copy_async<BYTES>(to, from, true);
}
"""


def launch(
    body: str, arrays: list[np.ndarray], threads: int = 64, blocks: int = 2, stream: int = 0
) -> int:
    """Runs ``kernel(unsigned* a, unsigned* b)``; the driver's status."""
    emulation.load()
    signature = 'extern "C" __global__ void kernel(uint* a, uint* b)'
    code = f"{HEAD}typedef unsigned uint;\n{COPY}{signature};\n{signature} {{ {body} }}\n"
    image = emulation.compile_source(code, "sm_80")
    driver: Any = ctypes.CDLL("libcuda.so.1")
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    assert driver.cuModuleLoadData(ctypes.byref(module), image) == 0
    assert driver.cuModuleGetFunction(ctypes.byref(function), module, b"kernel") == 0
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
    parameters = (ctypes.c_void_p * 2)(*(ctypes.addressof(p) for p in pointers))
    words = stream & 0xFFFFFFFF, stream >> 32
    config = (ctypes.c_uint * 16)(blocks, 1, 1, threads, 1, 1, 0, 0, *words)
    return int(driver.cuLaunchKernelEx(config, function, parameters, None))


@pytest.fixture
def arrays() -> list[np.ndarray]:
    return [np.arange(128, dtype=np.uint32), np.zeros(128, np.uint32)]


WHERE = "int t = threadIdx.x, i = blockIdx.x * 64 + t; "
TURNED = "__shared__ uint s[64]; s[t] = a[i]; {barrier} b[i] = s[63 - t];"


def test_threads_meet_at_a_barrier(arrays: list[np.ndarray]) -> None:
    assert launch(WHERE + TURNED.format(barrier="__syncthreads();"), arrays) == 0
    np.testing.assert_array_equal(arrays[1].reshape(2, 64), arrays[0].reshape(2, 64)[:, ::-1])


def test_a_missing_barrier_gives_wrong_results(arrays: list[np.ndarray]) -> None:
    assert launch(WHERE + TURNED.format(barrier=""), arrays) == 0
    assert (arrays[1].reshape(2, 64) != arrays[0].reshape(2, 64)[:, ::-1]).any()


def test_a_barrier_that_some_threads_miss(arrays: list[np.ndarray]) -> None:
    assert launch(WHERE + "if (t < 40) __syncthreads(); b[i] = 1;", arrays) == 719


def test_a_shuffle_that_a_lane_misses(arrays: list[np.ndarray]) -> None:
    body = WHERE + "if (t != 7) b[i] = __shfl_xor_sync(0xffffffffu, a[i], 1);"
    assert launch(body, arrays) == 719


def test_shuffles_and_ballots(arrays: list[np.ndarray]) -> None:
    body = "b[i] = __shfl_xor_sync(0xffffffffu, a[i], 2) + (__ballot_sync(~0u, t % 32 < 3) << 8);"
    assert launch(WHERE + body, arrays) == 0
    np.testing.assert_array_equal(arrays[1], (arrays[0] ^ 2) + (7 << 8))


def test_a_copy_arrives_when_it_is_waited_for(arrays: list[np.ndarray]) -> None:
    body = "__shared__ __align__(16) uint s[64]; s[t] = 99; copy<4>(s + t, a + i);"
    body += "abc_copy_commit(); b[i] = s[t]; abc_copy_wait<0>(); b[i] += 1000 * s[t];"
    assert launch(WHERE + body, arrays) == 0
    np.testing.assert_array_equal(arrays[1], 99 + 1000 * arrays[0])


def test_the_latest_group_may_be_under_way(arrays: list[np.ndarray]) -> None:
    body = "__shared__ __align__(16) uint s[64]; s[t] = 99; copy<4>(s + t, a + i);"
    body += "abc_copy_commit(); abc_copy_wait<1>(); b[i] = s[t];"
    assert launch(WHERE + body, arrays) == 0
    np.testing.assert_array_equal(arrays[1], np.full(128, 99))


@pytest.mark.parametrize(
    "body",
    ["copy<16>(b + 1, a); abc_copy_commit(); abc_copy_wait<0>();", "*(uint*)8 = 1;"],
    ids=["misaligned copy", "address of nothing"],
)
def test_an_illegal_access_fails_the_launch(body: str, arrays: list[np.ndarray]) -> None:
    assert launch(body, arrays) == 700


@pytest.mark.parametrize("element", [0, 3])
def test_an_allocation_ends_where_it_ends(element: int, cuda_emulation: None) -> None:
    runtime: Any = ctypes.CDLL("libcudart.so.13")
    pointer = ctypes.c_void_p()
    assert runtime.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(512)) == 0
    assert pointer.value is not None
    one = np.zeros(2, np.uint32)
    beyond = f"((uint*){pointer.value}ull)[128 + {element}] = a[0];"
    assert launch(beyond, [one, one], 1, 1) == 700
    inside = f"((uint*){pointer.value}ull)[127] = a[0];"
    assert launch(inside, [one, one], 1, 1) == 0
    assert runtime.cudaFree(pointer) == 0


@pytest.mark.parametrize(("name", "rows", "bits"), [("and", 16, 256), ("xor", 8, 128)])
def test_fragments_of_a_product_are_as_the_manual_says(
    name: str, rows: int, bits: int, rng: np.random.Generator
) -> None:
    """Lane 4 * g + t: rows g (and g + 8), column g, words t (and t + 4) of the bits."""
    a = rng.integers(0, 2, (rows, bits), np.uint8)
    b = rng.integers(0, 2, (bits, 8), np.uint8)

    def words(matrix: np.ndarray) -> np.ndarray:
        return np.packbits(matrix, axis=-1, bitorder="little").view("<u4")

    wa, wb = words(a), words(np.ascontiguousarray(b.T))
    lanes = np.zeros((32, 6), np.uint32)
    for lane in range(32):
        g, t = divmod(lane, 4)
        for part in range(bits // 128):
            lanes[lane, 4 + part] = wb[g, t + 4 * part]
            for half in range(rows // 8):
                lanes[lane, part * (rows // 8) + half] = wa[g + 8 * half, t + 4 * part]
    result = np.zeros((32, 4), np.uint32)
    body = "int c[4] = {}; const uint* r = a + threadIdx.x * 6;"
    if name == "and":
        body += "abc_mma_m16n8k256_and(c, r, r + 4);"
    else:
        body += "abc_mma_m8n8k128_xor(c, r[0], r[4]);"
    body += "for (int i = 0; i < 4; ++i) b[threadIdx.x * 4 + i] = c[i];"
    assert launch(body, [lanes, result], 32, 1) == 0
    wide_a, wide_b = a[:, :, None].astype(np.int64), b[None].astype(np.int64)
    wanted = ((wide_a & wide_b) if name == "and" else (wide_a ^ wide_b)).sum(1)
    for lane in range(32):
        g, t = divmod(lane, 4)
        for i in range(rows // 4):
            assert result[lane, i] == wanted[g + 8 * (i // 2), 2 * t + i % 2]


def test_a_process_without_a_gpu_is_told_so() -> None:
    """The stand-ins of the compiler, which must not be in the emulation's process."""
    script = (
        "from abc_tvm.deploy.cuda import runtime_library\n"
        "from abc_tvm.runtime import cuda_device\n"
        "import tvm\n"
        "print(cuda_device.is_loaded())\n"
        "runtime_library.load()\n"
        "print(cuda_device.is_loaded(), tvm.cuda().exist)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    if first == "True":
        pytest.skip("this machine has NVIDIA's driver and runtime")
    assert second == "True False"
