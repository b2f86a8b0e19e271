"""What a module is taken to import."""

from pathlib import Path

import pytest

from scripts.source_tree import Import, imports, modules
from tests.support.trees import plant


def targets(root: Path, importer: str, text: str) -> list[str]:
    """What the text imports as the file ``importer`` of a tree with the modules a, a.b and a.b.c."""
    files = {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": "", importer: text}
    source = modules(plant(root, files))
    name = importer.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [found.target for found in imports(source[name], source)]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("import a.b.c", "a.b.c"),
        ("from a.b import c", "a.b.c"),
        ("from a.b.c import Thing", "a.b.c"),
        ("from a.b import Thing", "a.b"),
        ("import redis.asyncio as redis", "redis.asyncio"),
        ("from sqlalchemy import select", "sqlalchemy"),
        ("def f():\n    import a.b\n", "a.b"),
        ("from . import b", "a.b"),
        ("from .b import c", "a.b.c"),
        ("from .b.c import Thing", "a.b.c"),
    ],
)
def test_import_names_the_module_that_is_meant(tmp_path: Path, text: str, target: str) -> None:
    """Each way to write an import ends at one dotted name, as deep as it is a module of the tree."""
    assert targets(tmp_path, "a/user.py", text) == [target]


def test_relative_import_of_a_package_starts_at_itself(tmp_path: Path) -> None:
    """In an ``__init__`` one dot is the package, and two its parent."""
    text = "from .c import x\nfrom .. import b\n"
    assert targets(tmp_path, "a/b/__init__.py", text) == ["a.b.c", "a.b"]


def test_many_names_of_one_module_are_one_import(tmp_path: Path) -> None:
    """A line that takes three names from one module is one import, at its line."""
    source = modules(plant(tmp_path, {"a.py": "\nfrom json import dumps, loads, load\n"}))
    assert imports(source["a"], source) == [Import("json", 2)]


def test_packages_of_npm_are_not_ours(tmp_path: Path) -> None:
    """Python files that npm packages bring along are not part of the tree."""
    assert list(modules(plant(tmp_path, {"a.py": "", "node_modules/gyp/b.py": ""}))) == ["a"]
