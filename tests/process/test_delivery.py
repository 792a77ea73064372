"""What was sent to `asgi.delay`, or with `send_later`, arrives in time, and leaves nothing."""

from __future__ import annotations

import asyncio
import time

from channels_redis.core import RedisChannelLayer

from delayserver.stores.base import Store

from ..support.wait import await_for
from .arriving import all_are_stored, holds, is_quiet, nothing_is_left, receive, send
from .conftest import Site, on_every_store

LATE_MS = 250  # on a busy machine


def ms_since(start: float) -> float:
    return (time.time() - start) * 1000


@on_every_store
async def test_a_message_arrives_when_it_is_due_and_as_it_was(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    site.rundelay()
    sent = time.time()
    await send(layer, {"channel": "sink", "delay": 1000, "content": {"type": "probe", "test": "value"}})
    message = await receive(layer, "sink")
    took = ms_since(sent)
    assert message == {"type": "probe", "test": "value"}
    assert 1000 <= took <= 1000 + LATE_MS
    await await_for(lambda: nothing_is_left(store), 5, "an empty store")


@on_every_store
async def test_send_later_in_another_process_wakes_a_server_that_sleeps_towards_next_year(
    site: Site, layer: RedisChannelLayer
) -> None:
    site.rundelay()
    sender = site.run(
        "import time\n"
        "from delayserver import send_later\n"
        "send_later('sink', {'type': 'probe', 'n': 0}, delay=365 * 24 * 3_600_000)\n"
        "input_wait = time.sleep(1)  # the server has gone to sleep by then\n"
        "sent = time.time()\n"
        "send_later('sink', {'type': 'probe', 'sent': sent}, delay=5)\n"
    )
    message = await receive(layer, "sink")
    took = ms_since(message["sent"])
    assert 5 <= took <= 5 + LATE_MS
    assert sender.wait() == 0


@on_every_store
async def test_a_full_channel_keeps_its_messages_waiting_and_delays_no_other(
    site: Site, layer: RedisChannelLayer, store: Store
) -> None:
    site.config["capacity"] = 10
    site.rundelay()
    for n in range(11):
        await send(layer, {"channel": "full", "content": {"type": "probe", "n": n}, "delay": 300})
    await await_for(lambda: holds(layer, "full", 10), 5, "10 messages on the full channel")
    sent = time.time()
    await send(layer, {"channel": "other", "content": {"type": "probe"}, "delay": 500})
    await receive(layer, "other")
    assert 500 <= ms_since(sent) <= 500 + LATE_MS
    assert await holds(layer, "full", 10)
    await await_for(lambda: all_are_stored(store, 1), 5, "one message that waits")
    assert (await receive(layer, "full"))["n"] == 0
    assert [(await receive(layer, "full"))["n"] for _ in range(10)] == list(range(1, 11))
    await await_for(lambda: nothing_is_left(store), 5, "an empty store")


async def test_an_expired_message_is_not_handed_over(site: Site, layer: RedisChannelLayer, store: Store) -> None:
    content = {"type": "probe"}
    for name, delay, expires in (("late", 100, 150), ("in time", 100, 3_600_000)):
        wire = {"channel": "sink", "content": {**content, "name": name}, "delay": delay, "expires": expires}
        await send(layer, wire)
    server = site.rundelay("--no-intake")
    server.end()
    feeder = site.rundelay()  # takes both in, and is gone before they are due
    await await_for(lambda: all_are_stored(store, 2), 5, "2 messages in the store")
    feeder.kill()
    feeder.wait()
    await asyncio.sleep(0.3)
    site.rundelay()
    assert (await receive(layer, "sink"))["name"] == "in time"
    await await_for(lambda: nothing_is_left(store), 5, "an empty store")
    assert await is_quiet(layer, "sink")
