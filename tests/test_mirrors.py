"""Every source file of more than `LONG` lines has a test that mirrors its path.

Not the measurements in `benchmarks`, which `tests/benchmarks/test_scripts.py` starts one by one.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("abc_tvm", "relay_passes", "schedules", "targets")
LONG = 60


def mirror(source: Path) -> Path:
    """The test of a source file; both are paths below the root."""
    names = {"__init__.py": source.parent.name, "__main__.py": "main"}
    return Path("tests", source.parent, f"test_{names.get(source.name, source.stem)}.py")


def long_sources() -> list[Path]:
    """All source files of more than `LONG` lines, below the root."""
    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    long = [path for path in files if len(path.read_text(encoding="utf-8").splitlines()) > LONG]
    return sorted(path.relative_to(ROOT) for path in long)


def test_where_a_mirror_is() -> None:
    for source, test in {
        "abc_tvm/frontend/fold.py": "tests/abc_tvm/frontend/test_fold.py",
        "abc_tvm/zoo/__init__.py": "tests/abc_tvm/zoo/test_zoo.py",
        "abc_tvm/__init__.py": "tests/abc_tvm/test_abc_tvm.py",
        "abc_tvm/demo/__main__.py": "tests/abc_tvm/demo/test_main.py",
    }.items():
        assert mirror(Path(source)) == Path(test)


def test_every_long_source_has_its_mirrored_test() -> None:
    assert len(long_sources()) > 200
    without = {str(source) for source in long_sources() if not (ROOT / mirror(source)).exists()}
    assert without == set(), "write the tests of these files"
