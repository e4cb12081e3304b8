"""TVM's two runtime libraries for a machine, out of the wheels for it.

The wheels are the ones that pip would install there. They come from a folder of the user's, from
the package index when the user asks for that, or, for this machine, from what is installed.
"""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from abc_tvm.errors import ArtifactError, MissingDependencyError
from abc_tvm.scratch import scratch

PLATFORMS = {"aarch64": "manylinux_2_28_aarch64", "x86_64": "manylinux_2_28_x86_64"}
"""Tags of TVM's wheels, by architecture."""

_LIBRARIES = {
    "apache_tvm_ffi": ("tvm_ffi", "libtvm_ffi.so"),
    "apache_tvm": ("tvm", "libtvm_runtime.so"),
}


def download_command(architecture: str, tvm: str) -> list[str]:
    """pip's arguments that fetch the wheels; the folder comes last.

    Raises:
        MissingDependencyError: There are no wheels for the architecture.
    """
    if architecture not in PLATFORMS:
        raise MissingDependencyError(
            f"TVM has no runtime for {architecture}; use the C form (compile --format c)"
        )
    return [
        "download",
        "--no-deps",
        "--only-binary=:all:",
        f"--platform={PLATFORMS[architecture]}",
        "--python-version=3.11",
        f"apache-tvm=={tvm}",
        f"apache-tvm-ffi=={metadata.version('apache-tvm-ffi')}",
        "-d",
    ]


def collect(
    architecture: str, tvm: str, wheels: Path | None = None, download: bool = False
) -> dict[str, bytes]:
    """File name to content of both libraries; empty where nothing says where to take them.

    Args:
        architecture: ``aarch64`` or ``x86_64``.
        tvm: Version of apache-tvm.
        wheels: Folder with the wheels.
        download: Fetch the wheels with pip.

    Raises:
        ArtifactError: A wheel is missing in the folder, or is not one.
        MissingDependencyError: pip could not fetch them, or there are none.
    """
    if wheels is not None:
        return _from_wheels(wheels, architecture, tvm)
    if download:
        with scratch() as folder:
            _fetch([*download_command(architecture, tvm), str(folder)])
            return _from_wheels(folder, architecture, tvm)
    if architecture == platform.machine():
        return _installed()
    return {}


def _from_wheels(folder: Path, architecture: str, tvm: str) -> dict[str, bytes]:
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: there is no such folder of wheels")
    versions = {"apache_tvm": tvm, "apache_tvm_ffi": metadata.version("apache-tvm-ffi")}
    libraries = {}
    for distribution, (package, library) in _LIBRARIES.items():
        pattern = f"{distribution}-{versions[distribution]}-*{architecture}.whl"
        wheel = next(iter(sorted(folder.glob(pattern))), None)
        if wheel is None:
            command = " ".join(download_command(architecture, tvm))
            raise ArtifactError(f"{folder}: no {pattern}; fetch it: pip {command} {folder}")
        try:
            with zipfile.ZipFile(wheel) as archive:
                libraries[library] = archive.read(f"{package}/lib/{library}")
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise ArtifactError(f"{wheel}: no wheel with {library}; fetch it again") from error
    return libraries


def _fetch(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        detail = " ".join(done.stdout.decode(errors="replace").split())[-300:]
        raise MissingDependencyError(
            f"pip could not fetch TVM's wheels: {detail}: fetch them yourself and give --wheels DIR"
        )


def _installed() -> dict[str, bytes]:
    libraries = {}
    for package, library in _LIBRARIES.values():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingDependencyError(f"{package}: the package is not installed")
        libraries[library] = Path(spec.origin).with_name("lib").joinpath(library).read_bytes()
    return libraries
