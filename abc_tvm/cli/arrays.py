"""Read and write the ``.npz`` files of ``run`` and ``verify``."""

from __future__ import annotations

import io
import os
import zipfile
import zlib

import numpy as np

from abc_tvm.errors import InputError
from abc_tvm.file_kinds import ARRAYS
from abc_tvm.files import open_regular, write_atomically

MOST_ARRAYS = 1 << 30
"""Bytes that arrays may have whatever the file's size; more, and they must be a hundredth there."""


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array of an ``.npz`` file, by name.

    Raises:
        InputError: The file is missing or damaged, no ``.npz``, holds Python objects, or claims to
            hold far more than it does.
    """
    name = os.fspath(path)
    with open_regular(path, InputError) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            if stream.read(6) == b"\x93NUMPY":
                raise InputError(
                    f"{name}: holds one array without a name; write it with "
                    "numpy.savez(file, name=array)"
                )
            with zipfile.ZipFile(stream) as archive:
                members = archive.infolist()
                total = sum(member.file_size for member in members)
                if total > max(MOST_ARRAYS, 100 * size):
                    raise InputError(
                        f"{name}: {size:,} bytes claim to hold arrays of {total:,}; write the file "
                        "with numpy.savez"
                    )
                return {m.filename.removesuffix(".npy"): _array(archive, m) for m in members}
        except MemoryError as error:
            raise InputError(f"{name}: its arrays do not fit in this machine's memory") from error
        except (
            OSError,
            ValueError,
            EOFError,
            KeyError,
            NotImplementedError,
            RuntimeError,  # an encrypted member
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            detail = " ".join(str(error).split())[:200]
            raise InputError(
                f"{name}: cannot be read as .npz ({detail}); write it with numpy.savez"
            ) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array, which must be as large as its member says. Raises ``ValueError``."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"{member.filename} has the unknown format {version}")
        shape, fortran, dtype = read(stream)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects")
        data = stream.read()
    wanted = dtype.itemsize
    for extent in shape:
        wanted *= extent
    if len(data) != wanted or any(extent < 0 for extent in shape):
        raise ValueError(f"{member.filename} has {len(data)} bytes for shape {list(shape)}")
    flat = np.frombuffer(bytearray(data), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    """Write an ``.npz`` file, whole or not at all.

    Raises:
        InputError: The folder is missing, or the file cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue(), InputError, ARRAYS)
