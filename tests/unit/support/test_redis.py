"""The Redis of the tests is real and can come back where it was."""

from redis.asyncio import Redis

from tests.support.redis import serving


async def test_server_works_and_forgets() -> None:
    """A server keeps what it is told while it lives; the next one on its port starts empty."""
    with serving() as server:
        async with Redis.from_url(server.url) as client:
            await client.set("key", "value")
            assert await client.get("key") == b"value"
    with serving(server.port) as again:
        assert again.url == server.url
        async with Redis.from_url(again.url) as client:
            assert await client.dbsize() == 0
