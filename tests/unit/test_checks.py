"""System checks: each is provoked, tells its cure, and says nothing of a project that is right."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from collections.abc import Mapping
from typing import Any, cast

import pytest
from channels.consumer import AsyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.core.checks import CheckMessage, run_checks
from pytest_django import Settings
from redis.exceptions import NoPermissionError

from delayserver import Cron, schedule
from delayserver.conf import IN_MEMORY_LAYER, PUBSUB_LAYER, REDIS_LAYER, Fault
from delayserver.embedded import embedded
from delayserver.models import Schedule
from delayserver.redis_link import RedisLink
from delayserver.stores.database import DatabaseStore
from delayserver.stores.memory import MemoryStore
from delayserver.stores.redis_doubts import doubts_of

from ..support.routing import Project
from .test_conf import UNREADABLE_HOSTS

HOST = {"address": "redis://127.0.0.1:1", "socket_timeout": None}
REDIS = {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": [HOST]}}
PUBSUB = {"BACKEND": PUBSUB_LAYER, "CONFIG": {"hosts": [HOST]}}
IN_MEMORY = {"BACKEND": IN_MEMORY_LAYER}


class Reports(AsyncConsumer):  # type: ignore[misc]
    async def report_build(self, message: Any) -> None: ...


async def opaque(scope: Any, receive: Any, send: Any) -> None: ...


ROUTER = ProtocolTypeRouter({"channel": ChannelNameRouter({"reports": Reports.as_asgi()})})


class Wrapper:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class DoubtingStore(MemoryStore):
    async def doubts(self) -> list[Fault]:
        return [Fault("It leaks.", "Mend it.", "delayserver.W000")]


class BrokenStore(MemoryStore):
    async def doubts(self) -> list[Fault]:
        raise RuntimeError("what a store of a project's own may do")


@pytest.fixture
def project(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(settings, monkeypatch)


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed, whatever is."""
    versions = {"redis": "8.1.0", "channels-redis": "4.3.0"}
    monkeypatch.setattr("delayserver.checks.layer.version", lambda package: _get(versions, package))
    return versions


def _get(versions: Mapping[str, str], package: str) -> str:
    if package not in versions:
        raise importlib.metadata.PackageNotFoundError(package)
    return versions[package]


def layer(settings: Settings, entry: Mapping[str, Any], **config: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {**entry, "CONFIG": {**entry.get("CONFIG", {}), **config}}}


def told(**options: Any) -> dict[str, CheckMessage]:
    """The messages of our checks, by id, each with a cure and of the level that its id says."""
    tags = ["delayserver", *(["delayserver_server"] if options.get("databases") else [])]
    found = run_checks(tags=tags, **options)
    ids = [str(message.id).removeprefix("delayserver.") for message in found]
    assert len(set(ids)) == len(ids), found
    for id, message in zip(ids, found, strict=True):
        assert type(message).__name__ == {"E": "Error", "W": "Warning"}[id[0]]
        assert message.hint
    return dict(zip(ids, found, strict=True))


def only(id: str, **options: Any) -> CheckMessage:
    found = told(**options)
    assert list(found) == [id]
    return found[id]


# -- nothing is wrong ----------------------------------------------------------------------------------------


def test_a_project_on_redis_has_no_issues(settings: Settings) -> None:
    layer(settings, REDIS)
    assert told() == {}


def test_an_embedded_project_has_no_issues(settings: Settings, project: Project) -> None:
    layer(settings, IN_MEMORY)
    project.serve(embedded(ROUTER, workers=["reports"]))
    assert told(include_deployment_checks=True) == {}


@pytest.mark.parametrize("given", [None, {}, {"other": REDIS}])
def test_a_project_may_not_use_a_layer_yet(settings: Settings, given: Any) -> None:
    settings.CHANNEL_LAYERS = given
    assert told(include_deployment_checks=True, databases=["default"]) == {}


