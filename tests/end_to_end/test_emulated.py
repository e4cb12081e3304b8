"""Networks on emulated Raspberry Pis give the outputs that they give on this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm.deploy import runner_program
from abc_tvm.deploy.bundle import PROGRAM, bundle
from tests import qemu
from tests.end_to_end.deployed import NAMES, SHARED, Case, case

WARNINGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror")


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = request.getfixturevalue("shared_dir") if request.param in SHARED else None
    return case(request.param, folder, tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cross-compiled C++ program."""
    file = tmp_path_factory.mktemp("runner") / PROGRAM
    file.write_bytes(runner_program.program("aarch64-linux-gnu", "aarch64"))
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("target", ["rpi3", "rpi4", "rpi5"])
def test_through_the_runner(
    network: Case, target: str, runner: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    qemu_command = qemu.emulator("aarch64")
    wheels = qemu.wheels(request.config.cache)
    artifact = tmp_path / "m.so"
    abc_tvm.compile(network.model, target=target).save(artifact)
    bundle(artifact, tmp_path / "b", wheels=wheels, program=False)
    shutil.copy(runner, tmp_path / "b" / PROGRAM)
    np.savez(tmp_path / "in.npz", **network.inputs)
    options = ["-i", "../in.npz", "-o", "../out.npz", "--repeat", "1", "--threads", "2"]
    said = qemu.run([*qemu_command, f"./{PROGRAM}", "m.so", *options], tmp_path / "b")
    assert "1 x 1 runs, 2 threads" in said
    with np.load(tmp_path / "out.npz") as found:
        network.check(dict(found))


@pytest.mark.parametrize("target", ["rpi4", "rpi-armv7", "native"])
def test_in_c(network: Case, target: str, tmp_path: Path) -> None:
    architecture = {"rpi4": "aarch64", "rpi-armv7": "arm"}.get(target)
    compiler = "gcc" if architecture is None else qemu.cross_compiler(architecture)
    emulator = [] if architecture is None else qemu.emulator(architecture)
    abc_tvm.compile_c(network.model, target, name="net").save(tmp_path)
    sources = ["net_example.c", "net.c", "libnet.a", "-lm", "-o", "example"]
    qemu.run([compiler, *WARNINGS, *sources], tmp_path)
    (image,) = network.inputs.values()
    image.tofile(tmp_path / "in.bin")
    qemu.run([*emulator, "./example", "in.bin", "out.bin"], tmp_path)
    ((name, want),) = network.outputs.items()
    found = np.fromfile(tmp_path / "out.bin", want.dtype).reshape(want.shape)
    network.check({name: found}, fused=architecture != "arm")


def test_lenet_through_python(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    system = qemu.arm64_system(request.config.cache)
    command = qemu.emulator("aarch64", system)
    lenet = case("lenet", None, tmp_path)
    abc_tvm.compile(lenet.model, target="rpi4").save(tmp_path / "m.so")
    bundle(tmp_path / "m.so", tmp_path / "b", program=False)
    np.savez(tmp_path / "in.npz", **lenet.inputs)
    python = ["env", f"PYTHONHOME={system}/usr", f"PYTHONPATH={system}/site", *command]
    python += [f"{system}/usr/bin/python3.11", "b/run.py", "b/m.so", "--repeat", "1"]
    qemu.run([*python, "-i", "in.npz", "-o", "out.npz", "--threads", "2"], tmp_path)
    with np.load(tmp_path / "out.npz") as found:
        lenet.check(dict(found))


def test_the_runner_names_what_is_wrong(
    runner: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command = qemu.emulator("aarch64")
    lenet = case("lenet", None, tmp_path)
    abc_tvm.compile(lenet.model, target="rpi4").save(tmp_path / "m.so")
    bundle(tmp_path / "m.so", tmp_path, wheels=qemu.wheels(request.config.cache), program=False)
    shutil.copy(runner, tmp_path / PROGRAM)

    def complaint(*options: str) -> str:
        done = subprocess.run(
            [*command, f"./{PROGRAM}", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2 and done.stdout == ""
        return done.stderr

    ((name, image),) = lenet.inputs.items()
    np.savez(tmp_path / "name.npz", other=image)
    assert f"input '{name}' is missing" in complaint("m.so", "-i", "name.npz")
    np.savez(tmp_path / "type.npz", **{name: image.astype(np.float64)})
    assert "float64 was given and float32 is needed" in complaint("m.so", "-i", "type.npz")
    np.savez(tmp_path / "shape.npz", **{name: image[..., :5]})
    assert "[1, 1, 28, 5] was given and [N, 1, 28, 28]" in complaint("m.so", "-i", "shape.npz")
    np.savez(tmp_path / "nan.npz", **{name: image * np.float32("nan")})
    assert "NaN or infinity" in complaint("m.so", "-i", "nan.npz")
    np.savez_compressed(tmp_path / "small.npz", **{name: image})
    assert "compressed; write it with numpy.savez" in complaint("m.so", "-i", "small.npz")
    (tmp_path / "short.npz").write_bytes((tmp_path / "nan.npz").read_bytes()[:100])
    assert "short.npz" in complaint("m.so", "-i", "short.npz")
    assert "absent.so: no such file" in complaint("absent.so", "--random")
    assert "usage: run" in complaint("m.so")
    assert "'x' is no number" in complaint("m.so", "--random", "--repeat", "x")
