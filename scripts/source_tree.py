"""What the checks of the house share: the modules of a source tree and what each of them imports.

Everything is read with ``ast``; no module of the tree is ever imported. Imports made by name at run time
(``importlib``) are not seen.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "tidings"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule, printed the way editors and CI make a link of."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Import:
    """``target`` is the dotted name of the module that is meant, as far down as it is one of ours."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """What a relative import of one dot is relative to."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def python_files(folder: Path) -> list[Path]:
    """Every Python file below the folder that is ours, in order; none if there is no such folder."""
    return sorted(path for path in folder.rglob("*.py") if "node_modules" not in path.parts)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules(source: Path) -> dict[str, Module]:
    """The modules below a source folder by dotted name."""
    found = (Module(_dotted(path.relative_to(source)), path, parse(path)) for path in python_files(source))
    return {module.name: module for module in found}


def imports(module: Module, known: Iterable[str]) -> list[Import]:
    """What a module imports, anywhere in it, each target once a line.

    ``from a.b import c`` means ``a.b.c`` where that is one of the ``known`` modules, and ``a.b`` otherwise.
    """
    names = frozenset(known)
    return list(dict.fromkeys(found for node in ast.walk(module.tree) for found in _of(node, module, names)))


def _of(node: ast.AST, module: Module, known: frozenset[str]) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno)
    elif isinstance(node, ast.ImportFrom):
        origin = _origin(node, module)
        for alias in node.names:
            inner = f"{origin}.{alias.name}"
            yield Import(inner if inner in known else origin, node.lineno)


def _origin(node: ast.ImportFrom, module: Module) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
