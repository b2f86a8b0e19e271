"""How the clients are compiled."""

from pathlib import Path

import pytest

from bench.harness.compiler import build
from bench.harness.process import BenchmarkError


def test_a_program_that_does_not_compile_is_an_error(tmp_path: Path) -> None:
    """The compiler's own words say where."""
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return nothing; }")
    with pytest.raises(BenchmarkError, match=r"(?s)the broken does not compile.*nothing"):
        build(tmp_path, "broken", [source])


def test_a_machine_without_a_compiler_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not everybody has one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchmarkError, match="no C compiler"):
        build(tmp_path, "any", [])
