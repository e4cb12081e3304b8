"""Which packages there are; everything else stands in pyproject.toml.

``packages.find`` cannot give the packages found below a folder another parent, and three of our
sub-packages live at the top level. So they are listed here, and a new sub-package is found by
itself.
"""

from __future__ import annotations

from setuptools import find_packages, setup

FOLDERS = {
    "abc_tvm": "abc_tvm",
    "abc_tvm.relay_passes": "relay_passes",
    "abc_tvm.schedules": "schedules",
    "abc_tvm.targets": "targets",
}

setup(
    packages=[
        package
        for name, folder in FOLDERS.items()
        for package in (name, *(f"{name}.{below}" for below in find_packages(folder)))
    ]
)
