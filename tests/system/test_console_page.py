"""The console in a real browser: what its users see and do, from signing in to signing out.

Each test ends with what the browser had to complain of, which is nothing but what the test brought about: no
error of a script, no refusal by the page's own policy.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import console_kinds
from tests.support.browser import Page, chromium, visiting
from tests.support.processes import free_port
from tests.support.server import Person, Server, eventually, serving
from tidings.domain.people import Role

SCREEN_WIDTH = 360
ALL_PAGES = ("jobs", "dead-letters", "inbox", "security", "nodes", "metrics")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(console_kinds.__file__, folder)
    with serving(folder, {"app": "console_kinds"}, port=free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


@pytest.fixture
async def page(browser: str) -> AsyncIterator[Page]:
    async with visiting(browser) as page:
        yield page


async def sign_in(page: Page, server: Server, person: Person, at: str = "#/jobs") -> None:
    """By keyboard alone."""
    await page.go(f"{server.url}/console{at}")
    await page.type("#token", person.token)
    await page.key("Enter", 13)
    await page.until("!document.querySelector('#visitor').hidden")


async def post(server: Server, person: Person, path: str, body: Any = None) -> dict[str, Any]:
    async with server.http(person) as client:
        answer = await client.post(path, json=body)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made


async def steps(server: Server, person: Person, **payload: int) -> str:
    job = await post(server, person, "/jobs", {"kind": "demo.steps", "payload": payload})
    return str(job["id"])


async def test_a_job_is_watched(server: Server, page: Page) -> None:
    """A job that is handed in elsewhere shows up, moves without a reload, and ends; its page tells how it went."""
    user = await server.person()
    await sign_in(page, server, user)
    await page.reads("There are no jobs")
    job = await steps(server, user, steps=60, delayMs=100)
    bars = "[...document.querySelectorAll('td progress')]"
    await page.until(f"{bars}.some(bar => bar.value > 0 && bar.value < 1)")
    # Between two polls of the list: it is the stream that moves the bar.
    seen = await page.look(
        f"""new Promise(done => {{
            const seen = new Set();
            const timer = setInterval(() => {{
                seen.add({bars}[0].value);
                if (seen.size >= 5) {{ clearInterval(timer); done(seen.size); }}
            }}, 20);
        }})"""
    )
    assert seen >= 5
    await page.click("demo.steps")
    await page.reads("step 50 of 60", "[role=log]")
    await page.reads("completed", "[role=log]")
    await page.reads("succeeded", "article .head")
    assert await page.look("document.querySelector('article progress').value") == 1
    assert job in await page.look("location.hash")
    assert page.faults == []


async def test_a_dead_letter_is_retried(server: Server, page: Page) -> None:
    """Contract 7: "dead letters listed and retried"; what failed for good runs again, and leaves the list."""
    user = await server.person()
    await sign_in(page, server, user, "#/dead-letters")
    await page.reads("No job has failed")
    first = await steps(server, user, steps=2, delayMs=0, failAt=1, failTimes=3)
    await page.reads("STEP_FAILED: step 1 of 2 failed")
    await page.click("Retry", "tbody")
    await page.reads("is queued again")
    await page.reads("No job has failed")
    await page.go(f"{server.url}/console#/jobs/{first}")
    await page.reads("succeeded", "article .head")
    await page.reads("4 of 6")
    assert page.faults == []


async def test_all_dead_letters_are_retried(server: Server, page: Page) -> None:
    """One button retries all that are listed, one after the other."""
    user = await server.person()
    for _ in range(3):
        await steps(server, user, steps=1, delayMs=0, failAt=1, failTimes=3)
    await sign_in(page, server, user, "#/dead-letters")
    await page.click("Retry all 3")
    await page.reads("3 jobs are queued again.")
    await page.reads("No job has failed")
    assert page.faults == []


async def test_a_job_is_cancelled(server: Server, page: Page) -> None:
    """The button ends a job that runs, and the page tells so; then it can be retried."""
    user = await server.person()
    job = await steps(server, user, steps=600, delayMs=100)
    await sign_in(page, server, user, f"#/jobs/{job}")
    await page.reads("step", "[role=log]")
    await page.click("Cancel", "article")
    await page.reads("cancelled", "article .head")
    await page.until("[...document.querySelectorAll('article button')].some(b => b.innerText === 'Retry')")
    assert page.faults == []


async def test_a_job_with_children(server: Server, page: Page) -> None:
    """A parent's page lists its children as they stand, and leads to each; each leads back."""
    user = await server.person()
    job = await post(server, user, "/jobs", {"kind": "console.whole", "payload": {"parts": 3}})
    await sign_in(page, server, user, f"#/jobs/{job['id']}")
    await page.reads("succeeded", "article .head")
    children = "[...document.querySelectorAll('article .files li')].map(each => each.innerText)"
    ends = ["console.part succeeded 100 %"] * 2 + ["console.part failed 50 %"]
    await page.until(f"{children}.map(text => text.split(/\\s+/).join(' ')).join('|') === {'|'.join(ends)!r}")
    await page.look("[...document.querySelectorAll('article .files a')].at(-1).click()")
    await page.reads("BROKEN: It broke")
    await page.click(job["id"], "article")
    await page.reads("console.whole", "h1")
    assert page.faults == []


