"""The outbox, on real sockets: direct writes, a bounded queue, conflation, and order throughout."""

import asyncio
from collections.abc import Iterator

from tests.support.links import Link, link
from tidings.domain.channel import GLOBAL_CHANNEL, Channel, job_channel, user_channel
from tidings.domain.event import EventClass
from tidings.domain.people import TenantId, UserId
from tidings.domain.position import Cursor, Position
from tidings.hub.outbox import Frame, Outbox, write_all

TENANT = TenantId("t")
JOB = job_channel(TENANT, "j")
USER = user_channel(TENANT, UserId("u"))
LIMIT = 1024 * 1024
PIECES = 200


def attached(to: Link, limit: int = LIMIT) -> Outbox:
    outbox = Outbox(limit)
    outbox.attach(to.transport)
    to.carrier.on_resume = outbox.writable
    return outbox


def frame(
    data: bytes, channel: Channel = USER, offset: int = 1, klass: EventClass = EventClass.INBOX
) -> Frame:
    return Frame(channel, offset, klass, data)


def cursor(own: int, everyone: int = 0) -> Cursor:
    return Cursor(Position("e", own), Position("g", everyone))


class Holder:
    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox


def congest(outbox: Outbox) -> int:
    """Fill the link until bytes wait; returns how many were sent in all."""
    sent = 0
    while not outbox.congested:
        assert outbox.send(b"x" * 65536)
        sent += 65536
    return sent


async def test_writes_at_once_while_the_link_keeps_up() -> None:
    """A free link is written to directly, and nothing waits."""
    async with link() as to:
        outbox = attached(to)
        assert outbox.fd >= 0
        assert outbox.send(b"one ")
        assert outbox.offer([frame(b"two "), frame(b"three")])
        assert outbox.waiting == 0
        assert await to.read(13) == b"one two three"


async def test_fan_out_writes_the_same_bytes_to_all() -> None:
    """``write_all`` joins the frames and reports nobody as failed."""
    async with link() as first, link() as second:
        sessions = [Holder(attached(first)), Holder(attached(second))]
        assert write_all(sessions, [frame(b"a"), frame(b"b")]) == []
        assert await first.read(2) == await second.read(2) == b"ab"


async def test_a_congested_link_keeps_the_order_and_loses_nothing() -> None:
    """What does not fit the socket waits, in order, and goes out when the peer reads."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to)
        filler = congest(outbox)
        assert outbox.fd == -1
        for n in range(100):
            assert outbox.offer([frame(b"<%03d>" % n, offset=n)])
        received = await to.read(filler + 500)
        assert received[filler:] == b"".join(b"<%03d>" % n for n in range(100))
        await _until_free(outbox)
        assert outbox.fd >= 0
        assert outbox.waiting == 0


async def test_direct_writes_resume_behind_what_waited() -> None:
    """A fan-out that meets a congested session queues behind, never before, what waits."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to)
        filler = congest(outbox)
        assert write_all([Holder(outbox)], [frame(b"first")]) == []
        rest = await to.read(filler + 5)
        await _until_free(outbox)
        assert write_all([Holder(outbox)], [frame(b"second")]) == []
        assert rest[filler:] + await to.read(6) == b"firstsecond"


async def test_progress_on_a_slow_link_is_conflated_to_the_latest() -> None:
    """Contract, section 7: "Progress on a slow link is conflated to the latest; terminal events never are." """
    async with link(send_buffer=4096) as to:
        outbox = attached(to)
        filler = congest(outbox)
        assert outbox.offer([frame(b"<started>", JOB, 1, EventClass.STATE)])
        for n in range(2, 50):
            assert outbox.offer([frame(b"<p%02d>" % n, JOB, n, EventClass.PROGRESS)])
        assert outbox.offer([frame(b"<inbox>", USER, 50)])
        assert outbox.offer([frame(b"<p51>", JOB, 51, EventClass.PROGRESS)])
        assert outbox.offer([frame(b"<done>", JOB, 52, EventClass.FINAL)])
        expected = b"<started><inbox><p51><done>"
        received = await to.read(filler + len(expected))
        assert received[filler:] == expected


async def test_progress_of_one_job_replaces_no_other() -> None:
    """Conflation is by channel."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to)
        filler = congest(outbox)
        other = job_channel(TENANT, "k")
        for channel, data in ((JOB, b"j1"), (other, b"k1"), (JOB, b"j2")):
            assert outbox.offer([frame(data, channel, 1, EventClass.PROGRESS)])
        assert (await to.read(filler + 4))[filler:] == b"k1j2"


async def test_states_are_never_dropped_the_session_is_closed_instead() -> None:
    """Contract, section 9: "its own outbox is bounded in bytes (1 MiB); it is closed with a reason"."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to, limit=512 * 1024)
        congest(outbox)
        fits = 0
        while outbox.offer([frame(b"s" * 10_000, JOB, fits, EventClass.STATE)]):
            fits += 1
            assert outbox.waiting <= 512 * 1024
        assert fits > 10
        assert write_all([Holder(outbox)], [frame(b"more")]) != []


