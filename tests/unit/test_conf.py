"""Settings: each wrong one is told with its cure; none is needed."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from delayserver import send_later
from delayserver.conf import (
    IN_MEMORY_LAYER,
    REDIS_LAYER,
    STORES,
    get_layer_settings,
    get_settings,
    known_layer,
    settings_faults,
    store_path,
)
from delayserver.errors import ConfigurationError

UNREADABLE_HOSTS = [
    5,
    None,
    b"redis://h",
    "h",
    ["h"],
    (),
    ("h", "port"),
    "redis://[::1",
    "redis://h:port",
    "redis://user:secret/word@h:1",
    {"address": None},
    {"address": "redis://[::1", "socket_timeout": None},
    {"master_name": "m", "sentinels": 5},
    {"master_name": "m"},
    {5: 5},
]


def test_nothing_needs_to_be_said(settings: Settings) -> None:
    del settings.DELAYSERVER
    get_settings.cache_clear()
    assert settings_faults() == []
    defaults = get_settings()
    assert defaults.store is None
    assert dict(defaults.store_options) == {}
    assert (defaults.channel_layer, defaults.channel, defaults.max_message_bytes) == (
        "default",
        "asgi.delay",
        1_048_576,
    )
    assert defaults.check_handlers is False


def test_everything_can_be_said(settings: Settings) -> None:
    settings.DELAYSERVER = {
        "STORE": "database",
        "STORE_OPTIONS": {"using": "other"},
        "CHANNEL_LAYER": "second",
        "CHANNEL": "my.delay",
        "MAX_MESSAGE_BYTES": 1_000,
        "CHECK_HANDLERS": True,
    }
    assert settings_faults() == []
    given = get_settings()
    assert (given.store, dict(given.store_options)) == ("database", {"using": "other"})
    assert (given.channel_layer, given.channel, given.max_message_bytes) == ("second", "my.delay", 1_000)
    assert given.check_handlers is True


def test_changed_settings_are_read_again(settings: Settings) -> None:
    assert get_settings().channel == "asgi.delay"
    settings.DELAYSERVER = {"CHANNEL": "other"}
    assert get_settings().channel == "other"
    settings.DELAYSERVER = {}
    assert get_settings().channel == "asgi.delay"


FAULTS: list[tuple[object, str, str, str]] = [
    ("redis", "E001", "expected DELAYSERVER to be a dict", "DELAYSERVER = {...}"),
    ({"STOER": "redis"}, "E002", "unknown name 'STOER'", "Known names: CHANNEL, CHANNEL_LAYER,"),
    ({1: 2}, "E002", "unknown name 1", "Known names:"),
    ({"STORE": 5}, "E003", r"expected DELAYSERVER\['STORE'\] .* got int", "default"),
    ({"STORE_OPTIONS": []}, "E003", r"expected DELAYSERVER\['STORE_OPTIONS'\] to be a dict, got list", "default"),
    ({"CHANNEL_LAYER": None}, "E003", r"\['CHANNEL_LAYER'\] to be an alias .* got NoneType", "default"),
    ({"CHANNEL": b"asgi.delay"}, "E003", r"\['CHANNEL'\] to be a channel name, got bytes", "default"),
    ({"MAX_MESSAGE_BYTES": 0}, "E003", r"\['MAX_MESSAGE_BYTES'\] to be a whole number", "default"),
    ({"MAX_MESSAGE_BYTES": -1}, "E003", r"\['MAX_MESSAGE_BYTES'\]", "default"),
    ({"MAX_MESSAGE_BYTES": True}, "E003", r"\['MAX_MESSAGE_BYTES'\] .* got bool", "default"),
    ({"MAX_MESSAGE_BYTES": 1e6}, "E003", r"\['MAX_MESSAGE_BYTES'\] .* got float", "default"),
    ({"CHECK_HANDLERS": 1}, "E003", r"\['CHECK_HANDLERS'\] to be True or False, got int", "default"),
    ({"CHECK_HANDLERS": "yes"}, "E003", r"\['CHECK_HANDLERS'\] .* got str", "default"),
    ({"STORE": True}, "E003", r"\['STORE'\] .* got bool", "default"),
    ({"STORE": "rediss"}, "E004", "one of redis, database, memory or a dotted path, got 'rediss'", "Correct"),
    ({"STORE": ""}, "E004", "got ''", "Correct"),
    ({"STORE": "redis", "STORE_OPTIONS": {"using": "x"}}, "E005", "redis store does not know: using", "url"),
    ({"STORE": "database", "STORE_OPTIONS": {"url": "x"}}, "E005", "database store .* url", "using"),
    ({"STORE": "memory", "STORE_OPTIONS": {"url": "x"}}, "E005", "memory store .* url", "none"),
    ({"CHANNEL": "my delay"}, "E006", r"\['CHANNEL'\]: expected channel to be a name .* got 'my delay'", "Correct"),
    ({"CHANNEL": ""}, "E006", r"\['CHANNEL'\]: .* got ''", "Correct"),
    ({"OFFLOAD": {"HOST": []}}, "E016", r"\['OFFLOAD'\] has an unknown name 'HOST'", "Known names: CALLABLES,"),
    ({"OFFLOAD": []}, "E017", r"\['OFFLOAD'\] to be a dict, got list", "leave it out"),
    ({"OFFLOAD": {"HOSTS": ["*"]}}, "E018", r"\['OFFLOAD'\]\['HOSTS'\]\[0\] cannot be read", "api.example.com"),
    ({"PROGRESS": {"RETAIN": 60}}, "E019", r"\['PROGRESS'\] has an unknown name 'RETAIN'", "Known names: RETENTION,"),
    ({"PROGRESS": [60]}, "E020", r"\['PROGRESS'\] to be a dict, got list", "leave it out"),
    ({"PROGRESS": {"TOKEN_AGE": 0}}, "E020", r"\['TOKEN_AGE'\] to be a timedelta .* to ten years, got 0", "default"),
    ({"CHANNEL": "a" * 100}, "E006", r"\['CHANNEL'\]: .* 1 to 99", "Correct"),
]


@pytest.mark.parametrize(("given", "id", "sentence", "cure"), FAULTS)
def test_what_is_wrong_is_told_with_its_cure(
    settings: Settings, given: object, id: str, sentence: str, cure: str
) -> None:
    settings.DELAYSERVER = given
    [fault] = settings_faults()
    assert fault.id == f"delayserver.{id}"
    assert cure in fault.hint
    with pytest.raises(ConfigurationError, match=sentence):
        get_settings()


def test_all_faults_are_told_at_once(settings: Settings) -> None:
    settings.DELAYSERVER = {"A": 1, "B": 2, "STORE": "x", "CHANNEL": 5}
    assert sorted(fault.id[-4:] for fault in settings_faults()) == ["E002", "E002", "E003", "E004"]


def test_a_dotted_path_is_a_store_and_may_have_any_options(settings: Settings) -> None:
    settings.DELAYSERVER = {"STORE": "my.own.Store", "STORE_OPTIONS": {"anything": 1}}
    assert settings_faults() == []
    assert store_path(get_layer_settings("default")) == "my.own.Store"


# -- layers --------------------------------------------------------------------------------------------------


def layers(settings: Settings, **config: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": REDIS_LAYER, "CONFIG": config},
        "pubsub": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"},
        "local": {"BACKEND": IN_MEMORY_LAYER},
        "own": {"BACKEND": "my.own.Layer", "CONFIG": {"a": 1}},
    }


def test_a_layer_is_found_with_its_configuration(settings: Settings) -> None:
    layers(settings, prefix="p")
    layer = get_layer_settings("default")
    assert (layer.alias, layer.backend, dict(layer.config)) == ("default", REDIS_LAYER, {"prefix": "p"})
    assert dict(get_layer_settings("local").config) == {}


def test_an_unknown_layer_is_told_with_those_that_are_known(settings: Settings) -> None:
    layers(settings)
    with pytest.raises(ConfigurationError, match=r"no channel layer 'x' .* Known: default, local, own, pubsub"):
        get_layer_settings("x")


@pytest.mark.parametrize("given", [None, {}])
def test_without_any_layer_the_cure_is_told(settings: Settings, given: object) -> None:
    settings.CHANNEL_LAYERS = given
    with pytest.raises(ConfigurationError, match="do not have any CHANNEL_LAYERS"):
        get_layer_settings("default")


@pytest.mark.parametrize(
    ("alias", "store"), [("default", "redis"), ("pubsub", "redis"), ("local", "database"), ("own", "database")]
)
def test_the_store_is_redis_where_the_layer_is_and_else_the_database(
    settings: Settings, alias: str, store: str
) -> None:
    layers(settings)
    assert store_path(get_layer_settings(alias)) == STORES[store]


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_is_named_is_taken(settings: Settings, name: str) -> None:
    layers(settings)
    settings.DELAYSERVER = {"STORE": name}
    assert store_path(get_layer_settings("own")) == STORES[name]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (5, r"^expected CHANNEL_LAYERS to be a dict, got int$"),
        ("default", r"^expected CHANNEL_LAYERS to be a dict, got str$"),
        (
            {"default": None},
            r"^expected CHANNEL_LAYERS\['default'\] to be a dict with a dotted path as BACKEND, got NoneType$",
        ),
        ({"default": {"BACKEND": 5}}, r"to be a dict with a dotted path as BACKEND, got dict$"),
        ({"default": {"BACKEND": IN_MEMORY_LAYER, "CONFIG": None}}, r"\['CONFIG'\] to be a dict, got NoneType$"),
    ],
)
def test_layers_that_cannot_be_read_are_refused(settings: Settings, given: Any, sentence: str) -> None:
    settings.CHANNEL_LAYERS = given
    assert known_layer() is None
    with pytest.raises(ConfigurationError, match=sentence):
        get_layer_settings("default")
    with pytest.raises(ConfigurationError, match=sentence):
        send_later("sink", {"type": "tick"}, delay=1)


@pytest.mark.parametrize("hosts", [5, "redis://127.0.0.1", {"a": 1}, iter(["redis://127.0.0.1"])])
def test_hosts_that_are_no_list_are_refused(settings: Settings, hosts: Any) -> None:
    layers(settings, hosts=hosts)
    with pytest.raises(ConfigurationError, match=r"\['hosts'\] to be a list, got "):
        send_later("sink", {"type": "tick"}, delay=1)


@pytest.mark.parametrize("host", UNREADABLE_HOSTS)
def test_a_host_that_cannot_be_read_is_refused(settings: Settings, host: Any) -> None:
    layers(settings, hosts=["redis://127.0.0.1:1", host])
    for delayserver in ({}, {"STORE": "memory"}):
        settings.DELAYSERVER = delayserver
        with pytest.raises(ConfigurationError, match=r"\['hosts'\]\[1\] cannot be read: expected a URL") as refused:
            send_later("sink", {"type": "tick"}, delay=1)
        assert "secret" not in str(refused.value)
        with pytest.raises(CommandError, match=r"\['hosts'\]\[1\] cannot be read: expected a URL"):
            call_command("rundelay")


@pytest.mark.parametrize("delayserver", [{"STORE": "redis"}, {}])
@pytest.mark.parametrize("url", [5, "nonsense", "redis://h:port"])
def test_a_url_that_cannot_be_read_is_refused(settings: Settings, delayserver: Any, url: Any) -> None:
    layers(settings)
    settings.DELAYSERVER = {**delayserver, "STORE_OPTIONS": {"url": url}}
    with pytest.raises(ConfigurationError, match="expected a URL"):
        send_later("sink", {"type": "tick"}, delay=1)


@pytest.mark.parametrize(
    "host",
    [
        "redis://127.0.0.1:1",
        "rediss://user:word@h/3",
        "unix:///tmp/socket",
        ("127.0.0.1", 1),
        {"host": "h", "port": "1"},
        {"address": "redis://h", "max_connections": 5, "socket_timeout": None},
        {"sentinels": [("h", 1)], "master_name": "m", "sentinel_kwargs": {"password": "p"}},
    ],
)
def test_every_form_of_a_host_is_read(settings: Settings, host: Any) -> None:
    layers(settings, hosts=[host])
    assert known_layer() is not None
    layers(settings, hosts={host} if isinstance(host, str) else (host,))
    assert known_layer() is not None


def test_the_hosts_of_another_kind_of_layer_are_its_own(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "my.own.Layer", "CONFIG": {"hosts": 5}}}
    assert get_layer_settings("default").config == {"hosts": 5}
    settings.DELAYSERVER = {"STORE": "redis"}
    with pytest.raises(ConfigurationError, match="to be a list"):
        get_layer_settings("default")
    settings.DELAYSERVER = {"STORE": "redis", "STORE_OPTIONS": {"url": "redis://127.0.0.1:1"}}
    assert get_layer_settings("default").config == {"hosts": 5}


def test_the_layer_is_known_where_all_is_right_so_far(settings: Settings) -> None:
    layers(settings)
    assert known_layer() == get_layer_settings("default")
    settings.DELAYSERVER = {"CHANNEL_LAYER": "local"}
    assert known_layer() == get_layer_settings("local")
    settings.DELAYSERVER = {"CHANNEL_LAYER": "nowhere"}
    assert known_layer() is None
    settings.DELAYSERVER = {"STOER": "redis"}
    assert known_layer() is None
    settings.DELAYSERVER = {}
    settings.CHANNEL_LAYERS = None
    assert known_layer() is None


def test_the_redis_store_does_not_go_with_a_layer_in_memory(settings: Settings) -> None:
    layers(settings)
    settings.DELAYSERVER = {"STORE": "redis"}
    with pytest.raises(ConfigurationError, match="does not go with the in-memory channel layer"):
        store_path(get_layer_settings("local"))


def test_only_a_layer_in_memory_has_a_home(settings: Settings) -> None:
    layers(settings)
    local, default = get_layer_settings("local"), get_layer_settings("default")
    assert local.in_memory
    assert local.home.startswith(f"{os.getpid()}.")
    assert local.home == get_layer_settings("local").home
    assert not default.in_memory
    assert default.home == ""
