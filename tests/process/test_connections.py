"""Connections to Redis under threads, forks, cancelled calls and a Redis that stops answering."""

from __future__ import annotations

import asyncio
import functools
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import MaxConnectionsError, RedisError

from delayserver.redis_hosts import MAX_CONNECTIONS
from delayserver.redis_link import RedisLink

from ..support.servers import RedisServer, SentinelServer
from ..support.wait import await_for
from .conftest import Site


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink.of(redis_url)
    yield link
    await link.aclose()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def test_more_calls_at_once_than_there_may_be_connections(own_redis: RedisServer) -> None:
    link = RedisLink.of(own_redis.url)
    answers = await asyncio.gather(*(link.here.ask("ECHO", str(n)) for n in range(10 * MAX_CONNECTIONS)))
    assert answers == [str(n).encode() for n in range(10 * MAX_CONNECTIONS)]
    clients = await link.here.ask("CLIENT", "LIST")
    assert len(clients.splitlines()) <= MAX_CONNECTIONS
    await link.aclose()


async def test_a_cancelled_call_never_gives_its_reply_to_another(link: RedisLink) -> None:
    async def given_up(n: int) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001 * (n % 3)):
                await link.here.ask("EVAL", "local n = 0 while n < 3000000 do n = n + 1 end return 'late'", 0)

    for n in range(20):
        await asyncio.gather(given_up(n), *(_echoes(link, m) for m in range(5)))


async def _echoes(link: RedisLink, n: int) -> None:
    assert await link.here.ask("ECHO", str(n)) == str(n).encode()


async def test_what_redis_closed_while_it_was_idle_is_not_used_again(link: RedisLink) -> None:
    for _ in range(5):
        await link.here.ask("PING")
        link.sync.ask("PING")
        killer = RedisLink.of(link.host)
        await killer.here.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        await killer.aclose()
        await asyncio.sleep(0.05)
        assert await link.here.ask("ECHO", "again") == b"again"
        assert link.sync.ask("ECHO", "again") == b"again"


async def test_a_redis_that_does_not_answer_is_given_up_after_some_seconds_and_found_again(
    own_redis: RedisServer,
) -> None:
    link = RedisLink.of(own_redis.url)
    await link.here.ask("PING")
    assert own_redis.process is not None
    own_redis.process.signal(signal.SIGSTOP)
    start = time.monotonic()
    calls = asyncio.gather(*(link.here.ask("PING") for _ in range(5)), return_exceptions=True)
    in_thread = asyncio.to_thread(_failure, link)
    assert all(isinstance(error, RedisError | OSError) for error in await calls)
    assert isinstance(await in_thread, RedisError | OSError)
    assert 4 < time.monotonic() - start < 15
    own_redis.process.signal(signal.SIGCONT)
    assert await link.here.ask("ECHO", "again") == b"again"
    assert link.sync.ask("ECHO", "again") == b"again"
    await link.aclose()


def _failure(link: RedisLink) -> Exception | None:
    try:
        link.sync.ask("PING")
    except (RedisError, OSError) as error:
        return error
    return None


def test_threads_share_connections_and_not_replies(redis_url: str) -> None:
    link = RedisLink.of(redis_url)

    def echo(thread: int) -> list[bytes]:
        return [link.sync.ask("ECHO", f"{thread} {n}") for n in range(100)]

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(echo, range(20)))
    assert answers == [[f"{thread} {n}".encode() for n in range(100)] for thread in range(20)]


def test_a_forked_process_has_connections_of_its_own(site: Site) -> None:
    sender = site.run(
        "import os\n"
        "from delayserver import send_later\n"
        "send = lambda n: send_later('sink', {'type': 'probe', 'n': n}, delay=3_600_000)\n"
        "before = send(0)\n"
        "child = os.fork()\n"
        "ids = {send(n).id for n in range(500)}\n"
        "assert len(ids) == 500\n"
        "if child:\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    print('both are done')\n"
    )
    assert sender.wait() == 0
    assert "both are done" in sender.output
    with site.redis() as client:
        assert client.zcard("{delayserver:asgi}:waiting") == 1_001


async def test_behind_sentinel_both_kinds_of_connection_find_the_master(own_redis: RedisServer) -> None:
    with SentinelServer(own_redis.port) as sentinel:
        link = RedisLink.of(sentinel.host)
        assert link.sync.ask("ECHO", "sync") == b"sync"
        assert await link.here.ask("ECHO", "async") == b"async"
        await link.aclose()


async def test_failed_calls_use_up_no_connections(own_redis: RedisServer) -> None:
    with SentinelServer(own_redis.port) as sentinel:
        links = [RedisLink.of(own_redis.url), RedisLink.of(sentinel.host)]
        for link in links:
            assert link.sync.ask("ECHO", "before") == await link.here.ask("ECHO", "before") == b"before"
        own_redis.stop()
        for _ in range(2 * MAX_CONNECTIONS):
            for link in links:
                assert isinstance(_failure(link), RedisError | OSError)
                with pytest.raises((RedisError, OSError)):
                    await link.here.ask("PING")
        own_redis.start()
        for link in links:
            await await_for(functools.partial(_works, link), 20, "a connection that finds Redis again")
            await link.aclose()


async def _works(link: RedisLink) -> bool:
    """Whether both kinds do; what fails for another reason than an absent Redis is an error."""
    try:
        return bool(link.sync.ask("ECHO", "again") == await link.here.ask("ECHO", "again") == b"again")
    except MaxConnectionsError:
        raise
    except (RedisError, OSError):
        return False
