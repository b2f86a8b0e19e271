"""The measures of the house, each on a small tree that breaks it."""

from pathlib import Path

import pytest

from scripts.house_measures import check, main, percentile
from tests.support.trees import plant


def function(name: str, lines: int) -> str:
    return f"def {name}():\n" + "    pass\n" * (lines - 1)


def faults(root: Path) -> list[str]:
    """The faults of a tree as they are printed, below its root."""
    return [str(fault).removeprefix(f"{root}/") for fault in check(root)[0]]


def test_a_tree_within_the_measures_has_no_fault(tmp_path: Path) -> None:
    """Exactly at every limit is still right."""
    many = "def g(self, a, b, c, d, /, e, *f, g, **h): ...\n" + function("short", 25) * 9
    plant(tmp_path, {"src/tidings/a.py": function("long", 60), "src/tidings/b.py": many})
    plant(tmp_path, {"tests/test_a.py": "x = 1\n" * 400})
    assert check(tmp_path) == ([], "2 files, 11 functions, p90 25 lines, 0 violations")


@pytest.mark.parametrize("folder", ["src/tidings", "tests/unit", "bench", "scripts"])
def test_files_and_functions_are_short_everywhere(tmp_path: Path, folder: str) -> None:
    """A file has 400 lines and a function 60 at the most, in what ships and in what is beside it."""
    text = function("f", 61) + "def small(): ...\n" * 340
    plant(tmp_path, {f"{folder}/a.py": text})
    assert faults(tmp_path) == [
        f"{folder}/a.py:1: 401 lines, over 400",
        f"{folder}/a.py:1: f: 61 lines, over 60",
    ]


def test_most_functions_are_shorter(tmp_path: Path) -> None:
    """Nine functions of ten have 25 lines at the most."""
    plant(tmp_path, {"src/tidings/a.py": function("f", 26) * 2 + function("g", 3) * 8})
    assert faults(tmp_path) == ["src:1: p90 of functions is 26 lines, over 25"]


def test_functions_have_at_most_eight_parameters(tmp_path: Path) -> None:
    """Every form of parameter counts, but not what a method is bound to."""
    text = "class A:\n    async def f(self, a, b, /, c, d, *e, f, g, h, **i): ...\n"
    plant(tmp_path, {"src/tidings/a.py": text, "tests/a.py": text})
    assert faults(tmp_path) == ["src/tidings/a.py:2: f: 9 parameters, over 8"]


def test_each_import_cycle_is_named(tmp_path: Path) -> None:
    """A cycle is a fault even if a function hides an import of it, and a second one is found beside it."""
    plant(
        tmp_path,
        {
            "src/tidings/a.py": "from tidings import b",
            "src/tidings/b.py": "import tidings.c",
            "src/tidings/c.py": "def f():\n    from tidings.a import x\n",
            "src/tidings/d.py": "\nimport tidings.e\n",
            "src/tidings/e.py": "\nimport tidings.d\n",
            "src/tidings/f.py": "import tidings.a, tidings.d",
        },
    )
    first, second = sorted(faults(tmp_path))
    assert first.count(" -> ") == 3
    assert all(f"tidings.{name}" in first for name in "abc")
    assert second.count(" -> ") == 2
    assert all(f"tidings.{name}" in second for name in "de")


def test_a_cycle_is_found_at_the_import_that_closes_it(tmp_path: Path) -> None:
    """The fault's line is one of the imports of the cycle, and the text reads from it onwards."""
    plant(tmp_path, {"src/tidings/d.py": "\nimport tidings.d\n"})
    assert faults(tmp_path) == ["src/tidings/d.py:2: import cycle: tidings.d -> tidings.d"]


@pytest.mark.parametrize(
    ("values", "found"), [([], 0), ([7], 7), ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 9), (range(1, 12), 10)]
)
def test_percentile_is_one_of_the_values(values: list[int], found: int) -> None:
    """The 90th percentile is the least value that nine of ten do not exceed."""
    assert percentile(values, 0.9) == found


def test_exit_code_tells_of_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault is a line of its own, the summary is the last one, and the exit code is 1."""
    assert main(plant(tmp_path, {"src/tidings/a.py": "x = 1\n"})) == 0
    assert main(plant(tmp_path, {"bench/a.py": "x = 1\n" * 401})) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{tmp_path}/bench/a.py:1: 401 lines, over 400"
    assert lines[2].endswith("1 violations")
