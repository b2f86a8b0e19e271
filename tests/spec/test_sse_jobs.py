"""Contract, sections 5 and 11: ``GET /jobs/{jobId}/events``."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.support.server import Person, Server, serving
from tests.support.streams import Message, read, start_job, streaming
from tidings.domain.ids import new_id
from tidings.domain.people import Role

STALE = "0000000000000000.1.0000000000000000.0"
TERMINAL = {"completed", "failed", "cancelled"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), {"job_cancel_grace": 0.2}) as running:
        yield running


def essence(response: httpx.Response) -> tuple[int, str, dict[str, str]]:
    """A response without what may differ between two strangers: the request's id and the date."""
    volatile = {"date", "x-request-id"}
    headers = {name: value for name, value in response.headers.items() if name not in volatile}
    return response.status_code, response.text.replace(response.json()["requestId"], ""), headers


async def standing(server: Server, person: Person) -> str:
    """A position before all that comes."""
    async with streaming(server, "/notifications/events", person) as stream:
        return (await stream.message()).id


async def finished(server: Server, person: Person, **payload: int) -> tuple[str, list[Message]]:
    """A job, and all that was told of it from its ``queued`` on."""
    before = await standing(server, person)
    job = await start_job(server, person, **payload)
    await read(server, job, person)
    return job, await read(server, job, person, after=before)


# Before it opens.


async def test_without_credentials(server: Server) -> None:
    """ "401 without valid credentials", whether or not the job is there."""
    user = await server.person()
    job = await start_job(server, user, steps=1, delayMs=0)
    for token in ("", "Bearer garbage", f"Bearer {user.token}x", "Basic dTpw"):
        headers = {"Authorization": token} if token else {}
        answers = [server.get(f"/jobs/{name}/events", **headers) for name in (job, new_id(), "x")]
        assert {answer.status_code for answer in answers} == {401}
        assert answers[0].headers["www-authenticate"] == "Bearer"
        assert essence(answers[0]) == essence(answers[1]) == essence(answers[2])


async def test_jobs_of_others(server: Server) -> None:
    """ "404, byte for byte the same, for a job that is missing, malformed or someone else's"."""
    owner, admin, root = await server.people(Role.USER, Role.ADMIN, Role.SUPER_ADMIN)
    job = await start_job(server, owner, steps=1, delayMs=0)
    names = [job, new_id(), "x", "%00", "..%2Fx", job.upper(), "a" * 300]
    for stranger in (admin, root, await server.person()):
        async with server.http(stranger) as client:
            answers = [await client.get(f"/jobs/{name}/events") for name in names]
        assert answers[0].status_code == 404
        assert answers[0].headers["content-type"] == "application/problem+json"
        assert [essence(answer) for answer in answers] == [essence(answers[0])] * len(names)


async def test_headers(server: Server) -> None:
    """ "``Content-Type: text/event-stream``, ``Cache-Control: no-store``, ``X-Accel-Buffering: no``"."""
    user = await server.person()
    job = await start_job(server, user, steps=1, delayMs=0)
    async with streaming(server, f"/jobs/{job}/events", user) as stream:
        headers = stream.response.headers
        assert headers["content-type"].split(";")[0] == "text/event-stream"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert "server" not in headers


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
async def test_other_methods(server: Server, method: str) -> None:
    """ "``METHOD_NOT_ALLOWED`` 405": a stream is there to be got, and an external job's to be reported to."""
    async with server.http(await server.person()) as client:
        answer = await client.request(method, f"/jobs/{new_id()}/events")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


# What it tells.


async def test_the_whole_story(server: Server) -> None:
    """ "First an event with the job's present state, then each event as it happens"; "``retry:`` with jitter"."""
    user = await server.person()
    job = await start_job(server, user, steps=4, delayMs=20)
    async with streaming(server, f"/jobs/{job}/events", user) as stream:
        messages = await stream.rest()
        assert stream.retry is not None
        assert stream.retry > 0
    for message in messages:
        shape = {"jobId", "type", "status", "stage", "progress", "attempt", "message", "timestamp"}
        assert message.data.keys() == shape
        assert message.data["jobId"] == job
        assert 0 <= message.data["progress"] <= 1
    assert messages[0].type == "snapshot"
    assert [message.type for message in messages][-1] == "completed"
    told = [message.data["progress"] for message in messages if message.type == "progress"]
    assert told == sorted(set(told))
    assert len({message.id for message in messages}) == len(messages)


async def test_none_missed_and_none_twice(server: Server) -> None:
    """ "None missed and none twice across the join", however fast the job runs and whenever one comes."""
    user = await server.person()
    await finished(server, user, steps=1, delayMs=0)
    before = await standing(server, user)
    job = await start_job(server, user, steps=400, delayMs=2)
    chance = random.Random(7)

    async def subscriber(wait: float) -> list[Message]:
        await asyncio.sleep(wait)
        return await read(server, job, user)

    others = await asyncio.gather(*(subscriber(chance.uniform(0.0, 0.8)) for _ in range(50)))
    full = await read(server, job, user, after=before)
    ids = [message.id for message in full]
    assert len(ids) == len(set(ids))
    steps = [message.data["message"] for message in full if message.type == "progress"]
    assert steps == [f"step {step} of 400" for step in range(1, 401)]
    starts = {story[0].id for story in others}
    for first, *rest in others:
        begin = ids.index(first.id)
        assert first.data == {**full[begin].data, "type": first.type}
        assert rest == full[begin + 1 :]
    assert len(starts) > 5


