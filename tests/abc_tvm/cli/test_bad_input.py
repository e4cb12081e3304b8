"""Bad input: one line on stderr that names the culprit, exit code 2, no file left behind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from abc_tvm.cli import run_command
from abc_tvm.runtime import container
from tests.abc_tvm.cli.commands import Capture, refused
from tests.abc_tvm.small_networks import network, write


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled network."""
    folder = tmp_path_factory.mktemp("good")
    model = write(folder / "m.onnx", network())
    out = folder / "m.so"
    assert run_command(["compile", str(model), "-t", "native", "-o", str(out)]) == 0
    return out


def test_what_a_gpu_does_not_do(
    good: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = write(tmp_path / "m.onnx", network()), tmp_path / "m.so"
    compile_: list[str | Path] = ["compile", model, "-o", out, "-t"]
    refused(capfd, [*compile_, "cuda-sm90", "--format", "c"], "cuda-sm90", "leave --format c out")
    data = good.read_bytes()
    info = container.read_info(good)
    gpu = dataclasses.replace(info, target={**info.target, "name": "x", "gpu": {"arch": "sm_90"}})
    other = tmp_path / "gpu.so"
    other.write_bytes(container.pack(data, gpu))
    refused(capfd, ["bundle", other, "-o", tmp_path / "b"], "gpu.so", "for a GPU", "bundle")

    def missing(_: str) -> None:
        raise OSError

    monkeypatch.setattr("ctypes.CDLL", missing)
    refused(capfd, [*compile_, "cuda"], "target cuda: there is no NVIDIA driver")
    refused(capfd, ["run", other, "--random"], "gpu.so", "there is no NVIDIA driver")
    assert not out.exists()


def test_device_code_needs_a_compiler(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never CUDA source in the place of device code."""
    from abc_tvm.deploy.cuda import device_code
    from tests.cuda_emulation import emulation

    emulation.load()
    model, out = write(tmp_path / "m.onnx", network()), tmp_path / "m.so"
    monkeypatch.setattr(device_code, "nvrtc", lambda: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    wanted = ("no compiler for device code", "pip install nvidia-cuda-nvrtc")
    refused(capfd, ["compile", model, "-t", "cuda-sm80", "-o", out], *wanted)
    assert not out.exists()


def bad_models(folder: Path) -> dict[str, tuple[Path, str]]:
    """Case to file and a word of the message."""
    data = network().SerializeToString()
    flipped = bytearray(data)
    flipped[: len(flipped) // 2 : 7] = bytes(b ^ 0xFF for b in flipped[: len(flipped) // 2 : 7])
    foreign = network()
    foreign.graph.node[-1].op_type = "Sparkle"
    files = {
        "truncated": (data[: len(data) // 2], "truncated"),
        "flipped": (bytes(flipped), "flipped"),
        "old opset": (network(opset=7).SerializeToString(), "opset 7"),
        "unknown operator": (foreign.SerializeToString(), "Sparkle"),
        "dynamic size": (network(dims=("N", 8, "h", "w")).SerializeToString(), "symbolic"),
        "empty": (b"", "empty"),
    }
    made = {}
    for name, (content, word) in files.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(content)
        made[name] = (path, word)
    made["missing"] = (folder / "none.onnx", "no such file")
    made["directory"] = (folder, "directory")
    return made


@pytest.mark.parametrize(
    "case",
    ["truncated", "flipped", "old opset", "unknown operator", "dynamic size", "empty", "missing",
     "directory"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["compile", "inspect", "verify", "bench", "profile"])
def test_models(case: str, command: str, tmp_path: Path, capfd: Capture) -> None:
    models = tmp_path / "models"
    models.mkdir()
    path, word = bad_models(models)[case]
    before = set(tmp_path.rglob("*"))
    output = ["-t", "native", "-o", tmp_path / "o.so"] if command == "compile" else []
    refused(capfd, [command, path, *output], word)
    assert set(tmp_path.rglob("*")) == before


def test_inputs(good: Path, tmp_path: Path, capfd: Capture) -> None:
    x = np.zeros((1, 8, 6, 6), np.float32)
    cases: dict[str, tuple[dict[str, np.ndarray], tuple[str, ...]]] = {
        "name": ({"image": x}, ("'input'", "'image'")),
        "shape": ({"input": x[:, :3]}, ("[1, 3, 6, 6]", "[N, 8, 6, 6]")),
        "dtype": ({"input": x.astype(np.float64)}, ("float64", "float32")),
        "extra": ({"input": x, "more": x}, ("'more'",)),
    }
    for name, (arrays, words) in cases.items():
        path = tmp_path / f"{name}.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]
        refused(capfd, ["run", good, "-i", path, "-o", tmp_path / "o.npz"], path.name, *words)
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "one.npy", x)
    np.savez(tmp_path / "objects.npz", input=np.array([{}], object))
    for name in ("none.npz", "text.npz", "one.npy", "objects.npz"):
        refused(capfd, ["run", good, "-i", tmp_path / name], name)
    refused(capfd, ["run", good, "-i", tmp_path], "directory")
    assert not (tmp_path / "o.npz").exists()


def rewritten(good: Path, path: Path, **changes: object) -> Path:
    """The artifact with another description, its checksum in order."""
    data = good.read_bytes()
    info = container.read_info(good)
    length = int.from_bytes(data[-40:-32], "little")
    library = data[: len(data) - 48 - length]
    path.write_bytes(container.pack(library, dataclasses.replace(info, **changes)))  # type: ignore[arg-type]
    return path


def test_artifacts(good: Path, tmp_path: Path, capfd: Capture) -> None:
    data = good.read_bytes()
    info = container.read_info(good)

    def file(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    middle = len(data) // 2
    damaged = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    arm = {**info.target, "name": "rpi4"}
    library = data[: len(data) - 48 - int.from_bytes(data[-40:-32], "little")]
    foreign = library[:18] + (183).to_bytes(2, "little") + library[20:]
    elsewhere = container.pack(foreign, dataclasses.replace(info, target=arm))
    needs = {**info.target, "requires": ["avx2", "avx1024"]}
    cases: list[tuple[Path, str]] = [
        (tmp_path / "none.so", "no such file"),
        (tmp_path, "directory"),
        (file("empty.so", b""), "not a shared library"),
        (file("text.so", b"hello"), "not a shared library"),
        (file("short.so", data[:-1]), "cut short"),
        (file("half.so", data[: len(data) // 2]), "cut short"),
        (file("damaged.so", damaged), "damaged"),
        (file("arm.so", elsewhere), "aarch64"),
        (rewritten(good, tmp_path / "isa.so", target=needs), "avx1024"),
        (rewritten(good, tmp_path / "tvm.so", tvm="0.1.0"), "TVM 0.1.0"),
        (rewritten(good, tmp_path / "format.so", format=99), "format 99"),
    ]
    for path, word in cases:
        refused(capfd, ["run", path, "--random"], path.name, word)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["compile", "m.onnx", "-t", "pdp11", "-o", "o.so"], "pdp11"),
        (["compile", "m.onnx", "-t", "native", "-o", "no/such/o.so"], "no/such"),
        (["compile", "m.onnx", "-t", "native", "-o", "."], "directory"),
        (["compile", "m.onnx", "-t", "native", "-o", "o.so", "--records", "none"], "none"),
        (["compile", "m.onnx", "-t", "native", "-o", "o.so", "--debug-dump", "m.onnx"], "dump"),
        (["compile", "m.onnx", "-t", "native"], "--output"),
        (["bench", "m.onnx", "--against", "abacus"], "abacus"),
        (["bench", "m.onnx", "--threads", "100000"], "threads"),
        (["bench", "m.onnx", "--plot", "o.pdf"], "o.pdf"),
        (["bench", "m.onnx", "--records", "none"], "none"),
        (["profile", "m.onnx", "--threads", "100000"], "threads"),
        (["profile", "m.onnx", "--plot", "no/such/o.png"], "no/such"),
        (["zoo", "alexnet", "-o", "o.onnx"], "alexnet"),
        (["zoo", "lenet", "-M", "99", "-o", "o.onnx"], "M must be"),
        (["run", "m.onnx"], "--random"),
        (["knit"], "knit"),
    ],
)
def test_usage(
    arguments: list[str],
    word: str,
    tmp_path: Path,
    capfd: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "m.onnx", network())
    refused(capfd, list(arguments), word)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile", "m.onnx", "-o", "m.so"],
        ["compile", "m.onnx", "-t", "native"],
        ["tune", "m.onnx", "--records", "r"],
        ["tune", "m.onnx", "-t", "native"],
    ],
    ids=lambda words: " ".join(words),
)
def test_what_must_be_given_is_named(arguments: list[str | Path], capfd: Capture) -> None:
    given = {"-t": "--target", "-o": "--output", "--records": "--records"}
    needed = ("-t", "--records") if arguments[0] == "tune" else ("-t", "-o")
    (missing,) = (option for option in needed if option not in arguments)
    refused(capfd, arguments, "Missing option", given[missing], f"abc-tvm {arguments[0]} --help")
