"""`docs/jobs.md` teaches "with an example that runs": it is taken from there and run, on a real server."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installed import TIDINGS
from tests.support.processes import running
from tests.support.server import SECRET, Person, Server, serving

GUIDE = Path(__file__).parents[2] / "docs" / "jobs.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the guide's example, as it is started there."""
    folder = tmp_path_factory.mktemp("guide")
    example = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert example is not None
    (folder / "reports.py").write_text(example[1])
    with serving(folder, {"app": "reports"}) as server:
        yield server


def command_line(server: Server, person: Person, *arguments: str, code: int = 0) -> str:
    """What `tidings jobs` says, after it has ended with that exit code."""
    env = {"TIDINGS_ENV": "test", "TIDINGS_JWT_SECRET": SECRET, "TIDINGS_TOKEN": person.token}
    with running([TIDINGS, "jobs", *arguments, "--url", server.url], env=env) as child:
        assert child.wait() == code, child.output
        return child.output


async def test_the_example(server: Server) -> None:
    """It is watched from the command line to its end, by way of its children, and its file is downloaded."""
    person = await server.person()
    said = command_line(
        server, person, "run", "report.build", "--payload", '{"year": 2026}', "--watch", "--json"
    )
    assert '"stage":"quarter 4"' in said
    assert '"type":"artifact"' in said
    assert '"type":"completed"' in said
    async with server.http(person) as http:
        jobs = (await http.get("/jobs", params={"kind": "report.build"})).json()["items"]
        (job,) = jobs
        assert job["result"] == {"total": 2026 * 10}
        children = (await http.get("/jobs", params={"parentId": job["id"]})).json()["items"]
        assert [child["payload"]["quarter"] for child in children] == [4, 3, 2, 1]
        path = f"/jobs/{job['id']}/artifacts/report.csv"
        whole = await http.get(path)
        assert whole.text.splitlines() == ["quarter,total", "1,2026", "2,4052", "3,6078", "4,8104"]
        assert whole.headers["content-type"].startswith("text/csv")
        part = await http.get(path, headers={"Range": "bytes=0-6"})
        assert (part.status_code, part.text) == (206, "quarter")
        head = await http.head(path)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))
    async with server.http(await server.person()) as stranger:
        assert (await stranger.get(path)).status_code == 404


async def test_what_goes_wrong(server: Server) -> None:
    """A child that fails fails its parent; both are dead letters, and the parent can be tried again."""
    person = await server.person()
    payload = '{"year": 2026, "quarters": [1, 5]}'
    said = command_line(server, person, "run", "report.build", "--payload", payload, "--watch", code=3)
    assert "A year has no quarter 5" in said
    async with server.http(person) as http:
        dead = (await http.get("/jobs", params={"status": "failed"})).json()["items"]
        assert {job["error"]["code"] for job in dead} == {"CHILD_FAILED", "NO_SUCH_QUARTER"}
        (parent,) = [job for job in dead if job["parentId"] is None]
    assert parent["id"] in command_line(server, person, "retry", parent["id"])