def test_where_delayserver_itself_is_wrong_nothing_else_is_said(settings: Settings) -> None:
    layer(settings, {**REDIS, "CONFIG": {"hosts": ["redis://127.0.0.1:1"] * 2}}, expiry=1)
    settings.DELAYSERVER = {"STORE": 5}
    assert list(told(include_deployment_checks=True, databases=["default"])) == ["E003"]


# -- DELAYSERVER beside the rest of the project --------------------------------------------------------------


def test_a_layer_that_is_named_must_be_there(settings: Settings) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"CHANNEL_LAYER": "second"}
    error = only("E007")
    assert "['CHANNEL_LAYER'] is 'second'" in error.msg
    assert error.hint == "Known aliases: default."
    settings.CHANNEL_LAYERS = {}
    settings.DELAYSERVER = {"CHANNEL_LAYER": "default"}
    assert only("E007").hint == "Known aliases: none."


def test_the_redis_store_does_not_go_with_the_in_memory_layer(settings: Settings, project: Project) -> None:
    layer(settings, IN_MEMORY)
    project.serve(opaque)
    settings.DELAYSERVER = {"STORE": "redis"}
    assert "does not go with the in-memory channel layer" in only("E008").msg


def test_the_database_of_the_store_must_be_there(settings: Settings) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"STORE": "database", "STORE_OPTIONS": {"using": "warehouse"}}
    error = only("E009", databases=["default"])
    assert "['using'] is 'warehouse'" in error.msg
    assert "default" in str(error.hint)
    settings.DELAYSERVER = {"STORE": "database", "STORE_OPTIONS": {"using": ["default"]}}
    assert "is ['default']" in only("E009").msg
    settings.DELAYSERVER = {"STORE": "database", "STORE_OPTIONS": {"using": "default"}}
    assert told() == {}
    settings.DELAYSERVER = {"STORE": "database"}
    assert told() == {}


@pytest.mark.parametrize(("entry", "option"), [(REDIS, "using"), (IN_MEMORY, "url")])
def test_options_must_be_those_of_the_store_that_goes_with_the_layer(
    settings: Settings, project: Project, entry: Mapping[str, Any], option: str
) -> None:
    layer(settings, entry)
    project.serve(opaque)
    settings.DELAYSERVER = {"STORE_OPTIONS": {option: "default"}}
    assert f"does not know: {option}" in only("E005").msg


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("no.such.Store", "'no.such.Store', which cannot be imported (ModuleNotFoundError: No module named 'no')"),
        ("tests.unit.test_checks.Nothing", "which cannot be imported (ImportError: "),
        ("tests.unit.test_checks.Reports", "'tests.unit.test_checks.Reports', which is none"),
        ("tests.unit.test_checks.HOST", "which is none"),
    ],
)
def test_a_store_of_the_projects_own_must_be_one(settings: Settings, path: str, sentence: str) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"STORE": path}
    assert sentence in only("E010", databases=["default"]).msg


def test_a_store_of_the_projects_own_that_cannot_be_made_is_told(settings: Settings) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"STORE": "tests.unit.test_checks.DoubtingStore", "STORE_OPTIONS": {"nonsense": 1}}
    assert "cannot be made (TypeError: " in only("E010", databases=["default"]).msg


def test_a_store_of_the_projects_own_may_be_anything_else(settings: Settings) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"STORE": "tests.unit.test_checks.DoubtingStore", "STORE_OPTIONS": {"any": 1}}
    assert told() == {}


@pytest.mark.parametrize("package", ["redis", "channels_redis"])
@pytest.mark.parametrize("given", [{}, {"STORE": "redis"}])
def test_the_redis_store_needs_its_packages(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, package: str, given: dict[str, str]
) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = given
    monkeypatch.setitem(sys.modules, package, None)
    error = only("E011", databases=["default"])
    assert error.msg.endswith(f"not installed: {package}")
    assert "pip install" in str(error.hint)
    settings.DELAYSERVER = {"STORE": "database"}
    assert told() == {}


