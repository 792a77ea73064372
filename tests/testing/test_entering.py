"""Inside, messages wait in memory and go out on the in-memory layer; afterwards everything is as it was."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.conf import settings as django_settings
from pytest_django import Settings

from delayserver import InvalidMessage, group_send_later, send_later
from delayserver.conf import IN_MEMORY_LAYER, REDIS_LAYER, get_settings
from delayserver.embedded import embedded
from delayserver.stores import get_stores
from delayserver.stores.redis import RedisStore
from delayserver.testing import Delays

from .project import Reports, happened, received

CONFIG = {"hosts": ["redis://127.0.0.1:1"]}
REDIS = {"BACKEND": REDIS_LAYER, "CONFIG": CONFIG}
MEMORY = {"BACKEND": IN_MEMORY_LAYER}


@pytest.fixture(autouse=True)
def redis_project(project: None, settings: Settings) -> None:
    """A project on Redis, which is not there."""
    settings.CHANNEL_LAYERS = {"default": REDIS, "other": MEMORY}
    settings.DELAYSERVER = {"STORE": "redis", "STORE_OPTIONS": {"url": "redis://127.0.0.1:1"}, "CHANNEL": "later"}


def test_inside_nothing_but_memory_is_needed_and_afterwards_all_is_as_it_was() -> None:
    before, layers, theirs = get_channel_layer(), django_settings.CHANNEL_LAYERS, django_settings.DELAYSERVER
    with Delays() as delays:
        assert type(get_channel_layer()) is InMemoryChannelLayer
        send_later("reports", {"type": "report.build", "id": 7}, delay=1)
        delays.advance(1)
    assert happened == [7]
    assert get_channel_layer() is before
    assert isinstance(get_stores()[0], RedisStore)
    assert django_settings.CHANNEL_LAYERS is layers
    assert django_settings.DELAYSERVER is theirs


def test_all_is_as_it_was_after_an_error_too() -> None:
    before = get_channel_layer()
    with pytest.raises(ZeroDivisionError), Delays():
        raise ZeroDivisionError
    assert get_channel_layer() is before
    assert isinstance(get_stores()[0], RedisStore)


def test_the_other_names_of_the_settings_and_the_other_layers_stay() -> None:
    other = get_channel_layer("other")
    async_to_sync(other.send)("sink", {"type": "tick"})
    with Delays() as delays:
        assert get_settings().channel == "later"
        assert get_channel_layer("other") is other
        wire = {"channel": "reports", "content": {"type": "report.build", "id": 7}, "delay": 1}
        async_to_sync(get_channel_layer().send)("later", wire)
        delays.advance(1)
    assert happened == [7]
    assert async_to_sync(other.receive)("sink") == {"type": "tick"}


def test_the_layer_that_delayserver_uses_is_the_one_that_changes(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"ours": REDIS, "default": REDIS}
    settings.DELAYSERVER = {"CHANNEL_LAYER": "ours"}
    before = get_channel_layer()
    with Delays() as delays:
        assert get_channel_layer() is before
        send_later("nobody", {"type": "tick"}, delay=1)
        delays.advance(1)
        assert async_to_sync(get_channel_layer("ours").receive)("nobody") == {"type": "tick"}


@pytest.mark.parametrize("layers", [{}, None])
def test_a_project_needs_no_layer_of_its_own(settings: Settings, layers: Any) -> None:
    settings.CHANNEL_LAYERS = layers
    settings.DELAYSERVER = {}
    with Delays() as delays:
        send_later("reports", {"type": "report.build", "id": 7}, delay=1)
        delays.advance(1)
    assert happened == [7]


@pytest.mark.parametrize("entry", [{**MEMORY, "CONFIG": None}, {**REDIS, "CONFIG": []}, None])
def test_a_layer_that_cannot_be_read_is_not_needed(settings: Settings, entry: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": entry}
    settings.DELAYSERVER = {}
    with Delays() as delays:
        send_later("reports", {"type": "report.build", "id": 7}, delay=1)
        delays.advance(1)
    assert happened == [7]


def test_handlers_are_those_of_the_projects_routing_unless_another_is_given(settings: Settings) -> None:
    settings.DELAYSERVER = {"CHECK_HANDLERS": True}
    other = ProtocolTypeRouter({"channel": ChannelNameRouter({"others": Reports.as_asgi()})})
    with Delays(application=other) as delays:
        send_later("others", {"type": "report.build", "id": 7}, delay=1)
        group_send_later("room", {"type": "of.a.socket"}, delay=1)
        delays.advance(1)
    assert happened == [7]
    with Delays(), pytest.raises(InvalidMessage, match="known: exports, reports"):
        send_later("others", {"type": "report.build", "id": 7}, delay=1)


def test_the_capacity_of_the_layer_is_the_projects(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS_LAYER, "CONFIG": {**CONFIG, "capacity": 2}}}
    with Delays() as delays:
        for _ in range(3):
            send_later("nobody", {"type": "tick"}, delay=1)
        assert len(delays.advance(1)) == 2


def test_delays_inside_delays_are_a_world_of_their_own() -> None:
    with Delays() as outer:
        send_later("nobody", {"type": "tick", "of": "outer"}, delay=1000)
        send_later("nobody", {"type": "tick", "of": "outer"}, delay=0)
        outer.advance(0)
        with Delays() as inner:
            send_later("reports", {"type": "report.build", "id": 7}, delay=2000)
            inner.advance(seconds=5)
            inner.assert_delivered(count=1)
        assert happened == [7]
        outer.assert_scheduled(delay=1000, content={"of": "outer"})
        assert async_to_sync(received)("nobody")["of"] == "outer"
        assert len(outer.advance(1000)) == 1


def test_what_waits_outlives_a_change_of_settings_inside(delays: Delays, settings: Settings) -> None:
    send_later("reports", {"type": "report.build", "id": 7}, delay=1)
    settings.DELAYSERVER = {**django_settings.DELAYSERVER, "MAX_MESSAGE_BYTES": 1000}
    delays.advance(1)
    assert happened == [7]


def test_the_same_delays_cannot_be_entered_twice_at_a_time(delays: Delays) -> None:
    with pytest.raises(RuntimeError, match="entered already"), delays:
        pass


def test_a_project_without_an_application_has_its_messages_left_on_the_layer(settings: Settings) -> None:
    settings.ASGI_APPLICATION = None
    with Delays() as delays:
        send_later("reports", {"type": "report.build", "id": 7}, delay=1)
        delays.advance(1)
        assert async_to_sync(received)("reports")["id"] == 7


@pytest.mark.parametrize("routes", [{}, {"http": "django"}])
def test_a_router_without_channels_has_its_messages_left_on_the_layer(routes: dict[str, Any]) -> None:
    with Delays(application=ProtocolTypeRouter(routes)) as delays:
        send_later("reports", {"type": "report.build", "id": 7}, delay=1)
        delays.advance(1)
        assert async_to_sync(received)("reports")["id"] == 7


async def test_a_delay_server_that_the_project_embeds_does_not_run_beside(settings: Settings) -> None:
    settings.CHANNEL_LAYERS, settings.DELAYSERVER = {"default": MEMORY}, {"STORE": "memory"}
    router = ProtocolTypeRouter({"channel": ChannelNameRouter({"reports": Reports.as_asgi()})})
    application = embedded(router, workers=["reports"])
    with Delays(application=application) as delays:
        send_later("reports", {"type": "report.build", "id": 7}, delay=1)
        await delays.aadvance(1)
        delays.assert_delivered(channel="reports")
        assert application._task is None
    assert happened == [7]