async def test_resumed_at_every_position(server: Server) -> None:
    """ "``Last-Event-ID`` resumes": from each position on, exactly what followed it."""
    user = await server.person()
    job, story = await finished(server, user, steps=6, delayMs=5)
    for position, message in enumerate(story[:-1]):
        assert await read(server, job, user, after=message.id) == story[position + 1 :]


async def test_resumed_while_it_runs(server: Server) -> None:
    """ "None missed and none twice": a reader who drops and resumes again and again has read everything once."""
    user = await server.person()
    before = await standing(server, user)
    job = await start_job(server, user, steps=30, delayMs=10)
    seen: list[Message] = []
    while not seen or seen[-1].type not in TERMINAL:
        after = seen[-1].id if seen else before
        async with streaming(server, f"/jobs/{job}/events", user, after=after) as stream:
            seen.append(await stream.message())
            with suppress(EOFError):
                seen.append(await stream.message())
    assert seen == await read(server, job, user, after=before)


@pytest.mark.parametrize("after", ["nonsense", STALE, "", "1", "-1", "x" * 5000])
async def test_not_resumable(server: Server, after: str) -> None:
    """ "A ``Last-Event-ID`` that can't be resumed gets a snapshot with ``"resumed": false``"."""
    user = await server.person()
    job, story = await finished(server, user, steps=1, delayMs=0)
    (only,) = await read(server, job, user, after=after)
    expected = {**story[-1].data, **({"resumed": False} if after else {})}
    assert (only.data, only.id) == (expected, story[-1].id)


async def test_not_resumable_while_it_runs(server: Server) -> None:
    """ "... gets a snapshot with ``"resumed": false``", and then what happens."""
    user = await server.person()
    job = await start_job(server, user, steps=10, delayMs=20)
    first, *rest = await read(server, job, user, after=STALE)
    assert (first.type, first.data["resumed"]) == ("snapshot", False)
    assert all("resumed" not in message.data for message in rest)
    assert rest[-1].type == "completed"


async def test_reconnect_after_the_end(server: Server) -> None:
    """ "A reconnect gets 204, which stops ``EventSource``"; "204 needs a ``Last-Event-ID`` at the end"."""
    user = await server.person()
    job, story = await finished(server, user, steps=2, delayMs=0)
    async with streaming(server, f"/jobs/{job}/events", user, after=story[-1].id) as stream:
        assert stream.response.status_code == 204
        assert stream.response.headers["cache-control"] == "no-store"
        assert await stream.response.aread() == b""


async def test_fresh_look_at_a_finished_job(server: Server) -> None:
    """ "A fresh GET of a finished job gives its terminal state as one event and ends", of its terminal ``type``."""
    user = await server.person()
    job, story = await finished(server, user, steps=2, delayMs=0)
    (only,) = await read(server, job, user)
    assert (only.type, only.data["status"], only.id) == ("completed", "succeeded", story[-1].id)
    async with streaming(server, f"/jobs/{job}/events", user, after=only.id) as stream:
        assert stream.response.status_code == 204


# How it ends.


async def test_failure(server: Server) -> None:
    """ "A failed attempt that will be retried is ``queued`` again, never ``failed``"; ``failed`` for good ends it."""
    user = await server.person()
    _, story = await finished(server, user, steps=2, delayMs=0, failAt=2, failTimes=1)
    assert story[-1].type == "completed"
    assert "failed" not in {message.type for message in story}
    assert {message.data["attempt"] for message in story} >= {1, 2}
    queued = [
        (message.data["status"], message.data["attempt"]) for message in story if message.type == "queued"
    ]
    assert queued == [("queued", 0), ("queued", 1)]


async def test_failure_for_good(server: Server) -> None:
    """ "After the terminal event (``failed`` for good) the stream ends": after the last of three attempts."""
    user = await server.person()
    _, story = await finished(server, user, steps=1, delayMs=0, failAt=1)
    assert [message.type for message in story if message.type in TERMINAL] == ["failed"]
    assert (story[-1].data["status"], story[-1].data["attempt"]) == ("failed", 3)


async def test_cancellation(server: Server) -> None:
    """ "``cancelled``" ends the stream; "cancel from anywhere (running code sees it at its next report)"."""
    user = await server.person()
    job = await start_job(server, user, steps=1000, delayMs=20)
    async with streaming(server, f"/jobs/{job}/events", user) as stream, server.http(user) as client:
        while (await stream.message()).type != "progress":
            pass
        assert (await client.post(f"/jobs/{job}/cancel")).status_code == 202
        assert (await stream.rest())[-1].type == "cancelled"


async def test_death_of_the_process(server: Server) -> None:
    """ "Every accepted job gets a terminal event, even if its worker dies": its process kills itself each time."""
    user = await server.person()
    _, story = await finished(server, user, steps=2, delayMs=0, exitAt=1)
    assert (story[-1].type, story[-1].data["attempt"]) == ("failed", 3)


async def test_two_streams_of_a_job(server: Server) -> None:
    """The same bytes go to every stream of a job: all of them tell the same."""
    user = await server.person()
    job = await start_job(server, user, steps=10, delayMs=10)
    one, two = await asyncio.gather(read(server, job, user), read(server, job, user))
    both = min(len(one), len(two)) - 1
    assert both > 0
    assert one[-both:] == two[-both:]
