"""Intake stores what is good, keeps what is not as a dead letter, and takes nothing off the channel before that."""

from __future__ import annotations

import logging

import pytest

from delayserver.loops.intake import BATCH, Intake
from delayserver.stores import Stores
from delayserver.stores.memory import MemoryStore

from .conftest import MAX_BYTES, FakeLayer


@pytest.fixture
def intake(store: MemoryStore, layer: FakeLayer) -> Intake:
    return Intake(layer.fake_inbox, store, Stores([store]), layer, "asgi.delay", MAX_BYTES)


def wire(n: int = 0, **options: object) -> dict[str, object]:
    return {"channel": "sink", "content": {"type": "probe", "n": n}, "delay": 100, **options}


async def test_good_messages_are_stored_in_order(intake: Intake, store: MemoryStore, layer: FakeLayer) -> None:
    for n in range(BATCH + 5):
        layer.fake_inbox.arrive(wire(n))
    assert await intake.run_once() == 0
    assert await store.count() == BATCH
    assert await intake.run_once() == 0
    assert await intake.run_once() > 0
    claims = await store.claim(store.clock.now() + 100, 500, 1_000)
    assert [claim.message.content()["n"] for claim in claims] == list(range(BATCH + 5))
    assert layer.fake_inbox.there == []


async def test_a_bad_message_between_two_good_ones_is_kept_and_told_once(
    intake: Intake, store: MemoryStore, layer: FakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    for content in (wire(1), {"nonsense": True}, wire(2)):
        layer.fake_inbox.arrive(content)
    with caplog.at_level(logging.WARNING, "delayserver"):
        await intake.run_once()
    assert await store.count() == 2
    [letter] = await store.dead_letters(10)
    assert "expected no keys but" in letter.reason
    [record] = caplog.records
    assert letter.id in record.getMessage()
    assert layer.fake_inbox.there == []


async def test_nothing_leaves_the_channel_when_the_store_fails(
    intake: Intake, store: MemoryStore, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise OSError("away")

    layer.fake_inbox.arrive(wire())
    monkeypatch.setattr(store, "aput", fail)
    with pytest.raises(OSError, match="away"):
        await intake.run_once()
    assert len(layer.fake_inbox.there) == 1
    monkeypatch.undo()
    await intake.run_once()
    assert await store.count() == 1


async def test_what_comes_again_after_a_crash_is_stored_once(
    intake: Intake, store: MemoryStore, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("killed between storing and removing")

    layer.fake_inbox.arrive(wire())
    monkeypatch.setattr(layer.fake_inbox, "discard", crash)
    with pytest.raises(RuntimeError):
        await intake.run_once()
    monkeypatch.undo()
    await intake.run_once()
    assert await store.count() == 1


async def test_keys_work_over_the_wire(intake: Intake, store: MemoryStore, layer: FakeLayer) -> None:
    layer.fake_inbox.arrive(wire(1, key="a"))
    layer.fake_inbox.arrive(wire(2, key="a"))
    layer.fake_inbox.arrive(wire(3, key="b", on_conflict="replace"))
    layer.fake_inbox.arrive(wire(4, key="b", on_conflict="replace"))
    layer.fake_inbox.arrive(wire(5, key="b", on_conflict="error"))
    await intake.run_once()
    claims = await store.claim(store.clock.now() + 100, 500, 1_000)
    assert [claim.message.content()["n"] for claim in claims] == [1, 4]
