"""`send_later` and its sisters, as a project calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from pytest_django import DjangoDbBlocker, Settings

import delayserver
from delayserver import (
    InvalidMessage,
    KeyTaken,
    Receipt,
    StoreUnavailable,
    agroup_send_later,
    asend_later,
    group_send_later,
    send_later,
)
from delayserver.models import DelayedMessage
from delayserver.stores import get_stores

PROBE = {"type": "probe"}
IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture
def memory(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = IN_MEMORY
    settings.DELAYSERVER = {"STORE": "memory"}


@pytest.fixture
def database(settings: Settings, sqlite_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    settings.CHANNEL_LAYERS = IN_MEMORY
    settings.DELAYSERVER = {"STORE": "database", "STORE_OPTIONS": {"using": sqlite_database}}
    with django_db_blocker.unblock():
        DelayedMessage.objects.using(sqlite_database).all().delete()
        yield sqlite_database
        DelayedMessage.objects.using(sqlite_database).all().delete()


def now_ms() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)


def waiting() -> list[Any]:
    """What waits in the store, in the order in which it is due."""
    claims = asyncio.run(get_stores()[0].claim(now_ms() + 10**9, 100, 1))
    return [claim.message for claim in claims]


@pytest.mark.usefixtures("memory")
class TestMemory:
    def test_the_receipt_tells_id_due_and_that_it_is_new(self) -> None:
        before = now_ms()
        receipt = send_later("reports", PROBE, delay=5_000)
        assert before + 5_000 <= receipt.due <= now_ms() + 5_002
        assert receipt.created
        [message] = waiting()
        assert (message.id, message.due) == (receipt.id, receipt.due)
        assert (message.target.kind, message.target.name) == ("channel", "reports")
        assert message.content() == PROBE

    def test_a_delay_may_be_a_timedelta_and_an_eta_is_kept_to_the_millisecond(self) -> None:
        eta = datetime(2030, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
        assert send_later("reports", PROBE, eta=eta).due == 1_893_499_200_001  # rounded up: never early
        before = now_ms()
        assert send_later("reports", PROBE, delay=timedelta(minutes=5)).due >= before + 300_000

    def test_a_group_is_a_target_too(self) -> None:
        group_send_later("listeners", PROBE, delay=1)
        [message] = waiting()
        assert message.target.kind == "group"

    def test_the_a_twins_do_the_same(self) -> None:
        async def both() -> list[Receipt]:
            return [
                await asend_later("reports", PROBE, delay=1),
                await agroup_send_later("listeners", PROBE, delay=2),
            ]

        receipts = asyncio.run(both())
        assert [message.id for message in waiting()] == [receipt.id for receipt in receipts]

    def test_a_key_keeps_replaces_or_refuses(self) -> None:
        first = send_later("reports", PROBE, delay=1_000, key="a")
        assert send_later("reports", PROBE, delay=2_000, key="a") == (first.id, first.due, False)
        with pytest.raises(KeyTaken, match="'a' is waiting already"):
            send_later("reports", PROBE, delay=2_000, key="a", on_conflict="error")
        second = send_later("reports", PROBE, delay=3_000, key="a", on_conflict="replace")
        assert [message.id for message in waiting()] == [second.id]

    @pytest.mark.parametrize(
        ("call", "sentence"),
        [
            (lambda: send_later("reports", PROBE, delay=cast(int, 0.5)), r"did you mean timedelta\(seconds=0\.5\)\?"),
            (lambda: send_later("reports", PROBE), "expected one of delay and eta, got neither"),
            (lambda: send_later("reports", PROBE, delay=1, eta=datetime.now(UTC)), "got both"),
            (lambda: send_later("reports", PROBE, eta=datetime(2030, 1, 1)), "aware datetime"),  # noqa: DTZ001
            (lambda: send_later("re ports", PROBE, delay=1), "expected channel"),
            (lambda: send_later("asgi.delay", PROBE, delay=1), "a target other than asgi.delay itself"),
            (lambda: send_later("reports", {"n": 1}, delay=1), "expected content to have a type"),
            (lambda: send_later("reports", {**PROBE, "at": {"x": (1,)}}, delay=1), r"content\['at'\]\['x'\] .* list"),
            (lambda: send_later("reports", {**PROBE, "blob": b"x" * 1_048_576}, delay=1), "MAX_MESSAGE_BYTES"),
            (lambda: group_send_later("a!b", PROBE, delay=1), "expected group"),
        ],
    )
    def test_what_could_never_be_handed_over_is_refused_where_it_is_sent(self, call: Any, sentence: str) -> None:
        with pytest.raises(InvalidMessage, match=sentence):
            call()
        assert waiting() == []


def test_with_the_database_store_it_is_part_of_the_callers_transaction(database: str) -> None:
    rows = DelayedMessage.objects.using(database)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=database):
        send_later("reports", PROBE, delay=1)
        assert rows.count() == 1
        raise ZeroDivisionError
    assert rows.count() == 0
    with transaction.atomic(using=database):
        send_later("reports", PROBE, delay=1)
    assert rows.count() == 1


def test_a_key_taken_within_a_transaction_leaves_the_transaction_usable(database: str) -> None:
    rows = DelayedMessage.objects.using(database)
    send_later("reports", PROBE, delay=1, key="a")
    with transaction.atomic(using=database):
        with pytest.raises(KeyTaken):
            send_later("reports", PROBE, delay=1, key="a", on_conflict="error")
        send_later("reports", PROBE, delay=1, key="b")
    assert rows.count() == 2


def test_a_json_layer_refuses_bytes_where_they_are_sent(settings: Settings, redis_url: str) -> None:
    config = {"hosts": [{"address": redis_url, "socket_timeout": None}], "serializer_format": "json"}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}}
    settings.DELAYSERVER = {}
    with pytest.raises(InvalidMessage, match="content that the channel layer can serialise"):
        send_later("reports", {**PROBE, "blob": b"x"}, delay=1)
    assert send_later("reports", {**PROBE, "text": "x"}, delay=1).created


def test_a_store_that_does_not_answer_is_told_as_such(settings: Settings) -> None:
    config = {"hosts": ["redis://127.0.0.1:1"]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}}
    settings.DELAYSERVER = {}
    with pytest.raises(StoreUnavailable, match="the Redis store did not answer"):
        send_later("reports", PROBE, delay=1)


def test_the_public_names_are_all_there() -> None:
    for name in delayserver.__all__:
        assert getattr(delayserver, name).__doc__, name


@pytest.fixture
def redis_layer(settings: Settings, redis_url: str) -> None:
    config = {"hosts": [{"address": redis_url, "socket_timeout": None}]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}}
    settings.DELAYSERVER = {}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.usefixtures("redis_layer")
def test_an_event_loop_for_each_call_leaves_no_connection_behind() -> None:
    async_to_sync(asend_later)("reports", PROBE, delay=3_600_000)
    before = open_files()
    for _ in range(20):
        async_to_sync(asend_later)("reports", PROBE, delay=3_600_000)
    assert open_files() <= before


@pytest.mark.usefixtures("redis_layer")
def test_hundreds_at_once_share_a_bounded_number_of_connections() -> None:
    async def gathered() -> list[Receipt]:
        return await asyncio.gather(*(asend_later("reports", PROBE, delay=3_600_000) for _ in range(300)))

    assert len({receipt.id for receipt in asyncio.run(gathered())}) == 300
