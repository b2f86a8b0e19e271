"""Made-up source trees for the tests of the scripts."""

from pathlib import Path
from textwrap import dedent


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write each text to its path below ``root``, which is answered."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return root