async def test_held_events_are_released_behind_the_cursor() -> None:
    """What was told in the snapshot is not told again; what is newer is, in order."""
    async with link() as to:
        outbox = attached(to)
        outbox.hold()
        assert write_all([Holder(outbox)], [frame(b"<old>", USER, 5), frame(b"<new>", USER, 6)]) == []
        assert write_all([Holder(outbox)], [frame(b"<seen>", GLOBAL_CHANNEL, 2)]) == []
        assert write_all([Holder(outbox)], [frame(b"<all>", GLOBAL_CHANNEL, 3)]) == []
        assert outbox.send(b"<ready>")
        assert outbox.release(cursor(5, everyone=2), {USER, GLOBAL_CHANNEL})
        assert await to.read(17) == b"<ready><new><all>"
        assert to.nothing_there()
        assert outbox.fd >= 0


async def test_the_cursor_is_for_the_channels_that_were_joined() -> None:
    """What another channel brought while a session joined was in no snapshot, so it is still told."""
    async with link() as to:
        outbox = attached(to)
        outbox.hold()
        assert write_all([Holder(outbox)], [frame(b"<inbox>", USER, 5)]) == []
        assert outbox.release(cursor(5, everyone=2), {GLOBAL_CHANNEL})
        assert await to.read(7) == b"<inbox>"


async def test_what_others_brought_goes_before_what_is_told() -> None:
    """A session that joins a job while it hears its inbox is told of both in the order of positions."""
    async with link() as to:
        outbox = attached(to)
        outbox.hold()
        before = [frame(b"<inbox5>", USER, 5), frame(b"<job6>", JOB, 6), frame(b"<all2>", GLOBAL_CHANNEL, 2)]
        behind = [frame(b"<inbox8>", USER, 8), frame(b"<job9>", JOB, 9), frame(b"<all3>", GLOBAL_CHANNEL, 3)]
        assert write_all([Holder(outbox)], [*before, *behind]) == []
        assert outbox.pass_on(cursor(7, everyone=2), {JOB})
        assert outbox.fd == -1
        assert outbox.send(b"<snapshot7>")
        assert write_all([Holder(outbox)], [frame(b"<inbox10>", USER, 10)]) == []
        assert outbox.release(cursor(7, everyone=2), {JOB})
        expected = b"<inbox5><all2><snapshot7><inbox8><job9><all3><inbox10>"
        assert await to.read(len(expected)) == expected
        assert (outbox.waiting, outbox.fd >= 0) == (0, True)


async def test_what_others_brought_has_to_fit() -> None:
    """Passing on is bounded as everything is, and so is what is still held."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to, limit=512 * 1024)
        congest(outbox)
        room = 512 * 1024 - outbox.waiting
        outbox.hold()
        assert outbox.offer([frame(b"h" * (room // 2), USER, 1), frame(b"h" * (room // 3), USER, 9)])
        waiting = outbox.waiting
        assert outbox.pass_on(cursor(5), ())
        assert outbox.waiting == waiting
        assert not outbox.offer([frame(b"h" * room, USER, 10)])
        assert not outbox.release(cursor(5), ())


async def test_holding_is_bounded_too() -> None:
    """A session that joins for ever does not collect for ever."""
    async with link() as to:
        outbox = attached(to, limit=100_000)
        outbox.hold()
        assert outbox.offer([frame(b"h" * 90_000)])
        assert not outbox.offer([frame(b"h" * 20_000)])


async def test_moving_takes_along_what_waits_and_what_is_held() -> None:
    """Another transport goes on where the first has stopped, in its own bytes and in order."""
    async with link(send_buffer=4096) as slow, link() as quick:
        outbox = attached(slow)
        congest(outbox)
        assert outbox.offer([frame(b"waits "), frame(b"too ", JOB, 2)])
        outbox.hold()
        assert outbox.offer([frame(b"held ", USER, 3)])
        outbox.move(quick.transport, bytes.upper)
        assert not outbox.congested
        assert outbox.send(b"said ")
        assert outbox.release(cursor(2), [USER])
        assert outbox.send(b"last")
        assert await quick.read(24) == b"WAITS TOO said HELD last"
        assert outbox.fd >= 0


async def test_a_replay_is_told_as_the_link_takes_it() -> None:
    """Contract, section 9: "its own outbox is bounded in bytes": of a long replay next to nothing is made ahead."""
    made = 0

    def told() -> Iterator[bytes]:
        nonlocal made
        for number in range(PIECES):
            made += 1
            yield b"%d," % number + b"." * 65536

    async with link(send_buffer=4096) as to:
        outbox = attached(to, limit=100_000)
        assert outbox.send(b"first,")
        outbox.replay(told())
        assert outbox.send(b"then,")
        assert outbox.offer([frame(b"live,")])
        ahead = made
        whole = (
            b"first," + b"".join(b"%d," % number + b"." * 65536 for number in range(PIECES)) + b"then,live,"
        )
        # Buffers of the system hold a few pieces, whatever size they were asked to have.
        assert 1 <= ahead <= PIECES // 2
        assert await to.read(len(whole)) == whole
        assert made == PIECES
        await _until_free(outbox)
        assert outbox.fd >= 0
        outbox.replay(iter([b"short"]))
        assert outbox.fd >= 0
        assert await to.read(5) == b"short"


async def test_the_limit_is_that_of_what_waits_behind_a_replay() -> None:
    """What comes while a client is told what it missed is bounded as ever."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to, limit=LIMIT)
        congest(outbox)
        waiting = outbox.waiting
        outbox.replay(iter([b"x" * 65536] * 100))
        assert outbox.waiting == waiting
        assert outbox.send(b"x" * (LIMIT - waiting))
        assert not outbox.send(b"x")


