"""CHECK_HANDLERS: what no consumer of the project's routing handles is refused where it is sent."""

from __future__ import annotations

import functools
import logging
from typing import Any
from unittest.mock import Mock

import pytest
from channels.auth import AuthMiddlewareStack
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from django.urls import path
from pytest_django import Settings

from delayserver import ConfigurationError, InvalidMessage, agroup_send_later, asend_later, group_send_later, send_later
from delayserver.embedded import embedded
from delayserver.handlers import check_handler, walk, worker_channels
from delayserver.message import Target

from ..support.routing import Project


class Reports(AsyncConsumer):  # type: ignore[misc]
    async def report_build(self, message: Any) -> None: ...


class Thumbnails(SyncConsumer):  # type: ignore[misc]
    size = 64

    def thumbnail(self, message: Any) -> None: ...


class Chat(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    async def chat_line(self, message: Any) -> None: ...


class Board(WebsocketConsumer):  # type: ignore[misc]
    def board_moved(self, message: Any) -> None: ...


class OwnDispatch(AsyncConsumer):  # type: ignore[misc]
    async def dispatch(self, message: Any) -> None: ...


class Anything(AsyncConsumer):  # type: ignore[misc]
    def __getattr__(self, name: str) -> Any: ...


class SetInInit(AsyncConsumer):  # type: ignore[misc]
    def __init__(self) -> None:
        self.report_build = self._build

    async def _build(self, message: Any) -> None: ...


class OwnCall(SyncConsumer):  # type: ignore[misc]
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class StaticFiles(ASGIStaticFilesHandler):
    def get_base_url(self) -> str:
        return "/static/"


async def opaque(scope: Any, receive: Any, send: Any) -> None: ...


WORKERS = ChannelNameRouter({"reports": Reports.as_asgi(), "thumbnails": Thumbnails.as_asgi(size=128)})
SOCKETS = URLRouter([path("chat/", Chat.as_asgi()), path("board/", URLRouter([path("<int:id>/", Board.as_asgi())]))])

SPECIFIC, GROUP = Target("channel", "specific.abc!def"), Target("group", "room")


@pytest.fixture
def project(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Project:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.DELAYSERVER = {"STORE": "memory", "CHECK_HANDLERS": True}
    project = Project(settings, monkeypatch)
    http = StaticFiles(get_asgi_application())
    project.serve(ProtocolTypeRouter({"http": http, "websocket": SOCKETS, "channel": WORKERS, "lifespan": opaque}))
    return project


def channel(name: str) -> Target:
    return Target("channel", name)


def refusal(target: Target, type: str) -> str:
    with pytest.raises(InvalidMessage) as refused:
        check_handler(target, type)
    return str(refused.value)


@pytest.mark.usefixtures("project")
class TestPlainRouting:
    @pytest.mark.parametrize(
        ("target", "type"),
        [
            (channel("reports"), "report.build"),
            (channel("reports"), "report_build"),
            (channel("thumbnails"), "thumbnail"),
            (SPECIFIC, "chat.line"),
            (SPECIFIC, "board.moved"),
            (SPECIFIC, "report.build"),
            (GROUP, "chat.line"),
            (GROUP, "thumbnail"),
        ],
    )
    def test_what_a_consumer_has_a_method_for_is_accepted(self, target: Target, type: str) -> None:
        check_handler(target, type)

    def test_a_type_without_a_method_is_told_with_the_consumer(self) -> None:
        assert refusal(channel("reports"), "report.biuld") == (
            "expected channel 'reports' to have a consumer with a method report_biuld for type 'report.biuld';"
            " Reports has none (CHECK_HANDLERS)"
        )

    def test_the_method_of_another_channels_consumer_does_not_count(self) -> None:
        assert "Thumbnails has none" in refusal(channel("thumbnails"), "report.build")

    def test_what_is_no_method_does_not_handle(self) -> None:
        assert "a method size for type 'size'" in refusal(channel("thumbnails"), "size")

    def test_an_unknown_channel_is_told_with_those_that_are_known(self) -> None:
        assert refusal(channel("reprots"), "report.build") == (
            "expected channel 'reprots' to have a consumer in the routing (CHECK_HANDLERS); known: reports, thumbnails"
        )

    @pytest.mark.parametrize("target", [SPECIFIC, GROUP])
    def test_a_type_that_no_consumer_has_a_method_for_is_refused_everywhere(self, target: Target) -> None:
        assert refusal(target, "chat.lien") == (
            "expected a consumer in the routing to have a method chat_lien for type 'chat.lien';"
            " none has (CHECK_HANDLERS)"
        )

    def test_a_long_type_is_cut_in_the_sentence_once(self) -> None:
        assert "'" + "x" * 60 + "'..." in refusal(GROUP, "x" * 1_000)

    def test_a_refusal_stays_one(self) -> None:
        assert refusal(GROUP, "nonsense") == refusal(GROUP, "nonsense")

    def test_the_worker_channels_are_those_of_the_routing(self) -> None:
        assert worker_channels() == ["reports", "thumbnails"]

    def test_each_way_of_sending_refuses(self) -> None:
        with pytest.raises(InvalidMessage, match="Reports has none"):
            send_later("reports", {"type": "no.such"}, delay=0)
        with pytest.raises(InvalidMessage, match="none has"):
            group_send_later("room", {"type": "no.such"}, delay=0)
        assert send_later("reports", {"type": "report.build"}, delay=0).created
        assert group_send_later("room", {"type": "chat.line"}, delay=0).created

    async def test_each_way_of_sending_refuses_in_a_loop_too(self) -> None:
        with pytest.raises(InvalidMessage, match="Reports has none"):
            await asend_later("reports", {"type": "no.such"}, delay=0)
        with pytest.raises(InvalidMessage, match="none has"):
            await agroup_send_later("room", {"type": "no.such"}, delay=0)

    def test_without_the_setting_nothing_is_refused(self, settings: Settings) -> None:
        settings.DELAYSERVER = {"STORE": "memory"}
        assert send_later("reprots", {"type": "no.such"}, delay=0).created


# -- what an application may look like -----------------------------------------------------------------------


class Wrapper:
    def __init__(self, name: str, wrapped: Any) -> None:
        setattr(self, name, wrapped)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Slotted:
    __slots__ = ("app",)

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


def decorated(application: Any) -> Any:
    @functools.wraps(application)
    async def wrapper(scope: Any, receive: Any, send: Any) -> None: ...

    return wrapper


ROUTER = ProtocolTypeRouter({"websocket": SOCKETS, "channel": WORKERS})


class OwnProtocols(ProtocolTypeRouter):  # type: ignore[misc]
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class OwnNames(ChannelNameRouter):  # type: ignore[misc]
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class OwnRoutes(URLRouter):  # type: ignore[misc]
    def __init__(self, routes: Any, default: Any) -> None:
        super().__init__(routes)
        self.default = default

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class SameNames(ChannelNameRouter):  # type: ignore[misc]
    """A router like any other, but for what it is called."""


class OwnDjango(ASGIHandler):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Dispatcher:
    """Each of its keywords is an attribute."""

    def __init__(self, **kept: Any) -> None:
        vars(self).update(kept)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class SlottedDispatcher(Slotted):
    __slots__ = ("channels",)

    def __init__(self, app: Any, channels: Any) -> None:
        super().__init__(app)
        self.channels = channels


class Awaited:
    """An application as a class: calling it and awaiting the instance runs it."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


def decorated_dispatcher(application: Any, other: Any) -> Any:
    @functools.wraps(application)
    async def dispatcher(scope: Any, receive: Any, send: Any) -> None:
        await (application if scope["type"] == "http" else other)(scope, receive, send)

    return dispatcher


DJANGO = get_asgi_application()


@pytest.mark.parametrize(
    "application",
    [
        Wrapper("inner", ROUTER),
        Wrapper("app", Wrapper("application", ROUTER)),
        Slotted(ROUTER),
        decorated(ROUTER),
        StaticFiles(ROUTER),
        ProtocolTypeRouter({"websocket": AuthMiddlewareStack(SOCKETS), "channel": Wrapper("inner", WORKERS)}),
        ProtocolTypeRouter({"websocket": AllowedHostsOriginValidator(SOCKETS), "channel": WORKERS}),
        ProtocolTypeRouter({"channel": ChannelNameRouter({"reports": decorated(Reports.as_asgi())})}),
        ProtocolTypeRouter({"channel": ChannelNameRouter({"reports": Wrapper("inner", Reports.as_asgi())})}),
        Wrapper("app", ProtocolTypeRouter({"channel": ProtocolTypeRouter({"channel": WORKERS})})),
        Wrapper("whatever_it_is_called", ROUTER),
        Dispatcher(app=ROUTER, again=ROUTER, logger=logging.getLogger(), names=["a"], hook=len, kind=Reports, more={}),
        ProtocolTypeRouter({"websocket": SOCKETS, "channel": SameNames(WORKERS.application_mapping)}),
    ],
)
def test_wrappers_are_seen_through(project: Project, application: Any) -> None:
    project.serve(application)
    check_handler(channel("reports"), "report.build")
    assert "known: reports" in refusal(channel("reprots"), "report.build")
    assert "Reports has none" in refusal(channel("reports"), "no.such")
    assert "none has" in refusal(GROUP, "no.such")


def test_embedded_mode_is_seen_through(project: Project) -> None:
    project.serve(embedded(ROUTER, workers=["reports"]))
    assert "Reports has none" in refusal(channel("reports"), "no.such")


@pytest.mark.parametrize(
    ("application", "accepted"),
    [
        (opaque, [channel("anything"), SPECIFIC, GROUP]),
        (ProtocolTypeRouter({"websocket": opaque, "channel": WORKERS}), [SPECIFIC, GROUP]),
        (ProtocolTypeRouter({"channel": opaque}), [channel("anything"), SPECIFIC, GROUP]),
        (
            ProtocolTypeRouter({"channel": ChannelNameRouter({"reports": opaque})}),
            [channel("reports"), SPECIFIC, GROUP],
        ),
        (ProtocolTypeRouter({"channel": ChannelNameRouter({"reports": OwnDispatch.as_asgi()})}), [channel("reports")]),
        *(
            (ProtocolTypeRouter({"channel": ChannelNameRouter({"reports": kind.as_asgi()})}), [channel("reports")])
            for kind in (Anything, SetInInit, OwnCall)
        ),
        (ProtocolTypeRouter({"channel": ChannelNameRouter({"reports": Reports})}), [channel("reports")]),
        (OwnProtocols({"http": DJANGO}), [channel("reports"), GROUP]),
        (
            ProtocolTypeRouter({"channel": OwnNames({"a": Reports.as_asgi()})}),
            [channel("reports"), channel("a"), GROUP],
        ),
        (ProtocolTypeRouter({"websocket": OwnRoutes(SOCKETS.routes, DJANGO)}), [SPECIFIC, GROUP]),
        (OwnDjango(), [channel("reports"), GROUP]),
        (Dispatcher(app=DJANGO, channels=ROUTER), [channel("anything"), GROUP]),
        (Dispatcher(inner=ROUTER, fallback=opaque), [channel("anything"), GROUP]),
        (Dispatcher(inner=ROUTER, fallback=Awaited), [channel("anything"), GROUP]),
        (Dispatcher(inner=ROUTER, others=[opaque]), [channel("anything"), GROUP]),
        (Dispatcher(inner=ROUTER, others={"http": opaque}), [channel("anything"), GROUP]),
        (Dispatcher(inner=ROUTER, routes=SOCKETS.routes), [channel("anything"), GROUP]),
        (SlottedDispatcher(DJANGO, ROUTER), [channel("anything"), GROUP]),
        (decorated_dispatcher(DJANGO, ROUTER), [channel("anything"), GROUP]),
        (decorated_dispatcher(Reports.as_asgi(), opaque), [channel("anything"), GROUP]),
        (Wrapper("inner", functools.partial(opaque)), [channel("anything"), GROUP]),
        (Mock(spec=["inner"], inner=opaque), [channel("anything"), GROUP]),
    ],
)
def test_what_cannot_be_seen_is_accepted(project: Project, application: Any, accepted: list[Target]) -> None:
    project.serve(application)
    for target in accepted:
        check_handler(target, "no.such")


def test_an_opaque_socket_makes_no_worker_channel(project: Project) -> None:
    project.serve(ProtocolTypeRouter({"websocket": opaque, "channel": WORKERS}))
    assert "known: reports, thumbnails" in refusal(channel("reprots"), "report.build")
    assert "Reports has none" in refusal(channel("reports"), "no.such")


def test_a_project_without_consumers_has_no_handlers(project: Project) -> None:
    project.serve(get_asgi_application())
    assert "known: none" in refusal(channel("reports"), "report.build")
    assert "none has" in refusal(GROUP, "chat.line")


def test_one_consumer_for_every_channel_is_the_reader_of_each(project: Project) -> None:
    project.serve(ProtocolTypeRouter({"channel": Reports.as_asgi()}))
    check_handler(channel("whatever"), "report.build")
    assert "Reports has none" in refusal(channel("whatever"), "no.such")


def test_an_application_that_wraps_itself_or_for_ever_has_an_end(project: Project) -> None:
    circle = Wrapper("inner", None)
    circle.inner = circle  # type: ignore[attr-defined]
    assert len(list(walk(circle))) == 1
    assert len(list(walk(Mock()))) <= 10_000


def test_the_routing_is_looked_at_again_when_the_setting_changes(project: Project) -> None:
    assert "known: reports, thumbnails" in refusal(channel("new"), "report.build")
    project.serve(ProtocolTypeRouter({"channel": ChannelNameRouter({"new": Reports.as_asgi()})}))
    check_handler(channel("new"), "report.build")
    assert worker_channels() == ["new"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (None, "expected ASGI_APPLICATION to be a dotted path, got none"),
        ("no.such.application", "'no.such.application' cannot be imported .ModuleNotFoundError: No module named 'no'"),
        ("tests.asgi.nothing", "'tests.asgi.nothing' cannot be imported"),
    ],
)
def test_without_a_routing_the_settings_are_at_fault(
    project: Project, settings: Settings, path: str | None, sentence: str
) -> None:
    settings.ASGI_APPLICATION = path
    with pytest.raises(ConfigurationError, match=sentence):
        send_later("reports", {"type": "report.build"}, delay=0)
