"""The clients are programs in C, made anew for each run from their own files and what they share in ``client/``."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.harness.process import BenchmarkError

SHARED = Path(__file__).parent / "client"


def build(folder: Path, name: str, sources: Iterable[Path]) -> Path:
    """Compile a program into a folder.

    Raises:
        BenchmarkError: there is no C compiler, or it failed.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchmarkError("no C compiler: install one that is called as cc (Debian: gcc libc6-dev)")
    program = folder / name
    files = [*map(str, sources), *map(str, sorted(SHARED.glob("*.c")))]
    command = [compiler, "-std=gnu11", "-O2", "-I", str(SHARED), "-o", str(program), *files]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BenchmarkError(f"the {name} does not compile:\n{result.stderr}")
    return program
