"""What only the Redis store has to be asked: its own clock, a server that takes no writes, bytes of other programs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis

from delayserver.conf import REDIS_LAYER, LayerSettings
from delayserver.errors import StoreUnavailable
from delayserver.message import DeadLetter, Target, Ticket, Waiting, derived_id
from delayserver.redis_link import RedisLink
from delayserver.stores.base import MAX_BATCH, Acked, Named
from delayserver.stores.entries import Change, Entry
from delayserver.stores.moves import Move, Moved, Step
from delayserver.stores.redis import RedisStore
from delayserver.stores.redis_members import pack_id
from delayserver.stores.redis_shelf import MAX_ACT_BYTES
from delayserver.stores.shelf import MAX_LISTED_BYTES, Wanted

from ..support.clock import NOW
from ..support.servers import free_port
from .entries import KEEP, change
from .occurrences import do, first, occurrence
from .places import LEASE, ids, waiting
from .tickets import TIMEOUT, handed_over, retried


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(LayerSettings("default", REDIS_LAYER, {}), redis_url)
    await store.aread_clock()
    yield store
    await store._link.aclose()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def takes_no_writes(client: redis.Redis) -> Iterator[Callable[[], object]]:
    """Makes Redis refuse every write, as it does without its replicas."""
    yield lambda: client.config_set("min-replicas-to-write", 1)
    client.config_set("min-replicas-to-write", 0)


@pytest.fixture
def out_of_memory(client: redis.Redis) -> Iterator[Callable[[], object]]:
    yield lambda: client.config_set("maxmemory", 1)
    client.config_set("maxmemory", 0)


async def test_a_redis_that_takes_no_writes_can_still_be_asked(
    store: RedisStore, takes_no_writes: Callable[[], object]
) -> None:
    message = waiting(NOW, key="k")
    await store.aput([message, *[waiting(NOW) for _ in range(40)]])
    await store.refuse([DeadLetter("dead", NOW, "no", "sink", b"x")])
    takes_no_writes()
    assert await store.aget(Named(message.id)) == await store.aget(Named(key="k")) == message
    first = await store.look(Wanted(), 3)
    assert ids([one.message for one in first.listed])[0] == message.id
    assert len((await store.look(Wanted(), 100, first.rest)).listed) == 38
    assert (await store.tally())[0][Target("channel", "sink")].waiting == 41
    assert [letter.id for letter in await store.dead_letters(5)] == ["dead"]
    assert await store.first_due() == NOW


async def test_whether_a_message_has_expired_is_told_by_rediss_own_clock(store: RedisStore) -> None:
    now = store.clock.now()
    message = waiting(now, key="k", expires=now + 60_000)
    await store.aput([message])
    hour = 3_600_000_000_000
    clock = store._store_clock
    clock._behind, clock._ahead = (clock._behind or 0) + hour, clock._ahead + hour  # this process's is an hour fast
    assert store.clock.now() > now + 60_000
    assert await store.aget(Named(key="k")) == message
    assert (await store.aput([waiting(NOW, key="k")]))[0].created is False
    assert await store.acancel([Named(message.id)]) == [True]


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_message_whose_bytes_differ_when_it_comes_again_is_stored_once(
    store: RedisStore, key: str | None
) -> None:
    """As one from another Redis does, that is encrypted anew or expires a little later."""
    id = derived_id(1_800_000_000_000_000, b"raw")
    for n in range(2):
        message = Waiting(id, NOW + n, Target("channel", "sink"), b"sealed" + bytes([n]), key=key, expires=NOW + 9 + n)
        [receipt] = await store.aput([message])
        assert (receipt.id, receipt.created) == (id, True)
    assert await store.count() == 1
    assert await store.acancel([Named(id)]) == [True]


# -- tickets ---------------------------------------------------------------------------------------------------


async def test_a_redis_out_of_memory_is_still_acked(
    store: RedisStore, out_of_memory: Callable[[], object], client: redis.Redis
) -> None:
    tickets = await handed_over(store, retried(NOW, key="a"), retried(NOW + 1), retried(NOW + 2, key="b"))
    claims = await store.claim(NOW + 9 * TIMEOUT, 1, LEASE)
    assert await store.hold_back(claims, ["sink"]) == [True]
    out_of_memory()
    with pytest.raises(StoreUnavailable):
        await store.aput([waiting(NOW, key="k")])
    assert await store.ack(tickets[:2]) == [Acked.DONE] * 2
    assert await store.arenew(tickets[2:], NOW) == [NOW + TIMEOUT]
    [claim] = await store.reclaim(tickets[2:], NOW, LEASE)
    assert claim is not None
    assert await store.finish([claim]) == [True]
    assert client.keys() == []


async def test_what_a_redis_does_not_take_is_told_as_such(
    store: RedisStore, takes_no_writes: Callable[[], object]
) -> None:
    [ticket] = await handed_over(store, retried())
    takes_no_writes()
    for call in (store.ack([ticket]), store.arenew([ticket], NOW), store.reclaim([ticket], NOW, LEASE)):
        with pytest.raises(StoreUnavailable):
            await call
    with pytest.raises(StoreUnavailable):
        store.renew([ticket], NOW)


@pytest.mark.parametrize("size", [100, 60_000])
async def test_tickets_are_answered_in_acts_that_are_not_long(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """All due at one instant, where to find one message takes reading others."""
    tickets: list[Ticket] = []
    for _ in range(0, 120, 10):
        tickets += await handed_over(store, *(retried(body=b"x" * size) for _ in range(10)))
    answered: list[int] = []
    arun = RedisLink.arun

    async def count(*args: Any) -> Any:
        reply = await arun(*args)
        answered.append(len(reply))
        return reply

    monkeypatch.setattr(RedisLink, "arun", count)
    assert await store.arenew(tickets, NOW) == [NOW + TIMEOUT] * 120
    assert await store.ack(tickets) == [Acked.DONE] * 120
    assert max(answered) <= (120 if size == 100 else MAX_ACT_BYTES // (2 * size) + 1)


# -- schedules -------------------------------------------------------------------------------------------------


async def test_a_redis_out_of_memory_makes_a_move_wholly_or_not_at_all(
    store: RedisStore, out_of_memory: Callable[[], object], client: redis.Redis
) -> None:
    old, new = occurrence(), occurrence(60)
    await do(store, first(old))
    out_of_memory()
    with pytest.raises(StoreUnavailable):
        await do(store, Move("nightly", b"1", b"2", put=[new]))
    assert (await store.cursors(), await store.count()) == ({"nightly": b"1"}, 1)
    assert await do(store, Move("nightly", b"1", None, take=[old.id])) == Moved(Step.DONE, None, 1)
    assert client.keys() == []


@pytest.mark.parametrize("name", ["waiting", "moved", "schedules"])
async def test_a_key_of_another_type_makes_no_move(store: RedisStore, client: redis.Redis, name: str) -> None:
    key = store._keys.waiting.removesuffix("waiting") + name
    client.set(key, "no such thing")
    with pytest.raises(StoreUnavailable):
        await do(store, first(occurrence()))
    assert client.keys() == [key.encode()]
    client.flushdb()


async def test_what_is_found_at_one_instant_is_taken_in_acts_that_are_not_long(store: RedisStore) -> None:
    moves = [first(occurrence(schedule=f"s{n}")) for n in range(MAX_BATCH)]
    await store.put_occurrences(moves)
    moves = [Move(move.schedule, b"1", None, take=[move.put[0].id], sure=True) for move in moves]
    assert await store.put_occurrences(moves) == [Moved(Step.DONE, None, 1)] * MAX_BATCH
    assert await store.count() == 0


# -- entries ---------------------------------------------------------------------------------------------------


def entry_key(store: RedisStore, name: str) -> str:
    return store._keys.waiting.removesuffix("waiting") + f"entry:{name}"


async def test_every_entry_ends_by_itself(store: RedisStore, client: redis.Redis) -> None:
    await store.change_entries([Change("a", None, b"1", 5_000), Change("a", 1, b"2", KEEP), Change("b", 0, b"", 5_000)])
    assert 5_000 < client.pttl(entry_key(store, "a")) <= KEEP
    assert 0 < client.pttl(entry_key(store, "b")) <= 5_000
    assert sorted(client.keys()) == [entry_key(store, name).encode() for name in "ab"]


async def test_what_is_no_entry_is_nothing_and_gives_way(store: RedisStore, client: redis.Redis) -> None:
    client.set(entry_key(store, "text"), "no such thing")
    for name, version in {"negative": "-1", "huge": "9" * 400, "fraction": "1.5", "hex": "0x1", "word": "nan"}.items():
        client.hset(entry_key(store, name), mapping={"v": version, "b": "x"})
    client.hset(entry_key(store, "bare"), "b", "x")
    names = ["text", "negative", "huge", "fraction", "hex", "word", "bare", "good"]
    assert await store.entries(names) == [None] * len(names)
    assert await store.change_entries([Change(name, 1, b"never", KEEP) for name in names]) == [0] * len(names)
    assert await store.change_entries([Change(name, 0, b"1", KEEP) for name in names]) == [1] * len(names)
    assert await store.entries(names) == [Entry(1, b"1")] * len(names)


async def test_an_entry_without_its_body_is_nothing(store: RedisStore, client: redis.Redis) -> None:
    client.hset(entry_key(store, "a"), "v", 3)
    assert await store.entries(["a"]) == [None]
    assert await change(store, "a", 0, b"1") == 1
    assert await store.entries(["a"]) == [Entry(1, b"1")]


async def test_a_redis_that_takes_no_writes_keeps_its_entries_and_tells_so(
    store: RedisStore, takes_no_writes: Callable[[], object]
) -> None:
    await change(store, "a", 0, b"1")
    takes_no_writes()
    with pytest.raises(StoreUnavailable):
        await change(store, "a", 1, b"2")
    assert await store.entries(["a"]) == [Entry(1, b"1")]


async def test_a_redis_out_of_memory_changes_an_entry_wholly_or_not_at_all(
    store: RedisStore, out_of_memory: Callable[[], object], client: redis.Redis
) -> None:
    await change(store, "a", 0, b"1")
    out_of_memory()
    for name, seen in {"a": 1, "b": 0}.items():
        with pytest.raises(StoreUnavailable):
            await change(store, name, seen, b"2")
    assert await store.entries(["a", "b"]) == [Entry(1, b"1"), None]
    assert client.keys() == [entry_key(store, "a").encode()]


async def test_large_entries_are_read_and_changed_in_acts_that_are_not_long(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"n{n}" for n in range(60)]
    answered: list[int] = []
    arun = RedisLink.arun

    async def count(*args: Any) -> Any:
        reply = await arun(*args)
        answered.append(len(reply))
        return reply

    monkeypatch.setattr(RedisLink, "arun", count)
    body = b"x" * 60_000
    assert await store.change_entries([Change(name, 0, body, KEEP) for name in names]) == [1] * 60
    assert await store.entries(names) == [Entry(1, body)] * 60
    assert sum(answered) == 120
    assert max(answered) <= MAX_ACT_BYTES // len(body) + 1


async def test_entries_of_a_redis_that_is_away_are_told_as_such() -> None:
    store = RedisStore(LayerSettings("default", REDIS_LAYER, {}), f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable):
        await store.entries(["a"])
    with pytest.raises(StoreUnavailable):
        await change(store, "a", 0)


# -- bytes of other programs -----------------------------------------------------------------------------------


async def test_options_that_are_none_hold_up_nobody(store: RedisStore, client: redis.Redis) -> None:
    member = pack_id("junk") + b"\6\4sink" + b"\0\1k" + b"\0\3\xc1\xc1\xc1" + b"\x80"
    client.zadd(store._keys.waiting, {member: NOW})
    client.hset(store._keys.moved, pack_id("junk"), NOW)
    client.hset(store._keys.keys, "k", pack_id("junk"))
    [receipt] = await store.aput([waiting(NOW, key="k")])
    assert receipt == ("junk", NOW, False)
    assert await store.acancel([Named(key="k")]) == [True]
    assert await store.count() == 0


async def test_a_dead_letter_that_is_none_is_shown_as_such(store: RedisStore, client: redis.Redis) -> None:
    letters = [DeadLetter(f"good {n}", NOW + n, "no", "sink", b"x") for n in range(2)]
    await store.refuse(letters)
    client.zadd(store._keys.dead, {"junk": NOW + 5, "bare": NOW + 6})
    client.hset(store._keys.letters, "head junk", b"\xc1\xc1")
    bare, junk, *good = await store.dead_letters(10)
    assert good == letters[::-1]
    for letter, id in ((bare, "bare"), (junk, "junk")):
        assert (letter.id, letter.message) == (id, None)
        assert letter.reason.startswith("expected a dead letter in the store's layout")
    assert await store.purge(["junk", "bare", "nobody"]) == [True, True, False]
    assert await store.dead_letters(10) == letters[::-1]


async def test_a_large_dead_letter_is_cut_in_a_list_and_leaves_nothing(store: RedisStore, client: redis.Redis) -> None:
    large = [DeadLetter(f"{n}", NOW + n, "no", "sink", b"x" * 1_000_000) for n in range(20)]
    await store.refuse(large)
    listed = await store.dead_letters(20)
    assert all(MAX_LISTED_BYTES <= len(letter.body) < 10_000 for letter in listed)
    assert await store.find_dead(["7"]) == [large[7]]
    assert await store.purge([letter.id for letter in large]) == [True] * 20
    assert client.exists(store._keys.letters, store._keys.dead) == 0
