"""A terminal for tests of the command line: commands run in this process, in a directory of their own."""

from pathlib import Path

from typer.testing import CliRunner, Result

from tidings.cli.main import app
from tidings.settings import Settings

SECRET = "correct-horse-battery-staple-0123456789"


class Terminal:
    """``env`` is what commands find of ``TIDINGS_*``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"TIDINGS_VAR": str(folder / "var"), "TIDINGS_JWT_SECRET": SECRET}

    def run(self, *words: str, stdin: str | None = None) -> Result:
        return CliRunner(env=self.env).invoke(app, words, input=stdin)

    def settings(self, **changes: object) -> Settings:
        """What the commands run with."""
        given = {"var": self.folder / "var", "jwt_secret": SECRET, **changes}
        return Settings(**given)  # type: ignore[arg-type]  # pydantic reads the values
