"""Worker channels of channels_redis: what is taken is in one hand alone, and in nobody's only once it is done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from delayserver.layers import channels_redis_source
from delayserver.layers.base import Charge, Desired, Taken, Turn
from delayserver.layers.channels_redis import RedisLayer
from delayserver.layers.channels_redis_source import RedisSource
from delayserver.redis_hosts import decode_host
from delayserver.redis_link import RedisLink

from ..support.servers import RedisServer
from ..support.wait import await_for

Opener = Callable[..., Awaitable[RedisSource]]
PATIENCE = 10.0


@pytest.fixture
def config() -> dict[str, Any]:
    return {}


@pytest.fixture
async def another(layer: RedisLayer) -> AsyncIterator[Opener]:
    """Opens a source, as another worker has it."""
    async with AsyncExitStack() as closing:

        async def open_one(*channels: str, wake: Callable[[], None] = lambda: None) -> RedisSource:
            [source] = layer.sources(channels or ["a", "b"])
            assert isinstance(source, RedisSource)
            await source.open(wake)
            closing.push_async_callback(source.aclose)
            return source

        yield open_one


@pytest.fixture
async def source(another: Opener) -> RedisSource:
    return await another()


async def send(layer: RedisChannelLayer, channel: str, *numbers: int) -> None:
    for n in numbers:
        await layer.send(channel, {"type": "probe", "n": n})


async def turn(
    source: RedisSource, *desired: Desired, most: int = 100, done: Sequence[Taken] = (), over: bool = True
) -> Turn:
    return await source.turn(done, desired or [Desired("a", 100), Desired("b", 100)], most, over=over)


def numbers(taken: Sequence[Taken]) -> list[int]:
    assert all(isinstance(one.content, dict) for one in taken), taken
    return [one.content["n"] for one in taken]  # type: ignore[index]


def short_leases(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.03) -> None:
    monkeypatch.setattr(channels_redis_source, "LEASE_SECONDS", seconds)


async def until_over(source: RedisSource) -> list[Taken]:
    """What is beyond its lease, once it is."""
    found: list[Taken] = []

    async def look() -> list[Taken]:
        found.extend((await turn(source)).taken)
        return found

    await await_for(look, PATIENCE, "a lease to be over")
    return found


# -- taking --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [{}, {"serializer_format": "json"}, {"symmetric_encryption_keys": ["a key"]}, {"prefix": "mine"}],
    ids=["msgpack", "json", "encrypted", "other prefix"],
)
async def test_what_channels_redis_sends_is_taken_once_and_in_order(
    source: RedisSource, channel_layer: RedisChannelLayer, config: dict[str, Any]
) -> None:
    await send(channel_layer, "a", *range(30))
    first, second = await turn(source, most=20), await turn(source)
    assert numbers(first.taken) + numbers(second.taken) == list(range(30))
    assert {one.fault for one in first.taken} == {None}
    assert not any(one.again for one in first.taken)
    assert (await turn(source, done=[*first.taken, *second.taken])).lost == []
    assert await channel_layer.connection(0).keys("*") == []


async def test_of_each_channel_at_most_its_own_and_in_all_most_and_to_each_its_share(
    source: RedisSource, channel_layer: RedisChannelLayer
) -> None:
    await send(channel_layer, "a", *range(20))
    await send(channel_layer, "b", *range(20))
    taken = (await turn(source, Desired("a", 3), Desired("b", 9), most=6)).taken
    assert Counter(one.channel for one in taken) == {"a": 3, "b": 3}
    taken = (await turn(source, Desired("a", 1), Desired("b", 9), most=6)).taken
    assert Counter(one.channel for one in taken) == {"a": 1, "b": 5}
    assert (await turn(source, most=0)).taken == []


async def test_what_is_done_without_anything_desired_is_handed_in(
    source: RedisSource, channel_layer: RedisChannelLayer
) -> None:
    await send(channel_layer, "a", 1)
    taken = (await turn(source)).taken
    assert (await source.turn(taken, [], 0, over=True)).lost == []
    assert await channel_layer.connection(0).keys("*") == []


async def test_two_never_get_the_same(another: Opener, channel_layer: RedisChannelLayer) -> None:
    total, seen = 3_000, list[int]()
    channel_layer.capacity = total
    sources = [await another() for _ in range(4)]

    async def consume(source: RedisSource) -> None:
        done: Sequence[Taken] = ()
        while len(seen) < total:
            done, lost, _ = await turn(source, Desired("a", 13), Desired("b", 7), most=17, done=done)
            assert not lost
            seen.extend(numbers(done))
        await turn(source, Desired("a", 0), most=0, done=done)

    async def produce() -> None:
        for n in range(total):
            await send(channel_layer, "ab"[n % 2], n)

    async with asyncio.timeout(60):
        await asyncio.gather(produce(), *map(consume, sources))
    assert sorted(seen) == list(range(total))
    assert await channel_layer.connection(0).keys("*") == []


async def test_a_turn_takes_no_more_bytes_than_fit_and_says_that_there_are_more(
    source: RedisSource, channel_layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels_redis_source, "MAX_BATCH_BYTES", 100_000)
    for n in range(10):
        await channel_layer.send("a", {"type": "probe", "n": n, "text": "x" * 40_000})
    taken, _, seconds = await turn(source)
    assert numbers(taken) == [0, 1, 2]
    assert seconds == 0
    taken, _, seconds = await turn(source, most=2)
    assert numbers(taken) == [3, 4]
    assert seconds > 0


# -- leases --------------------------------------------------------------------------------------------------


async def test_what_is_beyond_its_lease_is_anothers_and_who_had_it_is_refused(
    source: RedisSource, another: Opener, channel_layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await another()
    await send(channel_layer, "a", 1)
    short_leases(monkeypatch)
    [old] = (await turn(source)).taken
    monkeypatch.undo()
    [new] = await until_over(other)
    assert (new.raw, new.content, new.again) == (old.raw, old.content, True)
    assert new.generation != old.generation
    assert source.renew([old]) == [False]
    assert (await turn(source, done=[old])).lost == [old]
    await source.give_back([old])
    assert (await turn(source)).taken == []
    assert other.renew([new]) == [True]
    assert (await turn(other, done=[new])).lost == []
    assert await channel_layer.connection(0).keys("*") == []


async def test_who_takes_its_own_again_has_another_generation(
    source: RedisSource, channel_layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(channel_layer, "a", 1)
    short_leases(monkeypatch)
    [old] = (await turn(source)).taken
    [new] = await until_over(source)
    [newest] = await until_over(source)
    assert old.generation != new.generation != newest.generation
    assert source.renew([new, newest]) == [False, True]


async def test_a_lease_that_is_renewed_is_not_over_and_without_over_none_is_taken(
    source: RedisSource, another: Opener, channel_layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await another()
    await send(channel_layer, "a", 1, 2)
    short_leases(monkeypatch)
    kept, _ = (await turn(source)).taken
    monkeypatch.undo()
    assert source.renew([kept]) == [True]
    await asyncio.sleep(0.05)  # the other's lease
    assert (await turn(other, over=False)).taken == []
    assert numbers(await until_over(other)) == [2]


async def test_what_may_be_lost_is_out_of_the_layer_at_once(
    source: RedisSource, channel_layer: RedisChannelLayer
) -> None:
    await send(channel_layer, "a", 1)
    [one] = (await turn(source, Desired("a", 5, keep=False))).taken
    assert one.generation == b""
    assert await channel_layer.connection(0).keys("*") == []


async def test_what_may_be_lost_and_was_in_hand_is_taken_over_once(
    source: RedisSource, another: Opener, channel_layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that kept it died; the one that comes after it was started with other options."""
    await send(channel_layer, "a", 1)
    short_leases(monkeypatch)
    await turn(source)
    other, found = await another(), list[Taken]()

    async def look() -> list[Taken]:
        found.extend((await turn(other, Desired("a", 5, keep=False))).taken)
        return found

    await await_for(look, PATIENCE, "the lease to be over")
    assert numbers(found) == [1]
    assert (await turn(other)).taken == []
    assert await channel_layer.connection(0).keys("*") == []


