"""What a raw writer put into a store hides nothing else from people."""

from __future__ import annotations

import pytest
import redis

from delayserver.message import Target, Waiting
from delayserver.models import DelayedMessage
from delayserver.stores import Stores
from delayserver.stores.base import Store
from delayserver.stores.redis_waitlist import Keys
from delayserver.stores.shelf import Wanted
from delayserver.stores.shelves import Shelves

from ..support.clock import NOW
from .conftest import LAYER
from .places import in_thread, waiting

JUNK = b"\x02id\x00\x03a\nb\x80"  # Lua can part it, but its name is none


async def put_junk(store: Store, kind: str, url: str | None) -> None:
    if url is not None:
        with redis.Redis.from_url(url) as client:
            client.zadd(Keys.of("asgi").waiting, {JUNK: NOW + 1})
        return
    rows = DelayedMessage.objects.using(kind.partition("-")[2])
    parts = {"layer": LAYER.alias, "due": NOW + 1, "kind": "channel", "body": b"\x80"}
    await in_thread(lambda: rows.create(id="junk-1", name="a\nb", **parts))
    await in_thread(lambda: rows.create(id="junk-2", name="sink", options=b"\xc1", **parts))


@pytest.mark.parametrize("kind", ["redis", "database-sqlite", "database-postgres"], indirect=True)
async def test_junk_is_passed_over_and_what_stands_behind_it_is_listed(
    store: Store, kind: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("redis_url") if kind == "redis" else None
    await put_junk(store, kind, url)
    good = [waiting(NOW + n, key=f"k:{n}") for n in (0, 2, 3, 4)]
    await store.aput(good)
    shelves = Shelves(Stores([store]))
    for wanted in (Wanted(), Wanted(key="k:*"), Wanted(name="s*")):
        for size in (1, 2, 3, 100):
            found, after = [], None
            while True:
                page = await shelves.page(wanted, size, after)
                found += [one.message.id for one in page.listed]
                after = page.rest
                if after is None:
                    break
            assert found == [message.id for message in good], (wanted, size)
    told = [step async for step in shelves.overview()][-1]
    assert told.targets.keys() >= {Target("channel", "sink")}


async def test_names_are_told_apart_by_their_case(store: Store) -> None:
    upper = Waiting("fe", NOW, Target("channel", "Chat.a"), b"\x80")
    lower = Waiting("ff", NOW, Target("channel", "chat.a"), b"\x80")
    await store.aput([upper, lower])
    shelves = Shelves(Stores([store]))
    for name, expected in (("Chat.*", ["fe"]), ("chat.*", ["ff"]), ("Chat.a", ["fe"]), ("CHAT.A", [])):
        page = await shelves.page(Wanted("channel", name), 10)
        assert [one.message.id for one in page.listed] == expected, name
