"""The devices that code is compiled for: one TOML file each, and their loader."""

from __future__ import annotations

from abc_tvm.targets.device import Cost, Device, Gpu
from abc_tvm.targets.files import names
from abc_tvm.targets.loader import load

__all__ = ["Cost", "Device", "Gpu", "load", "names"]
