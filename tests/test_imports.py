"""Imports go one way: no file reads, by whatever detour, a file that reads it.

Imports inside functions count, those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ROOTS = {
    "abc_tvm": "abc_tvm",
    "relay_passes": "abc_tvm.relay_passes",
    "schedules": "abc_tvm.schedules",
    "targets": "abc_tvm.targets",
}


def files() -> dict[str, Path]:
    """Every module of the project by its import name."""
    found = {}
    for folder, package in ROOTS.items():
        for path in (REPOSITORY / folder).rglob("*.py"):
            parts = path.relative_to(REPOSITORY / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


def reads(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the project that one imports."""

    def module(dotted: str) -> str | None:
        while dotted and dotted not in known:
            dotted = dotted.rpartition(".")[0]
        return dotted or None

    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: set[str | None] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {module(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(start if node.level else []), *([node.module or ""])]).strip(".")
            found |= {module(f"{base}.{alias.name}") for alias in node.names}
    return {one for one in found if one is not None and one != name}


def test_there_is_no_circle() -> None:
    known = files()
    assert len(known) > 200
    graph = {name: reads(name, path, known) for name, path in known.items()}
    assert sum(map(len, graph.values())) > 500
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None
    assert len(order) == len(known)


def test_imports_keep_the_contracts(tmp_path: Path) -> None:
    """Those of pyproject.toml, as ``make lint`` asks: on one tree, as the wheel has it."""
    for folder, package in ROOTS.items():
        shutil.copytree(
            REPOSITORY / folder,
            tmp_path / Path(*package.split(".")),
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    linter = Path(sys.executable).with_name("lint-imports")
    command = [str(linter), "--no-cache", str(REPOSITORY / "pyproject.toml")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kept, 0 broken" in done.stdout
    (tmp_path / "abc_tvm/compute/geometry.py").write_text("import abc_tvm.cli\n")
    broken = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert broken.returncode == 1 and "abc_tvm.compute is not allowed to import" in broken.stdout
