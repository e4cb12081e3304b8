from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm import zoo
from abc_tvm.compilation import Compilation
from abc_tvm.errors import TargetError
from abc_tvm.relay_passes.pipeline import Phase
from abc_tvm.schedules.generic import SCHEDULED
from abc_tvm.targets import cuda, driver, load, names

SHIPPED = [name for name in names() if name.startswith("cuda-")]


def test_every_listed_architecture_is_there() -> None:
    assert [f"cuda-sm{n}" for n in (75, 80, 86, 89, 90)] == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_the_target_names_its_architecture_and_has_a_host(name: str) -> None:
    device = load(name)
    assert device.gpu is not None
    assert device.gpu.arch == f"sm_{name[-2:]}"
    target = device.tvm_target()
    assert (target.kind.name, target.arch) == ("cuda", device.gpu.arch)
    assert target.host.attrs["mtriple"] == device.triple


def test_turing_alone_has_the_xor_instruction() -> None:
    by_name = {name: load(name).gpu for name in SHIPPED}
    assert {n for n, gpu in by_name.items() if gpu is not None and gpu.b1 == "xor"} == {"cuda-sm75"}


@pytest.mark.parametrize(
    ("found", "wanted"),
    [((8, 0), "sm_80"), ((8, 7), "sm_86"), ((8, 9), "sm_89"), ((9, 0), "sm_90")],
)
def test_a_gpu_gets_the_nearest_earlier_architecture_of_its_kind(
    found: tuple[int, int], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "capability", lambda: (*found, 77, "a card"))
    device = load("cuda")
    assert device.gpu is not None
    assert (device.gpu.arch, device.cores) == (wanted, 77)
    assert "a card" in device.description
    assert driver.runs(wanted)
    assert not driver.runs("sm_75")


@pytest.mark.parametrize("found", [(7, 0), (10, 0)])
def test_a_gpu_that_no_target_serves(
    found: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "capability", lambda: (*found, 80, "a card"))
    with pytest.raises(TargetError, match=rf"a card has compute capability {found[0]}\.{found[1]}"):
        load("cuda")


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise OSError

    monkeypatch.setattr("ctypes.CDLL", missing)
    with pytest.raises(TargetError, match="target cuda: there is no NVIDIA driver"):
        load("cuda")
    assert not load("cuda-sm80").runs_here()


def test_an_architecture_of_ones_own_compiles(tmp_path: Path) -> None:
    """What no file here knows, its own file says."""
    text = Path(cuda.__file__).with_name("cuda-sm86.toml").read_text(encoding="utf-8")
    path = tmp_path / "orin.toml"
    path.write_text(text.replace("sm_86", "sm_87").replace("cores = 82", "cores = 16"), "utf-8")
    device = load(str(path))
    assert device.gpu is not None and (device.gpu.arch, device.cores) == ("sm_87", 16)
    model = zoo.build("lenet", 2, 2, grid=True)
    for lowering in ("bitserial", "int8", "float"):
        module = Compilation(model, device, lowering=lowering).until(Phase.LOWERED)
        scheduled = [f for _, f in module.functions_items() if SCHEDULED in (f.attrs or {})]
        assert len(scheduled) > 3
