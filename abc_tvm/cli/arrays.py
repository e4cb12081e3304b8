"""Read and write the ``.npz`` files of ``run`` and ``verify``."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from abc_tvm.errors import InputError
from abc_tvm.files import write_atomically


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array of an ``.npz`` file, by name.

    Raises:
        InputError: The file is missing or damaged, no ``.npz``, or holds Python objects.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise InputError(f"{file}: is a directory; give an .npz file (numpy.savez)")
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise InputError(
                f"{file}: holds one array without a name; write it with "
                "numpy.savez(file, name=array)"
            )
        with archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(
            f"{file}: cannot be read as .npz ({detail}); write it with numpy.savez"
        ) from error


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
    write_atomically(path, buffer.getvalue(), InputError)
