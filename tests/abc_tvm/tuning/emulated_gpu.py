"""The tuner's child process on a machine whose GPU is emulated."""

from __future__ import annotations

from abc_tvm.deploy.cuda import device_code
from abc_tvm.tuning.workers import worker
from tests.cuda_emulation import emulation

if __name__ == "__main__":
    emulation.load()
    device_code.compile_source = emulation.compile_source
    worker.main()
