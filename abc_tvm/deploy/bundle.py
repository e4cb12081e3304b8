"""A folder that holds all that another machine needs to run a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from abc_tvm.deploy import libraries, runner_program
from abc_tvm.errors import ArtifactError, MissingDependencyError
from abc_tvm.file_kinds import like
from abc_tvm.files import check_output, make_folder, read_regular, write_atomically
from abc_tvm.runtime.container import Info, Port, read_info

PROGRAM = "run"
"""The compiled runner's name in a bundle."""


def bundle(
    artifact: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    wheels: str | os.PathLike[str] | None = None,
    download: bool = False,
    program: bool = True,
    progress: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Write a bundle; returns its files and their sizes in bytes.

    Args:
        artifact: What ``abc-tvm compile`` wrote.
        folder: Created if need be; files of the same names are replaced.
        wheels: Folder with TVM's wheels for the machine: their libraries go into ``lib``.
        download: Fetch those wheels with pip.
        program: Whether to compile the C++ runner as well; its sources are always there.
        progress: Called with the name of each step as it begins.

    Raises:
        ArtifactError: The artifact, a wheel or the folder cannot be used.
        TargetError: The artifact is for a GPU.
        MissingDependencyError: There is no compiler for the machine, or pip failed.
    """
    tell = progress or (lambda _: None)
    path = Path(artifact)
    info = read_info(path)
    info.refuse_gpu(path, "bundle")
    triple, name = info.target["triple"], info.target["name"]
    architecture = triple.partition("-")[0]
    tell("libraries")
    libs = libraries.collect(
        architecture, info.tvm, None if wheels is None else Path(wheels), download
    )
    files = {
        path.name: read_regular(path, ArtifactError),
        f"{path.stem}.ports": _ports(info).encode(),
    }
    files["run.py"] = runner_program.script()
    files |= {f"runner/{file}": data for file, data in runner_program.sources().items()}
    files |= {f"lib/{file}": data for file, data in libs.items()}
    files["README.txt"] = _readme(path, info, architecture, bool(libs)).encode()
    if program:
        files[PROGRAM] = b"\x7fELF"  # until it is known that it may be written
    places = {file: Path(folder, file) for file in files}
    for file, place in places.items():
        make_folder(place.parent, ArtifactError)
        check_output(place, ArtifactError, like(place.name, files[file]))
    if program:
        tell("runner")
        files[PROGRAM] = runner_program.program(triple, name)
    for file, place in places.items():
        if not _is_there(place, path):
            write_atomically(place, files[file], ArtifactError)
    for file in (PROGRAM, "run.py"):
        if file in files:
            Path(folder, file).chmod(0o755)
    return {file: len(data) for file, data in sorted(files.items())}


def _is_there(place: Path, artifact: Path) -> bool:
    """Whether a bundle is made in the artifact's own folder."""
    return place.exists() and place.samefile(artifact)


def _ports(info: Info) -> str:
    """One line per input and output: side, dtype, rank, extents (-1: the open batch), name."""
    lines = [_line("input", port) for port in info.inputs]
    lines += [_line("output", port) for port in info.outputs]
    if any(layer["lowering"] != "float" for layer in info.layers):
        lines.append("binarized")
    return "\n".join(lines) + "\n"


def _line(side: str, port: Port) -> str:
    extents = [str(d) if isinstance(d, int) else "-1" for d in port.shape]
    return " ".join([side, port.dtype, str(len(extents)), *extents, port.name])


def _readme(path: Path, info: Info, architecture: str, complete: bool) -> str:
    ffi = metadata.version("apache-tvm-ffi")
    try:
        command = "pip " + " ".join(libraries.download_command(architecture, info.tvm)) + " wheels"
    except MissingDependencyError:
        command = f"(there are no wheels for {architecture})"
    missing = (
        ""
        if complete
        else f"""
The folder lib is still missing. It holds libtvm_ffi.so and libtvm_runtime.so, which lie in TVM's
wheels for the machine. On the machine where abc-tvm is installed:

    {command}
    abc-tvm bundle {path.name} -o THIS_FOLDER --wheels wheels
"""
    )
    return f"""\
{path.name}: compiled for {info.target["name"]} ({info.target["triple"]}) by abc-tvm {info.abc_tvm}

Copy this folder to the machine. Then either, without Python:

    ./{PROGRAM} {path.name} --random
    ./{PROGRAM} {path.name} -i in.npz -o out.npz --threads 4
{missing}
or with Python:

    pip install apache-tvm=={info.tvm} apache-tvm-ffi=={ffi} numpy
    python3 run.py {path.name} -i in.npz -o out.npz --threads 4

in.npz has the inputs by name (numpy.savez); {path.stem}.ports lists names, dtypes and shapes.
To build {PROGRAM} yourself: cmake -S runner -B build && cmake --build build
"""