# -- back ----------------------------------------------------------------------------------------------------


async def test_what_is_given_back_comes_first_again_in_its_order_and_to_anyone(
    source: RedisSource, another: Opener, channel_layer: RedisChannelLayer
) -> None:
    await send(channel_layer, "a", *range(6))
    taken = (await turn(source, most=4)).taken
    await source.give_back(taken)
    assert await channel_layer.receive("a") == {"type": "probe", "n": 0}
    other = await another()
    rest = (await turn(other)).taken
    assert numbers(rest) == [1, 2, 3, 4, 5]
    assert not any(one.again for one in rest)
    await source.give_back(taken)  # it is no longer its own
    assert (await turn(source)).taken == []


async def test_whoever_counts_deaths_counts_each_message_for_itself(source: RedisSource, another: Opener) -> None:
    other = await another()
    assert await source.charges([], Charge.DIED) == []
    assert await source.charges(["x", "y"], Charge.READ) == [0, 0]
    assert await source.charges(["x"], Charge.DIED) == [1]
    assert await other.charges(["x"], Charge.BEGUN) == [2]
    assert await other.charges(["x", "y"], Charge.DIED) == [2, 1]
    assert await other.charges(["y"], Charge.CLEARED) == [0]
    assert await source.charges(["x", "y"], Charge.READ) == [2, 0]


