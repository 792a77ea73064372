"""Whatever lies on a channel, the worker says so once, keeps it for a person, and goes on."""

from __future__ import annotations

from typing import Any

import pytest
from channels.layers import get_channel_layer

from ..support.wait import await_for
from .conftest import PATIENCE, Site

BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "no type": ("jobs", {"no": "type"}, "expected a message to have a type, a str, got none"),
    "type int": ("plain", {"type": 7}, "expected a message to have a type, a str, got"),
    "type empty": ("plain", {"type": ""}, "expected a message to have a type, a str, got"),
    "unknown type, plain": ("plain", {"type": "nobody"}, "no consumer handles it: No handler for message type nobody"),
    "unknown type, acking": ("jobs", {"type": "nobody"}, "no consumer handles it: Acking has no handler for its type"),
    "leading underscore, plain": ("plain", {"type": "_run"}, "no consumer handles it: Malformed type in message"),
    "leading underscore, acking": ("jobs", {"type": ".run"}, "Malformed type in message (leading underscore)"),
    "no route": ("nowhere", {"type": "probe"}, "no consumer handles it: "),
    "SystemExit": ("jobs", {"type": "leave", "by": "exit"}, "raised SystemExit: this ends a process"),
    "SystemExit, plain": ("plain", {"type": "leave", "by": "exit"}, "raised SystemExit: this ends a process"),
    "KeyboardInterrupt": ("plain", {"type": "leave", "by": "interrupt"}, "raised KeyboardInterrupt: this ends"),
    "raises": ("plain", {"type": "crash"}, "raised RuntimeError: the shop is closed, password=***"),
}


@pytest.fixture(params=["memory", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", BAD)
async def test_one_line_and_a_dead_letter_and_then_a_good_one_runs(
    site: Site, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    channel, content, reason = BAD[name]
    await site.work("jobs", "plain", "nowhere")
    caplog.clear()
    await get_channel_layer().send(channel, content)
    [letter] = await site.letters(1)
    assert letter.reason.startswith(reason)
    assert letter.source == channel
    await site.send("jobs", type="probe", good=True)
    await site.send("plain", type="probe", good=True)
    await await_for(lambda: sum("good" in one for one in site.seen) == 2, PATIENCE, "two good ones")
    lines = [record.getMessage() for record in caplog.records if channel in record.getMessage()]
    assert len(lines) == 1
    assert letter.id in lines[0]
    assert "hunter2" not in lines[0]


@pytest.mark.parametrize("kind", ["redis"])
async def test_what_does_not_decode_is_kept_as_it_lay_there(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    layer = get_channel_layer()
    await layer.send("jobs", {"type": "probe"})
    await layer.connection(0).zadd("asgijobs", {b"junk" * 2_000: 1.0})
    await site.work("jobs")
    [letter] = await site.letters(1)
    assert letter.reason.startswith("expected a message in the layer's format, got one that does not decode (")
    assert letter.body == (b"junk" * 2_000)[:4_096]
    await site.has_seen(1)
    assert sum("became dead letter" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("kind", ["redis"])
async def test_a_key_of_another_type_is_set_aside_and_the_channel_works(site: Site) -> None:
    layer = get_channel_layer()
    await layer.connection(0).set("asgijobs", "a string")
    await site.work("jobs", "plain")
    await site.send("plain", type="probe")
    await site.has_seen(1)

    async def aside() -> object:
        return await layer.connection(0).get("{delayserver}:set-aside:asgijobs")

    assert await await_for(aside, PATIENCE, "the key to be set aside") == b"a string"
    await site.send("jobs", type="probe")
    await site.has_seen(2)