async def test_a_notification_arrives(server: Server, page: Page) -> None:
    """The count rises on every page, the inbox shows it at once, and reading it lowers the count."""
    user, admin = await server.people(Role.USER, Role.ADMIN)
    await sign_in(page, server, user)
    await page.until("document.querySelector('.badge').hidden")
    letter = {"title": "Good <b>news</b>", "content": "It is done."}
    await post(server, admin, "/notifications", {**letter, "userId": user.id})
    await page.until("document.querySelector('.badge').innerText === '1'")
    await page.look("location.hash = '#/inbox'")
    await page.reads("Good <b>news</b>", ".letters")
    await post(server, admin, "/notifications", {**letter, "title": "To all", "audience": "tenant"})
    await page.reads("To all", ".letters")
    await page.until("document.querySelector('.badge').innerText === '2'")
    await page.click("Mark read", ".letters")
    await page.until("document.querySelector('.badge').innerText === '1'")
    await page.click("Mark all read")
    await page.until("document.querySelector('.badge').hidden")
    assert page.faults == []


async def test_signing_out(server: Server, page: Page) -> None:
    """The cookie is gone, streams are closed, and a reload shows the way in. Scripts never see the cookie."""
    user = await server.person()
    await sign_in(page, server, user)
    await server.audited("SSE_CONNECT", userId=user.id)
    assert await page.look("document.cookie") == ""
    await page.look("document.querySelector('.skip').click()")
    assert await page.look("document.activeElement.id + location.hash") == "content#/jobs"
    await page.click("Sign out")
    await page.until("!!document.querySelector('#token')")
    await server.audited("SSE_DISCONNECT", userId=user.id)
    await page.send("Page.reload")
    await page.until("!!document.querySelector('#token') && document.querySelector('#tabs').hidden")
    assert page.faults == []


async def test_a_session_that_is_ended(server: Server, page: Page) -> None:
    """Who is revoked while the page is open finds the way in, and why."""
    user, admin = await server.people(Role.USER, Role.ADMIN)
    await sign_in(page, server, user, "#/inbox")
    await server.audited("SSE_CONNECT", userId=user.id)
    async with server.http(admin) as client:
        assert (await client.post("/admin/tokens/revoke", json={"userId": user.id})).status_code == 204
    await page.reads("The session is over. Sign in again.")
    assert all("401" in fault for fault in page.faults)
    await page.type("#token", user.token)
    await page.click("Sign in")
    await page.reads("This token is no good here, or no more.")


