"""Imports point downwards, the formula side of the house knows no torch, and the front door opens quickly."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("bounds", "verification", "figures")  # from the ground floor up
TORCH_FREE = (
    "bounds.catalogue",
    "bounds.calculus",
    "bounds.symbols",
    "bounds.architecture",
    "bounds.sides",
    "bounds.records",
    "bounds.errors",
    "figures.commands",
    "figures.falsify_command",
    "figures.figures_command",
    "figures.chart_figure",
    "figures.inequality_tables",
    "figures.loading",
    "figures.plain_math",
    "figures.report",
    "figures.reproduction_pdf",
    "figures.reproduction_report",
    "figures.reproduction_tables",
    "figures.tables",
    "figures.verification_tables",
    "figures.verifications",
    "figures.verify_command",
    "figures.write",
)
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imports(path: Path, *, at_module_level: bool) -> set[str]:
    """Dotted names that a file imports; `from a import b` counts as both a and a.b (b may be a module)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    found: set[str] = set()
    for node in _run_on_import(tree) if at_module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [package.rsplit(".", node.level - 1)[0], base]))
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: not function bodies, not `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _run_on_import(child)


def loaded_by(module: str) -> dict[str, list[str]]:
    """Every foreign top-level name that importing `module` loads, with the chain of imports leading to it."""
    chains: dict[str, list[str]] = {}
    waiting = [[module]]
    seen: set[str] = set()
    while waiting:
        chain = waiting.pop()
        name = chain[-1]
        if name in seen:
            continue
        seen.add(name)
        parts = name.split(".")
        if name not in MODULES:
            chains.setdefault(parts[0], chain)
            continue
        parents = {".".join(parts[:k]) for k in range(1, len(parts))}
        for imported in parents | imports(MODULES[name], at_module_level=True):
            ours = imported.split(".")[0] in ROOMS
            if not ours or imported in MODULES:
                waiting.append([*chain, imported])
    return chains


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    floor = ROOMS.index(module_name(path).split(".")[0])
    above = {*ROOMS[floor + 1 :], "jacobound", "tests"}
    upward = sorted(name for name in imports(path, at_module_level=False) if name.split(".")[0] in above)
    assert not upward, f"{module_name(path)} imports upward: {upward}"


@pytest.mark.parametrize(
    "module", [name for name in MODULES if any((name + ".").startswith(free + ".") for free in TORCH_FREE)]
)
def test_the_formula_side_knows_no_torch(module: str) -> None:
    chain = loaded_by(module).get("torch")
    assert chain is None, "torch is loaded by " + " → ".join(chain or ())


def test_no_torchvision_or_timm() -> None:
    files = [*FILES, ROOT / "jacobound.py", *(ROOT / "tests").rglob("*.py")]
    found = [
        (path.name, name)
        for path in files
        if path.exists()
        for name in imports(path, at_module_level=False)
        if name.split(".")[0] in {"torchvision", "timm"}
    ]
    assert not found


def test_every_module_lies_in_a_package_the_wheel_contains() -> None:
    missing = {path.parent for path in FILES if not (path.parent / "__init__.py").exists()}
    assert not missing, f"folders without __init__.py are left out of the wheel: {sorted(map(str, missing))}"


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, jacobound\n"
        "sys.argv = ['jacobound', '--help']\n"
        "try:\n    jacobound.main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'sympy', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_walk_sees_relative_and_nested_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from . import sibling\nfrom ..b import c\nif True:\n    import numpy.linalg\n"
    source += "def f():\n    import torch\n"
    path = tmp_path / "room" / "a" / "m.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    now = imports(path, at_module_level=True)
    assert now == {"room.a", "room.a.sibling", "room.b", "room.b.c", "numpy.linalg"}
    assert imports(path, at_module_level=False) == now | {"torch"}
