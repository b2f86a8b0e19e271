"""The measures of the house: how long a file and a function may be, how many parameters, no import cycle.

What ships (``src/``) is held to all of them; tests, benchmarks and scripts to the lengths alone. A function's
length is what an editor shows: from ``def`` to its last line, docstring included, decorators not. Imports
inside functions count for cycles as well: putting one there hides a cycle, it does not undo it.

Usage: ``python -m scripts.house_measures``; exits 1 and names each fault if there is one.
"""

import ast
import graphlib
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from scripts.source_tree import ROOT, Module, Violation, imports, modules, parse, python_files

FILE_LINES = 400
FUNCTION_LINES = 60
FUNCTION_LINES_P90 = 25
PARAMETERS = 8

SOURCE = "src"
BESIDES = ("tests", "bench", "scripts")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def check(root: Path) -> tuple[list[Violation], str]:
    """Every fault below a repository's root, and one line that sums up what was measured."""
    faults: list[Violation] = []
    for folder in (SOURCE, *BESIDES):
        for path in python_files(root / folder):
            faults += _lengths(path)
    source = modules(root / SOURCE)
    functions = [(module, node) for module in source.values() for node in _functions(module.tree)]
    faults += [fault for module, node in functions for fault in _parameters(module.path, node)]
    faults += _cycles(source)
    p90 = percentile([_length(node) for _, node in functions], 0.9)
    if p90 > FUNCTION_LINES_P90:
        faults.append(
            Violation(root / SOURCE, 1, f"p90 of functions is {p90} lines, over {FUNCTION_LINES_P90}")
        )
    summary = f"{len(source)} files, {len(functions)} functions, p90 {p90} lines, {len(faults)} violations"
    return faults, summary


def percentile(values: Iterable[int], share: float) -> int:
    """The least of the values that at least this share of them does not exceed; 0 if there is none."""
    ranked = sorted(values)
    return ranked[math.ceil(share * len(ranked)) - 1] if ranked else 0


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _lengths(path: Path) -> Iterator[Violation]:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > FILE_LINES:
        yield Violation(path, 1, f"{lines} lines, over {FILE_LINES}")
    for node in _functions(parse(path)):
        if _length(node) > FUNCTION_LINES:
            yield Violation(path, node.lineno, f"{node.name}: {_length(node)} lines, over {FUNCTION_LINES}")


def _parameters(path: Path, function: Function) -> Iterator[Violation]:
    spec = function.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
    count = sum(1 for arg in named if arg is not None and arg.arg not in {"self", "cls"})
    if count > PARAMETERS:
        yield Violation(path, function.lineno, f"{function.name}: {count} parameters, over {PARAMETERS}")


def _cycles(source: dict[str, Module]) -> Iterator[Violation]:
    """Each cycle once: the import that closes it is named, then taken out to find the next."""
    lines = {
        (name, found.target): found.line
        for name, module in source.items()
        for found in imports(module, source)
        if found.target in source
    }
    while True:
        graph: dict[str, list[str]] = {}
        for importer, target in lines:
            graph.setdefault(importer, []).append(target)
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            circle: list[str] = error.args[1]
        else:
            return
        # graphlib names each module before the one that imports it.
        target, importer = circle[:2]
        text = "import cycle: " + " -> ".join(reversed(circle))
        yield Violation(source[importer].path, lines.pop((importer, target)), text)


def main(root: Path = ROOT) -> int:
    faults, summary = check(root)
    for fault in faults:
        print(fault)
    print(f"house measures: {summary}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