def test_the_redis_store_beside_another_layer_needs_redis_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer(settings, {"BACKEND": "my.own.Layer"})
    settings.DELAYSERVER = {"STORE": "redis", "STORE_OPTIONS": {"url": "redis://127.0.0.1:1"}}
    monkeypatch.setitem(sys.modules, "channels_redis", None)
    assert told() == {}
    monkeypatch.setitem(sys.modules, "redis", None)
    assert only("E011").msg.endswith("needs redis; not installed: redis")


@pytest.mark.parametrize("layers", [{}, {"default": REDIS}])
@pytest.mark.parametrize(("path", "sentence"), [(None, "got none"), ("no.such.application", "No module named 'no'")])
def test_handlers_cannot_be_checked_without_a_routing(
    settings: Settings, layers: Any, path: str | None, sentence: str
) -> None:
    settings.CHANNEL_LAYERS = layers
    settings.ASGI_APPLICATION = path
    assert told() == {}
    settings.DELAYSERVER = {"CHECK_HANDLERS": True}
    error = only("E012")
    assert error.msg.startswith("DELAYSERVER['CHECK_HANDLERS'] needs the routing: ")
    assert sentence in error.msg
    settings.ASGI_APPLICATION = "tests.asgi.application"
    assert told() == {}


@pytest.mark.parametrize(
    "layers",
    [
        5,
        "default",
        {"default": None},
        {"default": {"BACKEND": []}},
        {"default": {**REDIS, "CONFIG": None}},
        *({"default": {"BACKEND": REDIS_LAYER, "CONFIG": {"hosts": hosts}}} for hosts in (5, "redis://h", {"a": 1})),
        *({"default": {"BACKEND": PUBSUB_LAYER, "CONFIG": {"hosts": [host]}}} for host in UNREADABLE_HOSTS),
    ],
)
@pytest.mark.parametrize("store", [{}, {"STORE": "memory"}])
def test_a_layer_that_cannot_be_read_is_told_and_no_check_raises(settings: Settings, layers: Any, store: Any) -> None:
    settings.CHANNEL_LAYERS, settings.DELAYSERVER = layers, store
    assert "CHANNEL_LAYERS" in only("E013", include_deployment_checks=True, databases=["default"]).msg


@pytest.mark.parametrize("url", [5, "nonsense", "redis://h:port"])
@pytest.mark.parametrize("store", [{}, {"STORE": "redis"}])
def test_a_url_of_the_store_that_cannot_be_read_is_told(settings: Settings, url: Any, store: Any) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {**store, "STORE_OPTIONS": {"url": url}}
    told = only("E013", databases=["default"])
    assert told.msg.startswith("DELAYSERVER['STORE_OPTIONS']['url'] cannot be read: expected a URL")


