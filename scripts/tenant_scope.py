"""Every query takes a tenant: a lint for what the types cannot see.

A query is a public function or method in ``src/tidings/store/`` that is given a connection. It must be given
a tenant too: a parameter annotated ``TenantId`` or with a record of the domain or the store that carries one
(found by reading them, so a new record counts by itself). What allows ``None`` does not count, parameter or
field: a query that may go without a tenant is one without. What rightly looks across tenants says so itself,
with its reason: ``@crosses_tenants("...")``. Whether the tenant is then used in the SQL is for the tests of
the store.

Usage: ``python -m scripts.tenant_scope``; exits 1 and names each fault if there is one.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.source_tree import ROOT, Violation, parse, python_files

STORE = Path("src/tidings/store")
DOMAIN = Path("src/tidings/domain")

NO_ROWS = frozenset({"database.py", "dialect.py", "migrate.py", "tables.py"})
"""Files of the store that build it and read nobody's rows."""

CONNECTIONS = frozenset({"AsyncConnection", "Database"})
TENANT = "TenantId"
EXEMPTION = "crosses_tenants"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def check(root: Path) -> list[Violation]:
    """Every query of the store that takes no tenant and does not say why."""
    carriers = tenant_carriers(root / DOMAIN, root / STORE)
    return [
        Violation(path, function.lineno, f"{name}: a query without a tenant")
        for path in python_files(root / STORE)
        if path.name not in NO_ROWS
        for name, function in _public(parse(path).body)
        if _takes_connection(function) and not _takes_tenant(function, carriers)
        if not any(_exempts(decorator) for decorator in function.decorator_list)
    ]


def tenant_carriers(*folders: Path) -> frozenset[str]:
    """``TenantId`` and every class in the folders that has a field of a type that carries one."""
    fields = {
        node.name: [part.annotation for part in node.body if isinstance(part, ast.AnnAssign)]
        for folder in folders
        for path in python_files(folder)
        for node in parse(path).body
        if isinstance(node, ast.ClassDef)
    }
    carriers = frozenset({TENANT})
    while True:
        more = {name for name, types in fields.items() if any(_carries(each, carriers) for each in types)}
        if more <= carriers:
            return carriers
        carriers |= more


def _public(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, Function]]:
    for node in body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield inside + node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node.body, f"{node.name}.")


def _takes_connection(function: Function) -> bool:
    return any(_names(each, CONNECTIONS) for each in _annotations(function))


def _takes_tenant(function: Function, carriers: frozenset[str]) -> bool:
    return any(_carries(each, carriers) for each in _annotations(function))


def _annotations(function: Function) -> list[ast.expr]:
    spec = function.args
    arguments = (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)
    return [arg.annotation for arg in arguments if arg.annotation is not None]


def _carries(annotation: ast.expr, carriers: frozenset[str]) -> bool:
    return _names(annotation, carriers) and not any(
        isinstance(part, ast.Constant) and part.value is None for part in ast.walk(annotation)
    )


def _names(annotation: ast.expr, types: frozenset[str]) -> bool:
    return any(
        (isinstance(part, ast.Name) and part.id in types)
        or (isinstance(part, ast.Attribute) and part.attr in types)
        for part in ast.walk(annotation)
    )


def _exempts(decorator: ast.expr) -> bool:
    match decorator:
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(reason))]):
            return name == EXEMPTION and bool(reason.strip())
    return False


def main(root: Path = ROOT) -> int:
    faults = check(root)
    for fault in faults:
        print(fault)
    print(f"tenant scope: {len(faults)} violations")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