async def test_what_a_role_sees(server: Server, page: Page) -> None:
    """A user sees no page of administrators; an ADMIN the security log; a SUPER_ADMIN nodes and metrics too."""
    user, admin, root = await server.people(Role.USER, Role.ADMIN, Role.SUPER_ADMIN)
    tabs = "[...document.querySelectorAll('#tabs a')].map(each => each.firstChild.textContent)"
    await sign_in(page, server, user)
    assert await page.look(tabs) == ["Jobs", "Dead letters", "Inbox"]
    await page.click("Sign out")
    await sign_in(page, server, admin)
    assert await page.look(tabs) == ["Jobs", "Dead letters", "Inbox", "Security"]
    await page.click("Sign out")
    await sign_in(page, server, root, "#/nodes")
    await page.reads("serving", "td .mark")
    await page.click("Metrics")
    await page.reads("Deliveries", ".groups")
    query = f"/admin/security-events?event=AUTHENTICATION_SUCCESS&userId={root.id}"
    await eventually(lambda: bool(server.get(query, **root.headers).json()["items"]))
    await page.click("Security")
    await page.look("document.querySelector('#event').value = 'AUTHENTICATION_SUCCESS'")
    await page.type("#user-id", root.id)
    await page.click("Search")
    found = "[...document.querySelectorAll('td .mark')].map(each => each.innerText)"
    await page.until(f"{found}.length > 0 && {found}.every(text => text === 'AUTHENTICATION_SUCCESS')")
    assert page.faults == []


async def test_a_small_screen(server: Server, page: Page) -> None:
    """At 360 px no page is wider than the screen, and each names itself in one heading."""
    root = await server.person(Role.SUPER_ADMIN)
    long = {"title": "W" * 200, "content": "w" * 1000, "data": {"long": "w" * 500}}
    await post(server, root, "/notifications", long)
    await steps(server, root, steps=1, delayMs=0, failAt=1)
    await page.dress(width=SCREEN_WIDTH, height=740)
    await sign_in(page, server, root)
    for name in ALL_PAGES:
        await page.look(f"location.hash = '#/{name}'")
        await page.until(
            "!document.querySelector('#content .quiet[role=status]')?.innerText.includes('Reading')"
        )
        width = await page.look("document.documentElement.scrollWidth")
        assert width <= SCREEN_WIDTH, name
        assert await page.look("document.querySelectorAll('h1').length") == 1, name
        assert await page.look("document.title.endsWith(' · Tidings')")
        nameless = "[...document.querySelectorAll('button, input, select, a, progress')].filter(each => each.checkVisibility() && !(each.innerText.trim() || each.labels?.length || each.ariaLabel)).length"
        assert await page.look(nameless) == 0, name
    assert page.faults == []


async def test_a_server_that_goes_and_returns(page: Page, tmp_path: Path) -> None:
    """The page says that the connection is lost, and goes on by itself once the server is back."""
    port = free_port()
    with serving(tmp_path, port=port) as first:
        user = await first.person()
        await sign_in(page, first, user)
        await first.audited("SSE_CONNECT", userId=user.id)
    await page.reads("The connection is lost. Reconnecting …", "#weather")
    with serving(tmp_path, port=port) as second:
        await page.until("document.querySelector('#weather').innerText === ''")
        await post(second, user, "/notifications", {"title": "Back", "content": "Again."})
        await page.until("document.querySelector('.badge').innerText === '1'")
    assert not [fault for fault in page.faults if not fault.startswith(("network:", '"network'))]


async def test_streams_are_few(server: Server, page: Page) -> None:
    """Four at most, for a browser opens six connections to a server; what has none moves all the same."""
    user = await server.person()
    jobs = [await steps(server, user, steps=100, delayMs=100) for _ in range(8)]
    await sign_in(page, server, user)
    await page.until("document.querySelectorAll('tbody tr').length === 8")
    await page.until("navigator.locks.query().then(({ held }) => held.length === 4)")
    answers = await page.look("Promise.all([1, 2].map(() => fetch('/jobs').then(answer => answer.status)))")
    assert answers == [200, 200]
    await asyncio.gather(*(post(server, user, f"/jobs/{job}/cancel") for job in jobs))
    await page.until("document.querySelectorAll('.mark.cancelled').length === 8")
    assert page.faults == []
