"""``/docs`` and what it loads."""

import re

from tests.support.services import Rig
from tidings.api.docs import CSP

FILES = {"/docs": "text/html", "/docs/docs.css": "text/css", "/docs/docs.js": "text/javascript"}


async def test_the_page_is_made_of_our_own_files(rig: Rig) -> None:
    """Whatever the page names is served here, and nothing is from elsewhere."""
    page = (await rig.client.get("/docs")).text
    named = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    own = [name for name in named if not name.startswith("data:")]
    assert sorted(own) == ["docs/docs.css", "docs/docs.js", "openapi.json"]
    for path, media_type in FILES.items():
        answer = await rig.client.get(path)
        assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", answer.text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path


async def test_the_policy_is_strict(rig: Rig) -> None:
    """Nothing inline, nothing framed, nothing from elsewhere; and the page has nothing that would need it."""
    for path in FILES:
        assert (await rig.client.get(path)).headers["content-security-policy"] == CSP
    assert "unsafe" not in CSP
    assert "default-src 'none'" in CSP
    page = (await rig.client.get("/docs")).text
    assert not re.search(r"<style|style=|\son\w+=|<script>", page)
    script = (await rig.client.get("/docs/docs.js")).text
    assert not re.search(r"innerHTML|insertAdjacentHTML|\beval\(|\.style\b", script)


async def test_pages_can_be_read_and_nothing_else(rig: Rig) -> None:
    """They take no other method, and what is not among them does not exist."""
    assert (await rig.client.post("/docs")).status_code == 405
    assert (await rig.client.get("/docs/../../pyproject.toml")).status_code == 404
    assert (await rig.client.get("/docs/docs.html")).status_code == 404