# -- whatever lies there -------------------------------------------------------------------------------------


async def test_what_does_not_decode_is_told_and_holds_up_nothing(
    source: RedisSource, channel_layer: RedisChannelLayer
) -> None:
    await send(channel_layer, "a", 1)
    await channel_layer.connection(0).zadd("asgia", {b"junk": 1.0, b"\xc1" * 20: 2.0})
    taken = (await turn(source)).taken
    assert [one.fault is None for one in taken] == [False, False, True]
    assert taken[0].fault is not None
    assert taken[0].fault.startswith("expected a message in the layer's format, got one that does not decode (")
    assert (await turn(source, done=taken)).lost == []


async def test_every_key_ends_by_itself(source: RedisSource, channel_layer: RedisChannelLayer) -> None:
    await send(channel_layer, "a", 1, 2)
    taken = (await turn(source)).taken
    await source.charges(["x"], Charge.DIED)
    source.renew(taken)
    await source.give_back(taken[:1])
    connection = channel_layer.connection(0)
    ends = {key: await connection.ttl(key) for key in await connection.keys("*")}
    assert len(ends) == 3
    assert all(0 < seconds <= 86_400 for seconds in ends.values()), ends
    await turn(source, done=taken[1:])


async def test_out_of_memory_it_still_takes_and_hands_in_and_gives_back() -> None:
    with RedisServer("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        channel_layer = RedisChannelLayer(hosts=[{"address": server.url, "socket_timeout": None}], capacity=10_000)
        layer = RedisLayer(channel_layer)
        await layer.open()
        [source] = layer.sources(["a", "b"])
        await source.open(lambda: None)
        await send(channel_layer, "a", *range(40))
        with server.client() as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(Exception, match=r"OOM|maxmemory"):
                client.set("x", "y")
        desired = [Desired("a", 30), Desired("b", 1)]
        taken, _, _ = await source.turn((), desired, 30, over=True)
        assert numbers(taken) == list(range(30))
        assert (await source.turn(taken[:20], [], 0, over=True)).lost == []
        await source.give_back(taken[20:])
        again, _, _ = await source.turn((), desired, 30, over=True)
        assert numbers(again) == list(range(20, 40))
        await source.aclose()
        await layer.aclose()
        await channel_layer.close_pools()


# -- when to look --------------------------------------------------------------------------------------------


async def test_what_comes_to_any_of_its_channels_wakes_it_also_where_a_name_begins_with_another(
    another: Opener, channel_layer: RedisChannelLayer
) -> None:
    woken = asyncio.Event()
    await another("ab", "a", "c", wake=woken.set)
    for channel in ("a", "ab", "c"):
        async with asyncio.timeout(PATIENCE):
            await woken.wait()
            woken.clear()
            await send(channel_layer, channel, 1)
    async with asyncio.timeout(PATIENCE):
        await woken.wait()


async def test_where_the_server_refuses_to_tell_it_looks_again_soon(
    source: RedisSource, redis_server: RedisServer, redis_url: str, channel_layer: RedisChannelLayer
) -> None:
    async def hears() -> bool:
        return (await turn(source)).seconds == channels_redis_source.POLL_SECONDS

    await await_for(hears, PATIENCE, "it to hear")
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
    host = decode_host({"address": redis_url.replace("redis://", "redis://deaf:secret@")})
    deaf = RedisSource(channel_layer, RedisLink(host), ["a"])
    await deaf.open(lambda: None)
    await send(channel_layer, "a", 1)
    taken, _, seconds = await deaf.turn((), [Desired("a", 5)], 5, over=True)
    assert numbers(taken) == [1]
    assert seconds == channels_redis_source.DEAF_POLL_SECONDS
    await deaf.turn(taken, [], 0, over=True)
    await deaf.aclose()
    await deaf._link.aclose()
    with redis_server.client() as client:
        client.execute_command("ACL", "DELUSER", "deaf")


async def test_each_host_has_a_source(redis_url: str) -> None:
    with RedisServer() as second:
        hosts = [{"address": url, "socket_timeout": None} for url in (redis_url, second.url)]
        channel_layer = RedisChannelLayer(hosts=hosts)
        layer = RedisLayer(channel_layer)
        await layer.open()
        await send(channel_layer, "a", *range(10))
        sources = layer.sources(["a"])
        found = [numbers((await one.turn((), [Desired("a", 50)], 50, over=True)).taken) for one in sources]
        assert [len(some) for some in found] == [5, 5]
        assert sorted(found[0] + found[1]) == list(range(10))
        await layer.aclose()
        await channel_layer.close_pools()
