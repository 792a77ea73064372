"""What a web server's process does, and tasks that run in it: no worker is there."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery, Task, signals
from celery.exceptions import Retry
from celery.result import GroupResult
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from delayserver.contrib import celery_saying
from delayserver.contrib.celery import aprogress_of, current_progress, progress_id, progress_of, show_progress
from delayserver.contrib.celery_saying import Saying, saying
from delayserver.contrib.celery_signals import RECEIVERS
from delayserver.contrib.celery_states import retrying, running, told_by_task
from delayserver.errors import ConfigurationError, InvalidMessage, StoreUnavailable
from delayserver.progress import Progress
from delayserver.progress.board import Board, get_board
from delayserver.progress.making import is_id
from delayserver.progress.record import Run
from delayserver.progress.tokens import Token
from delayserver.stores.entries import Change
from delayserver.stores.memory import MemoryStore

from ..support.process import Process
from . import shown
from .conftest import layers, until

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
LINE = "progress of a Celery task cannot be shown at present"


@pytest.fixture
def eager(settings: Settings) -> Iterator[Settings]:
    """Tasks run where they are sent, in this process, and their progress is in its memory."""
    settings.CHANNEL_LAYERS = IN_MEMORY
    settings.DELAYSERVER = {"STORE": "memory"}
    shown.app.conf.task_always_eager = True
    yield settings
    shown.app.conf.task_always_eager = False


@pytest.fixture
def options() -> Iterator[Callable[..., None]]:
    """Other options, until the test is over."""
    yield lambda **options: show_progress(shown.app, **options)
    show_progress(shown.app)


def test_eager_tasks_are_shown(eager: Settings) -> None:
    p = progress_of(shown.counts.delay(7))
    assert (p.state, p.current, p.total, p.result) == ("succeeded", 7, 7, 7)
    p = progress_of(shown.raises.apply())
    assert (p.state, p.error) == ("failed", "ValueError: no such customer, password=***")


def test_eager_tasks_whose_errors_go_on_are_shown(eager: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shown.app.conf, "task_eager_propagates", True)
    with pytest.raises(ValueError, match="no such customer"):
        shown.raises.apply_async(task_id="goes-on")
    p = progress_of("goes-on")
    assert (p.state, p.error) == ("failed", "ValueError: no such customer, password=***")


def test_an_eager_retry_is_the_same_work(eager: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "at_gate", lambda id: None)
    p = progress_of(shown.tries_again.apply_async((0,)))
    assert (p.state, p.attempt, p.result) == ("succeeded", 2, 1)


def test_what_a_worker_gives_up_as_it_ends_is_left_as_it_was(eager: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Celery tells of it as of a retry, but gives no reason."""
    p = progress_of("given-up")
    signals.task_retry.send(sender=shown.counts, request=SimpleNamespace(id="given-up", retries=0), einfo=None)
    p.refresh()
    assert (p.state, p.attempt) == ("pending", 1)
    assert LINE not in caplog.text


def test_once_or_twice_is_the_same(eager: Settings) -> None:
    before, method = [len(_signal(receiver).receivers) for receiver in RECEIVERS], vars(Task)["update_state"]
    show_progress(shown.app)
    show_progress(shown.app)
    assert [len(_signal(receiver).receivers) for receiver in RECEIVERS] == before
    assert vars(Task)["update_state"] is method
    told: list[Any] = []
    task = SimpleNamespace(app=None, name="none", request=SimpleNamespace(id="7"), backend=SimpleNamespace())
    task.backend.store_result = lambda *args, **named: told.append((args, named))
    Task.update_state.__get__(task)(state="PROGRESS", meta={"n": 1})
    assert told == [(("7", {"n": 1}, "PROGRESS"), {"request": task.request})]


def _signal(receiver: Any) -> Any:
    return getattr(signals, receiver.__name__)


@pytest.mark.parametrize("tasks", [[], ["other"], lambda name: name.endswith("other")])
def test_tasks_that_are_not_chosen_are_not_shown(eager: Settings, options: Callable[..., None], tasks: Any) -> None:
    options(tasks=tasks)
    assert Progress.get(progress_id(shown.counts.delay(7).id)) is None
    assert Progress.get(progress_id(shown.raises.apply().id)) is None


@pytest.mark.parametrize("tasks", [[shown.counts.name], lambda name: name.endswith("counts")])
def test_tasks_that_are_chosen_are_shown(eager: Settings, options: Callable[..., None], tasks: Any) -> None:
    options(tasks=tasks)
    assert progress_of(shown.counts.delay(7)).state == "succeeded"


def test_results_may_be_left_out(eager: Settings, options: Callable[..., None]) -> None:
    options(results=False)
    p = progress_of(shown.counts.delay(7))
    assert (p.state, p.result) == ("succeeded", None)


def _seven() -> int:
    return 7


def test_tasks_of_other_apps_are_not_shown(eager: Settings) -> None:
    other = Celery("other", set_as_current=False)
    other.conf.task_always_eager = True
    task = other.task(name="other.task")(_seven)
    assert task.delay().get() == 7
    assert Progress.get(progress_id(task.delay().id)) is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tasks": "a.task"}, "expected tasks to be a list of names, or a function, got 'a.task'"),
        ({"tasks": [7]}, "expected tasks to be names of tasks, got a value of type list"),
        ({"results": "no"}, "expected results to be True or False, got 'no'"),
    ],
)
def test_options_that_are_none_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        show_progress(shown.app, **options)
    assert str(refused.value) == sentence


# -- in views and tasks ------------------------------------------------------------------------------------------