async def test_a_replay_that_is_given_up_takes_along_what_came_behind() -> None:
    """Nobody's position may pass what they were not told; what was sent before the replay stays."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to)
        filler = congest(outbox)
        assert outbox.send(b"before ")
        waiting = outbox.waiting
        outbox.replay(iter([b"missed "]))
        assert outbox.offer([frame(b"live ")])
        outbox.cut()
        assert outbox.waiting == waiting
        assert outbox.send(b"farewell")
        assert (await to.read(filler + 15))[filler:] == b"before farewell"
        outbox.replay(iter([b"missed"]))
        outbox.cut()


async def test_taking_leaves_no_replay() -> None:
    """What is taken is what would have been sent before a replay."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to)
        congest(outbox)
        assert outbox.send(b"before")
        outbox.replay(iter([b"missed "]))
        assert outbox.send(b"behind")
        assert outbox.take().endswith(b"before")
        assert outbox.take() == b""


async def test_moving_takes_a_replay_along() -> None:
    """Another transport goes on amid a replay, in its own bytes."""
    async with link(send_buffer=4096) as slow, link() as quick:
        outbox = attached(slow)
        congest(outbox)
        assert outbox.send(b"before ")
        outbox.replay(iter([b"one ", b"two "]))
        assert outbox.offer([frame(b"live")])
        outbox.move(quick.transport, bytes.upper)
        quick.carrier.on_resume = outbox.writable
        assert await quick.read(19) == b"BEFORE ONE TWO LIVE"
        await _until_free(outbox)
        assert outbox.waiting == 0


async def test_a_broken_connection_is_reported_and_harms_no_other() -> None:
    """A write that fails names its session; the others get theirs."""
    async with link() as broken, link() as whole:
        dead, alive = Holder(attached(broken)), Holder(attached(whole))
        broken.peer.close()
        failed: list[Holder] = []
        for _ in range(100):
            failed = write_all([dead, alive], [frame(b"x" * 65536)])
            await whole.read(65536)
            if failed or dead.outbox.fd == -1:
                break
        assert failed == [dead] or dead.outbox.fd == -1


async def test_stalled_only_when_no_byte_moves() -> None:
    """Contract, section 5: "closed ... on a write that cannot progress for 20 s"."""
    async with link(send_buffer=4096) as to:
        outbox = attached(to)
        assert not outbox.stalled(0.0, 20.0)
        filler = congest(outbox)
        assert not outbox.stalled(100.0, 20.0)
        assert not outbox.stalled(119.0, 20.0)
        assert outbox.stalled(120.0, 20.0)
        await to.read(filler)
        assert not outbox.stalled(140.0, 20.0)


async def test_nothing_is_written_after_closing() -> None:
    """A descriptor may belong to somebody else by then, and a closed transport must not be spoken to."""
    async with link() as to:
        outbox = attached(to)
        outbox.hold()
        outbox.close()
        to.transport.abort()
        await to.carrier.lost.wait()
        assert outbox.fd == -1
        assert outbox.send(b"late")
        assert write_all([Holder(outbox)], [frame(b"late")]) == []
        assert outbox.pass_on(cursor(0), ())
        assert outbox.release(cursor(0), ())
        assert (outbox.fd, outbox.waiting) == (-1, 0)


async def _until_free(outbox: Outbox) -> None:
    async with asyncio.timeout(10):
        while outbox.congested:  # noqa: ASYNC110  the transport's call-back is the event that is waited for
            await asyncio.sleep(0)