def test_aliases_may_be_anything(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {5: REDIS, "other": REDIS}
    settings.DELAYSERVER = {"CHANNEL_LAYER": "default"}
    assert only("E007").hint == "Known aliases: 5, other."


# -- the layer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [None, ["redis://127.0.0.1:1"], [("127.0.0.1", 1)], [{"address": "redis://h"}]])
def test_idle_connections_must_not_be_closed(settings: Settings, versions: dict[str, str], hosts: Any) -> None:
    layer(settings, REDIS, hosts=hosts)
    assert '"socket_timeout": None' in str(only("W001").hint)
    for name, other in (("redis", "7.1.0"), ("channels-redis", "4.3.1"), ("channels-redis", "5.0")):
        before, versions[name] = versions[name], other
        assert told() == {}, (name, other)
        versions[name] = before
    layer(settings, REDIS)
    assert told() == {}


def test_each_of_several_hosts_needs_a_timeout_of_its_own(settings: Settings, versions: dict[str, str]) -> None:
    layer(settings, REDIS, hosts=[HOST, "redis://127.0.0.1:2"])
    assert list(told()) == ["W001", "W003"]


def test_worker_channels_do_not_go_with_the_pubsub_layer(settings: Settings, project: Project) -> None:
    layer(settings, PUBSUB)
    project.serve(Wrapper(ROUTER))
    warning = only("W002")
    assert "the routing has reports" in warning.msg
    assert REDIS_LAYER in str(warning.hint)
    layer(settings, REDIS)
    assert told() == {}


@pytest.mark.parametrize("application", [ProtocolTypeRouter({"websocket": opaque}), get_asgi_application(), opaque])
def test_the_pubsub_layer_is_good_for_anything_else(settings: Settings, project: Project, application: Any) -> None:
    layer(settings, PUBSUB)
    project.serve(application)
    assert told() == {}


@pytest.mark.parametrize("path", [None, "no.such.application"])
def test_the_pubsub_layer_is_not_blamed_for_what_cannot_be_imported(settings: Settings, path: str | None) -> None:
    layer(settings, PUBSUB)
    settings.ASGI_APPLICATION = path
    assert told() == {}


def test_several_hosts_lose_what_is_sent_to_specific_channels(settings: Settings) -> None:
    layer(settings, REDIS, hosts=[HOST, HOST, HOST])
    assert "has 3 hosts" in only("W003").msg
    layer(settings, PUBSUB, hosts=[HOST, HOST])
    assert told() == {}


@pytest.mark.parametrize("expiry", [0, 1, 9.5])
def test_a_short_expiry_loses_what_a_restarted_worker_should_have(settings: Settings, expiry: float) -> None:
    layer(settings, REDIS, expiry=expiry)
    assert f"for {expiry} s (expiry)" in only("W004").msg


@pytest.mark.parametrize("expiry", [10, 60, 3_600, None, "short"])
def test_a_longer_expiry_is_good(settings: Settings, expiry: Any) -> None:
    layer(settings, REDIS, expiry=expiry)
    assert told() == {}


def test_the_expiry_of_another_layer_is_its_own_affair(settings: Settings) -> None:
    layer(settings, {"BACKEND": "my.own.Layer"}, expiry=1)
    settings.DELAYSERVER = {"STORE": "memory"}
    assert told() == {}


@pytest.mark.parametrize(
    "application",
    [
        ROUTER,
        get_asgi_application(),
        Wrapper(ROUTER),
        Reports.as_asgi(),
        ProtocolTypeRouter({"http": get_asgi_application(), "websocket": opaque}),
    ],
)
def test_outside_of_embedded_mode_nothing_hands_over_on_the_in_memory_layer(
    settings: Settings, project: Project, application: Any
) -> None:
    layer(settings, IN_MEMORY)
    project.serve(application)
    warning = only("W005")
    assert "has no embedded() around it: nothing hands messages over" in warning.msg
    assert "embedded" in str(warning.hint)
    layer(settings, REDIS)
    assert told() == {}


def test_without_an_application_it_cannot_be_told_who_hands_over(settings: Settings) -> None:
    layer(settings, IN_MEMORY)
    del settings.ASGI_APPLICATION
    assert "without ASGI_APPLICATION it cannot be told" in only("W005").msg


def test_embedded_mode_is_seen_through_wrappers(settings: Settings, project: Project) -> None:
    layer(settings, IN_MEMORY)
    for wrap in (Wrapper, lambda inner: ProtocolTypeRouter({"http": Wrapper(inner)})):
        project.serve(wrap(embedded(ROUTER)))
        assert told() == {}


def test_an_application_that_cannot_be_seen_or_imported_is_not_blamed(settings: Settings, project: Project) -> None:
    layer(settings, IN_MEMORY)
    for application in (opaque, Wrapper(opaque)):
        project.serve(application)
        assert told() == {}
    settings.ASGI_APPLICATION = "no.such.application"
    assert told() == {}


@pytest.mark.parametrize(
    "hosts", [None, [HOST], ["redis://h"], [("h", 1)], [{**HOST, "max_connections": 500}, HOST], ["redis://h?db=1"]]
)
def test_redis_py_8_makes_100_connections(settings: Settings, versions: dict[str, str], hosts: Any) -> None:
    layer(settings, REDIS, hosts=hosts)
    assert "W006" not in told()
    warning = told(include_deployment_checks=True)["W006"]
    assert '"max_connections": 1000' in str(warning.hint)
    versions["redis"] = "7.1.0"
    assert "W006" not in told(include_deployment_checks=True)


@pytest.mark.parametrize("host", [{**HOST, "max_connections": 500}, "redis://h/0?max_connections=500"])
def test_a_host_that_says_how_many_connections_is_good(settings: Settings, versions: dict[str, str], host: Any) -> None:
    layer(settings, REDIS, hosts=[host])
    assert "W006" not in told(include_deployment_checks=True)


def test_the_pubsub_layer_needs_few_connections(settings: Settings, versions: dict[str, str]) -> None:
    layer(settings, PUBSUB)
    assert told(include_deployment_checks=True) == {}


# -- the store's server: more in tests/process/test_checks.py ------------------------------------------------


@pytest.fixture
def asked(settings: Settings) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"STORE": "tests.unit.test_checks.DoubtingStore"}


