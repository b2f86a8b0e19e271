"""The console's files: what they are served with, and what they are made of."""

import re
from importlib.resources import files

import pytest

from tests.support.console import Desk
from tidings.console.pages import CSP
from tidings.domain.audit import SecurityEventType

STATIC = files("tidings.console") / "static"
PAGES = ("/console", "/console/")
PARTS = tuple(f"/console/{file.name}" for file in STATIC.iterdir() if file.name != "index.html")


def source(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


async def test_the_policy_is_strict(desk: Desk) -> None:
    """Contract 11: "pages: a strict CSP without ``unsafe-inline``", and the headers that all responses have."""
    assert "unsafe" not in CSP
    assert CSP.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    for path in (*PAGES, *PARTS):
        answer = await desk.client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-cache"


async def test_a_file_is_not_sent_twice(desk: Desk) -> None:
    """A browser that has the file is told so in a 304, whatever else it has."""
    for path in (*PAGES, *PARTS):
        etag = (await desk.client.get(path)).headers["etag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}'):
            answer = await desk.client.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert (await desk.client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_files_say_what_they_are(desk: Desk) -> None:
    """With ``nosniff`` a script of another type would not run."""
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for path in PARTS:
        kind = (await desk.client.get(path)).headers["content-type"].partition(";")[0]
        assert kind == types[path.rpartition(".")[2]]
    assert (await desk.client.get("/console")).headers["content-type"] == "text/html; charset=utf-8"


async def test_pages_can_be_read_and_nothing_else(desk: Desk) -> None:
    """They take no other method, and what is not among them does not exist."""
    assert (await desk.client.post("/console")).status_code == 405
    assert (await desk.client.get("/console/index.html")).status_code == 404
    assert (await desk.client.get("/console/%2e%2e/pages.py")).status_code == 404


@pytest.mark.parametrize("path", ["/console", "/console/main.js", "/console/session"])
async def test_a_link_holds_no_token(desk: Desk, path: str) -> None:
    """Contract 2: "A token in a query string is refused and audited"; the page is no exception."""
    answer = await desk.client.get(f"{path}?token={desk.rig.token('ann')}")
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    (event,) = await desk.rig.audited()
    assert (event.event, event.reason) == (SecurityEventType.SECURITY_VIOLATION, "token_in_query")


def test_everything_is_ours() -> None:
    """What page and scripts load is among the files, and nothing names another address."""
    assert set(re.findall(r'(?:src|href)="(/console/[^"]+)"', source("index.html"))) <= set(PARTS)
    for path in PARTS:
        text = source(path.rpartition("/")[2])
        assert {f"/console/{name}" for name in re.findall(r'from "\./([^"]+)"', text)} <= set(PARTS)
        assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}, path


def test_text_stays_text() -> None:
    """No script makes markup or code out of text, and nothing is inline that the policy would have to allow."""
    assert not re.search(r"<style|style=|\son\w+=|<script>", source("index.html"))
    for path in PARTS:
        text = source(path.rpartition("/")[2])
        found = re.findall(r"\w+HTML\b|\beval\(|new Function|document\.write|\.style\b|localStorage", text)
        assert found == [], path


def test_each_security_event_can_be_asked_for() -> None:
    """The list in the page is the catalogue of the contract (section 8)."""
    listed = re.search(r"EVENTS = \[(.*?)\]", source("security.js"), re.DOTALL)
    assert listed is not None
    assert re.findall(r'"(\w+)"', listed[1]) == [event.value for event in SecurityEventType]