async def test_progress_of_a_result_or_an_id_is_made_or_found(eager: Settings) -> None:
    made = await aprogress_of(shown.app.AsyncResult("t-1"), user=User(pk=7))
    assert (made.id, made.state) == ("celery-t-1", "pending")
    assert Token.read(made.token) == Token("celery-t-1", "7")
    await made.asucceed("found")
    found = progress_of("t-1")
    assert (found.result, found.user) == ("found", "")


@pytest.mark.parametrize("work", [None, 7, "", GroupResult("g-1", [])])
def test_progress_of_anything_else_is_refused(work: object) -> None:
    with pytest.raises(InvalidMessage, match="expected a task's AsyncResult or id, got"):
        progress_of(work)


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_every_task_id_has_an_id_of_its_own(one: str, other: str) -> None:
    assert is_id(progress_id(one))
    assert (progress_id(one) == progress_id(other)) == (one == other)


def test_current_progress_elsewhere_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="in a Celery task's thread, got a call elsewhere"):
        current_progress()


def test_a_task_that_is_called_as_a_function_shows_nothing(eager: Settings) -> None:
    assert shown.counts(3) == 3


META = st.dictionaries(
    st.sampled_from(["current", "total", "percent", "text", "description", "status", "more"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(), st.binary(), st.just([])),
)


@given(st.sampled_from([None, "PROGRESS", "STARTED", "SUCCESS", "FAILURE", "REVOKED"]), st.one_of(META, st.integers()))
def test_whatever_a_task_tells_can_be_shown(state: str | None, meta: object) -> None:
    changes = told_by_task(None, state, meta, results=True).changes
    for name in ("current", "total"):
        assert changes.get(name) is None or 0 <= changes[name] <= 2**53
    assert isinstance(changes.get("text", ""), str)
    assert changes["state"] in ("running", "succeeded", "failed", "cancelled")


def test_a_run_has_no_say_once_the_next_has_begun(eager: Settings) -> None:
    """The message of a retry is sent first, so another process may be quicker than the word of it."""
    id = "celery-overtaken"
    saying().say(id, running(Run(1, 2), anew=True))
    saying().say(id, retrying(Run(1, 1), Retry(when=60), datetime(2026, 1, 1, tzinfo=UTC)))
    saying().note(id, told_by_task(Run(1, 1), "PROGRESS", {"current": 1, "text": "old"}, results=True))
    p = progress_of("overtaken")
    p.refresh()
    assert (p.state, p.attempt, p.current, p.text) == ("running", 2, None, "")
    saying().note(id, told_by_task(Run(1, 2), "PROGRESS", {"current": 1, "text": "new"}, results=True))
    p.refresh()
    assert (p.attempt, p.current, p.text) == (2, 1, "new")


# -- the store is away -------------------------------------------------------------------------------------------


@pytest.fixture
def deaf() -> Iterator[str]:
    """A server that takes connections, and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.mark.parametrize("is_there", [True, False])
def test_tasks_are_sent_while_the_store_is_away(
    broker: str, deaf: str, settings: Settings, caplog: pytest.LogCaptureFixture, is_there: bool
) -> None:
    """What says nothing is waited for once, and for a second; what is not there, not at all."""
    settings.CHANNEL_LAYERS = layers(deaf if is_there else "redis://127.0.0.1:1/0")
    with caplog.at_level(logging.WARNING, "delayserver"):
        results = [shown.counts.apply_async((7,), queue="nobody's") for _ in range(20)]
    with redis.Redis.from_url(shown.app.conf.broker_url) as client:
        assert client.llen("nobody's") == 20
        client.delete("nobody's")
    assert len({result.id for result in results}) == 20
    [line] = [record.getMessage() for record in caplog.records if LINE in record.getMessage()]
    if is_there:
        assert line == f"{LINE}: StoreUnavailable: the store did not answer within 1 s"


def test_what_a_task_has_come_to_is_stored_when_the_store_is_back(
    eager: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_saying, "WAIT_SECONDS", 0.0)
    is_away = True

    async def change_entries(self: MemoryStore, changes: Sequence[Change]) -> list[int]:
        if is_away:
            raise StoreUnavailable("away")
        return await changed(self, changes)

    changed = MemoryStore.change_entries
    monkeypatch.setattr(MemoryStore, "change_entries", change_entries)
    result = shown.counts.delay(7)
    is_away = False
    p = until(progress_of(result), lambda p: p.is_over, "its end")
    assert (p.state, p.result) == ("succeeded", 7)


def test_only_so_many_wait_for_the_store(eager: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery_saying, "MAX_BEHIND", 2)
    monkeypatch.setattr(celery_saying, "WAIT_SECONDS", 0.0)
    board: Board = get_board()
    own = Saying(board)

    async def never(_: object) -> None:
        await never_set.wait()

    never_set = asyncio.Event()
    monkeypatch.setattr(board, "put", never)
    with pytest.raises(StoreUnavailable, match="the store did not answer"):
        own.sent("a")
    own.sent("b")  # which waits no more
    with pytest.raises(StoreUnavailable, match="2 tasks wait for the store already"):
        own.sent("c")


# -- imported ----------------------------------------------------------------------------------------------------


def test_it_is_imported_before_there_are_settings() -> None:
    """As from a project's ``__init__.py``, which is imported on the way to its settings."""
    code = "import celery; from delayserver.contrib.celery import show_progress; show_progress(celery.Celery('x'))"
    code += "; from django.conf import settings; print('configured', settings.configured)"
    with Process([sys.executable, "-c", code], env={"DJANGO_SETTINGS_MODULE": "nowhere"}) as process:
        process.wait_for_line("^configured False$")


def test_without_celery_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['celery'] = None; import delayserver.contrib.celery"
    with Process([sys.executable, "-c", code]) as process:
        process.wait_for_line(r"ConfigurationError: expected celery .*: install delayserver\[celery\]$")
