"""The same state for clients without WebSockets, under ASGI and under WSGI."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.test import AsyncRequestFactory, RequestFactory
from django.test.client import AsyncClient, Client
from django.urls import include, path
from pytest_django import Settings

from delayserver.consumers import ProgressConsumer
from delayserver.errors import StoreUnavailable
from delayserver.progress import Progress
from delayserver.progress.board import Board
from delayserver.progress.tokens import Token
from delayserver.views import ProgressView

from .test_socket import BAD

urlpatterns = [path("", include("delayserver.urls"))]


@pytest.fixture(params=["memory", "redis and sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["ASGI", "WSGI"])
def call(request: pytest.FixtureRequest, board: Board, settings: Settings) -> Callable[..., Any]:
    """Ask for what is at ``/progress/<token>/``."""
    settings.ROOT_URLCONF = __name__

    async def ask(token: str, method: str = "get", **headers: str) -> Any:
        if request.param == "ASGI":
            return await getattr(AsyncClient(), method)(f"/progress/{token}/", headers=headers)
        return await sync_to_async(getattr(Client(), method))(f"/progress/{token}/", headers=headers)

    return ask


async def test_the_present_state_is_json_and_has_a_version(call: Callable[..., Any]) -> None:
    p = await Progress.acreate(total=5, text="ü")
    answer = await call(p.token)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(answer.content) == p.frame()
    assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == ('"1"', "private, no-cache")
    await p.update(2)
    await p.arefresh()
    answer = await call(p.token)
    assert json.loads(answer.content)["current"] == 2
    assert answer.headers["ETag"] == f'"{p.version}"'


@pytest.mark.parametrize(
    ("sent", "status"),
    [('"1"', 304), ('W/"1"', 304), ('"0", "1"', 304), ('"2"', 200), ("1", 200), ('"', 200), ("", 200)],
)
async def test_what_is_known_is_not_sent_again(call: Callable[..., Any], sent: str, status: int) -> None:
    p = await Progress.acreate()
    answer = await call(p.token, **{"If-None-Match": sent})
    assert (answer.status_code, answer.headers["ETag"]) == (status, '"1"')
    assert (answer.content == b"") == (status == 304)
    assert answer.headers["Cache-Control"] == "private, no-cache"


async def test_other_methods(call: Callable[..., Any]) -> None:
    p = await Progress.acreate()
    head = await call(p.token, "head")
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", '"1"')
    options = await call(p.token, "options")
    assert (options.status_code, options.headers["Allow"]) == (200, "GET, HEAD, OPTIONS")
    for method in ("post", "put", "patch", "delete"):
        assert (await call(p.token, method)).status_code == 405


@pytest.mark.parametrize("name", [name for name, token in BAD.items() if token and "/" not in token])
async def test_who_has_no_token_is_told_nothing(call: Callable[..., Any], name: str) -> None:
    await Progress.acreate(id="known")
    answer = await call(BAD[name])
    assert (answer.status_code, json.loads(answer.content)) == (404, {"error": "there is no such progress"})
    assert answer.headers["Cache-Control"] == "private, no-cache"


async def test_what_is_anothers_or_has_expired_is_refused(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    p = await Progress.acreate(user=7)
    answer = await call(p.token)
    assert (answer.status_code, json.loads(answer.content)) == (403, {"error": "this progress is not for you"})
    monkeypatch.setattr("django.core.signing.TimestampSigner.timestamp", lambda self: "0")
    answer = await call(Token(p.id).sign())
    assert (answer.status_code, json.loads(answer.content)) == (403, {"error": "this token has expired"})


async def test_a_store_that_is_away_is_no_reason_to_forget_it(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    p = await Progress.acreate()

    async def away(*args: object, **options: object) -> None:
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(Progress, "aget", away)
    assert (await call(p.token)).status_code == 503


async def test_the_projects_own_consumer_is_asked(board: Board) -> None:
    scopes: list[Any] = []

    class Mine(ProgressConsumer):
        def has_permission(self, scope: Any, progress: Progress) -> bool:
            scopes.append(scope)
            raise PermissionDenied

    p = await Progress.acreate(user=7)
    view = ProgressView.as_view(consumer=Mine)
    for factory in (RequestFactory, AsyncRequestFactory):
        request = factory().get("/progress/")
        request.user, request.session = AnonymousUser(), {"a": 1}  # type: ignore[assignment]
        request.auser = sync_to_async(lambda: request.user)  # noqa: B023
        assert (await view(request, token=p.token)).status_code == 403  # type: ignore[misc]
        assert (scopes[-1]["session"], scopes[-1]["user"], scopes[-1]["path"]) == ({"a": 1}, request.user, "/progress/")