@pytest.mark.usefixtures("asked")
def test_a_store_is_asked_where_databases_are(settings: Settings) -> None:
    warning = only("W000", databases=["default"])
    assert (warning.msg, warning.hint) == ("It leaks.", "Mend it.")
    assert told() == {}
    assert told(databases=[]) == {}
    assert "delayserver.W000" in [message.id for message in run_checks(tags=["database"], databases=["default"])]


@pytest.mark.usefixtures("asked")
async def test_a_store_is_asked_from_within_an_event_loop_too() -> None:
    only("W000", databases=["default"])


def test_a_store_that_cannot_even_be_asked_has_no_doubts(settings: Settings) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"STORE": "tests.unit.test_checks.BrokenStore"}
    assert told(databases=["default"]) == {}


def test_a_store_in_another_database_is_not_asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"STORE": "database"}
    monkeypatch.setattr(DatabaseStore, "doubts", DoubtingStore.doubts)
    assert told(databases=["warehouse"]) == {}
    only("W000", databases=["warehouse", "default"])


class FakeLink:
    """A Redis that replies as it is told to; what it is not told it refuses."""

    def __init__(self, **replies: Any) -> None:
        self.replies = replies

    def __str__(self) -> str:
        return "redis://fake:6379"

    @property
    def here(self) -> FakeLink:
        return self

    async def ask(self, *command: str) -> Any:
        reply = self.replies.get(command[0], NoPermissionError("this user has no permissions"))
        if isinstance(reply, Exception):
            raise reply
        return reply


def doubts(**replies: Any) -> dict[str, str]:
    faults = asyncio.run(doubts_of(cast(RedisLink, FakeLink(**replies))))
    return {fault.id.removeprefix("delayserver."): fault.sentence for fault in faults}


@pytest.mark.parametrize(
    ("version", "ids"), [("5.0.14", ["W009"]), ("2.8", ["W009"]), ("6.0.0", []), ("10.0", []), ("unstable", [])]
)
def test_redis_must_not_be_too_old(version: str, ids: list[str]) -> None:
    found = doubts(INFO=f"# Server\r\nredis_version:{version}\r\n".encode())
    assert list(found) == ids
    assert not ids or found["W009"] == f"redis://fake:6379 is Redis {version}, and the store needs 6 or newer."


