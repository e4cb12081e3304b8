"""The devices that code is compiled for: one TOML file each, and their loader."""

from __future__ import annotations

from abc_tvm.targets.device import Cost, Device, Gpu, load, names

__all__ = ["Cost", "Device", "Gpu", "load", "names"]
