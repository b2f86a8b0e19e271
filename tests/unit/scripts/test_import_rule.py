"""The import rule, line by line of its table."""

from pathlib import Path

import pytest

from scripts.import_rule import ALLOWED, IO_PACKAGES, check, main
from tests.support.trees import plant

SKELETON = {
    f"src/tidings/{path}": ""
    for path in (
        "__init__.py",
        "app.py",
        "metrics.py",
        "domain/__init__.py",
        "domain/job.py",
        "hub/__init__.py",
        "hub/hub.py",
        "hub/session.py",
        "hub/outbox.py",
        "hub/wheel.py",
        "hub/format.py",
        "store/__init__.py",
        "jobs/__init__.py",
        "delivery/__init__.py",
        "broker/__init__.py",
    )
}


def faults(root: Path, importer: str, text: str) -> list[str]:
    """What the rule says of one file in a tree of otherwise empty ones."""
    plant(root, SKELETON | {f"src/tidings/{importer}": text})
    return [str(fault).removeprefix(f"{root}/src/tidings/") for fault in check(root)]


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("app.py", "import tidings, tidings.store, tidings.hub.hub"),
        ("cli.py", "from tidings.app import x"),
        ("__init__.py", "from tidings.jobs import job"),
        ("transports/sse/endpoint.py", "from tidings.hub import session, outbox, wheel, format"),
        ("api/jobs.py", "from tidings.hub.session import Session"),
        ("song/plan.py", "import tidings.jobs, tidings.domain.job"),
        ("jobs/worker.py", "from tidings import delivery, store, domain, metrics"),
        ("delivery/relay.py", "from tidings import hub, broker, store"),
        ("hub/session.py", "from tidings.hub.outbox import Outbox"),
        ("store/jobs.py", "import asyncio, sqlalchemy\nfrom tidings.domain import job"),
        ("log.py", "from tidings.domain import job"),
        ("domain/channel.py", "import re\nfrom tidings.domain.job import Job"),
    ],
)
def test_imports_go_downwards(tmp_path: Path, importer: str, text: str) -> None:
    """What the table lists is right, and so is what lies in the same room."""
    assert faults(tmp_path, importer, text) == []


@pytest.mark.parametrize(
    ("importer", "target"),
    [
        ("__init__.py", "hub.hub"),
        ("transports/sse/endpoint.py", "hub.hub"),
        ("transports/sse/endpoint.py", "store"),
        ("api/jobs.py", "hub.outbox"),
        ("api/jobs.py", "jobs"),
        ("console/pages.py", "store"),
        ("song/plan.py", "metrics"),
        ("jobs/worker.py", "hub"),
        ("delivery/relay.py", "jobs"),
        ("hub/hub.py", "broker"),
        ("broker/memory.py", "hub.session"),
        ("store/jobs.py", "delivery"),
        ("identity/policy.py", "store"),
        ("domain/channel.py", "metrics"),
        ("settings.py", "domain.job"),
        ("metrics.py", "domain"),
        ("log.py", "metrics"),
    ],
)
def test_other_imports_are_named(tmp_path: Path, importer: str, target: str) -> None:
    """What the table does not list is a fault at the line of the import."""
    room = importer.partition("/")[0].removesuffix(".py")
    found = faults(tmp_path, importer, f"\nimport tidings.{target}\n")
    assert found == [f"{importer}:2: {room} may not import tidings.{target}"]


def test_whole_package_is_imported_from_above_alone(tmp_path: Path) -> None:
    """``import tidings`` from a room inside it is a way round the rule."""
    assert faults(tmp_path, "hub/hub.py", "from tidings import job") == [
        "hub/hub.py:1: hub may not import tidings"
    ]


def test_name_that_only_begins_alike_is_another_room(tmp_path: Path) -> None:
    """A permission for ``hub.session`` is none for ``hub.sessions``."""
    plant(tmp_path, {"src/tidings/hub/sessions.py": ""})
    assert len(faults(tmp_path, "api/jobs.py", "from tidings.hub import sessions")) == 1


def test_new_room_needs_a_line(tmp_path: Path) -> None:
    """A folder that the table does not know is a fault, so that it can't go unnoticed."""
    assert faults(tmp_path, "utils/text.py", "") == [
        "utils/text.py:1: utils is no room of the house: give it a line in the import rule"
    ]


@pytest.mark.parametrize("package", sorted(IO_PACKAGES))
@pytest.mark.parametrize(
    "importer", ["domain/ids.py", "transports/socketio/engine.py", "transports/sse/frame.py"]
)
def test_sans_io_files_import_no_io(tmp_path: Path, importer: str, package: str) -> None:
    """Files of protocols and records know no loop, socket or database, inside a function either."""
    here = importer.removesuffix(".py").replace("/", ".")
    assert faults(tmp_path, importer, f"def f():\n    from {package}.x import y\n") == [
        f"{importer}:2: {here} does no I/O and may not import {package}.x"
    ]


def test_table_names_rooms_that_it_knows() -> None:
    """Each room that a line of the table allows has a line of its own."""
    named = {part.partition(".")[0] for parts in ALLOWED.values() for part in parts if part}
    assert named <= set(ALLOWED)


def test_exit_code_tells_of_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault is printed, then how many there are; with any the exit code is 1."""
    assert main(plant(tmp_path, SKELETON)) == 0
    assert main(plant(tmp_path, {"src/tidings/hub/hub.py": "import tidings.store"})) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "import rule: 1 violations"