@pytest.mark.parametrize(
    ("replies", "ids"),
    [
        ({}, []),
        ({"INFO": b""}, []),
        ({"INFO": None}, []),
        ({"INFO": b"\xff:\xff\r\nno colon\r\n"}, []),
        ({"INFO": b"aof_enabled:0\r\n"}, []),
        ({"INFO": b"aof_enabled:0\r\n", "CONFIG": [b"save", b"3600 1"]}, []),
        ({"INFO": b"aof_enabled:0\r\n", "CONFIG": []}, []),
        ({"INFO": b"aof_enabled:0\r\n", "CONFIG": [b"save", b""]}, ["W008"]),
        ({"INFO": b"aof_enabled:1\r\n", "CONFIG": [b"save", b""]}, []),
        ({"CONFIG": [b"save", b""]}, []),
        ({"INFO": b"maxmemory_policy:allkeys-lfu\r\n"}, ["W007"]),
        ({"INFO": b"maxmemory_policy:volatile-lru\r\n"}, []),
        ({"INFO": b"maxmemory_policy:noeviction\r\n"}, []),
    ],
)
def test_what_redis_does_not_tell_is_not_held_against_it(replies: dict[str, Any], ids: list[str]) -> None:
    assert list(doubts(**replies)) == ids


def test_a_redis_that_is_away_is_told_in_one_line() -> None:
    assert doubts(INFO=OSError("no route\nto host")) == {
        "W010": "redis://fake:6379 does not answer (OSError: no route)."
    }


# -- schedules -----------------------------------------------------------------------------------------------

SINK = {"every": 5, "channel": "reports", "message": {"type": "report.build"}}


def test_a_schedule_in_settings_that_cannot_be_kept(settings: Settings) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"SCHEDULES": {"good": SINK, "nightly": {**SINK, "every": None, "cron": "0 25 * * *"}}}
    error = only("E014")
    assert "schedule nightly cannot be kept: " in error.msg and "hour" in error.msg


def test_schedules_that_are_no_dict(settings: Settings) -> None:
    layer(settings, REDIS)
    settings.DELAYSERVER = {"SCHEDULES": ["nightly"]}
    assert "a dict of schedules by name" in only("E003").msg


def test_two_schedules_of_one_name(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    layer(settings, REDIS)
    monkeypatch.setattr("delayserver.declaring._declared", [])
    schedule("nightly", Cron("0 3 * * *"), channel="reports", message={"type": "report.build"})
    settings.DELAYSERVER = {"SCHEDULES": {"nightly": SINK}}
    error = only("E015")
    assert __name__ in error.msg and "DELAYSERVER['SCHEDULES']" in error.msg


def test_with_check_handlers_a_schedule_needs_one(settings: Settings, project: Project) -> None:
    layer(settings, REDIS)
    project.serve(ROUTER)
    settings.DELAYSERVER = {
        "CHECK_HANDLERS": True,
        "SCHEDULES": {"good": SINK, "bad": {**SINK, "message": {"type": "report.bild"}}},
    }
    error = only("E014")
    assert "schedule bad cannot be kept" in error.msg and "report.bild" in error.msg


@pytest.mark.django_db
def test_rows_that_cannot_be_kept_or_have_another_s_name(settings: Settings, project: Project) -> None:
    layer(settings, IN_MEMORY)
    project.serve(embedded(ROUTER))
    settings.DELAYSERVER = {"STORE": "memory", "SCHEDULES": {"nightly": SINK}}
    Schedule.objects.create(name="nightly", cron="0 3 * * *", channel="reports", message={"type": "x"})
    Schedule.objects.create(name="bad", cron="0 25 * * *", channel="reports", message={"type": "x"})
    assert told() == {}
    found = told(databases=["default"])
    assert set(found) == {"W014", "W015"}
    assert "schedule bad cannot be kept: " in found["W014"].msg and "row " in found["W014"].msg
    assert "schedule nightly: it is in DELAYSERVER['SCHEDULES']" in found["W015"].msg


def test_rows_that_cannot_be_asked_have_no_faults(
    settings: Settings, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer(settings, IN_MEMORY)
    project.serve(embedded(ROUTER))
    settings.DELAYSERVER = {"STORE": "memory"}

    def away() -> None:
        raise ConnectionError("away")

    monkeypatch.setattr("delayserver.checks.schedules.read_rows", away)
    assert told(databases=["default"]) == {}
