"""What becomes of Celery's tasks is seen as progress, in real workers of processes and of threads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from celery import group
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from delayserver.contrib.celery import aprogress_of, progress_of
from delayserver.progress import Progress
from delayserver.routing import websocket_urlpatterns

from . import shown
from .conftest import SEEN_SECONDS, Send, new_worker, task_id, until, until_over


def begun(p: Progress) -> tuple[Any, ...]:
    return p.state, p.current, p.total, p.text


def test_from_pending_to_running_to_succeeded(send: Send) -> None:
    p = send(shown.steps, {"rows": 3})
    until(p, lambda p: p.current == 1, "its first step")
    assert (p.state, p.current, p.total, p.text, p.attempt) == ("running", 1, 3, "one of three", 1)
    shown.open_gate(task_id(p))
    until(p, lambda p: p.current == 3, "its last step")
    assert begun(p) == ("running", 3, 3, "three of three")
    shown.open_gate(task_id(p))
    until_over(p)
    assert (p.state, p.result, p.error) == ("succeeded", {"rows": 3}, "")


def test_the_last_step_is_stored_with_the_end(send: Send) -> None:
    all_of_them = [send(shown.counts, 50) for _ in range(10)]
    for p in all_of_them:
        until_over(p)
        assert (p.state, p.current, p.total, p.result) == ("succeeded", 50, 50, 50)


def test_what_raises_has_failed_and_tells_no_secrets(send: Send) -> None:
    p = until_over(send(shown.raises))
    assert (p.state, p.error) == ("failed", "ValueError: no such customer, password=***")


def test_a_result_that_json_cannot_hold_is_left_out(send: Send) -> None:
    p = until_over(send(shown.returns_an_object))
    assert (p.state, p.result) == ("succeeded", None)


def test_an_ignored_result_is_left_out(send: Send) -> None:
    p = until_over(send(shown.returns_in_vain))
    assert (p.state, p.result) == ("succeeded", None)


def test_a_retry_says_when(send: Send) -> None:
    p = until(send(shown.tries_again, 3_600), lambda p: p.attempt == 2, "its retry")
    assert p.state == "running"
    assert p.text.startswith("tried again at ")
    assert p.text.endswith(" after ConnectionError: refused")


def test_a_retry_begins_anew(send: Send) -> None:
    p = until(send(shown.tries_again, 0), lambda p: p.attempt == 2 and p.text == "half of it", "its second attempt")
    assert begun(p) == ("running", 5, 10, "half of it")
    shown.open_gate(task_id(p))
    until_over(p)
    assert (p.state, p.result, p.attempt) == ("succeeded", 1, 2)


def test_what_update_state_says_is_shown(send: Send) -> None:
    p = until(send(shown.tells_by_state), lambda p: p.current == 4, "its state")
    assert begun(p) == ("running", 4, 9, "four of nine")
    shown.open_gate(task_id(p))
    until(p, lambda p: p.current == 80, "its next state")
    assert begun(p) == ("running", 80, 100, "loading")
    shown.open_gate(task_id(p))
    until_over(p)
    assert (p.state, p.current, p.result) == ("succeeded", 80, "told")


def test_a_class_of_its_own_fails_by_its_state(send: Send) -> None:
    p = until_over(send(shown.export))
    assert (p.state, p.current, p.error) == ("failed", 1, "it was odd")


def test_what_ignores_is_cancelled_and_what_rejects_has_failed(send: Send) -> None:
    ignored, rejected = send(shown.ignores), send(shown.rejects)
    assert until_over(ignored).state == "cancelled"
    until_over(rejected)
    assert (rejected.state, rejected.error) == ("failed", "not today")


def test_a_replaced_task_goes_on_under_its_id(send: Send) -> None:
    p = until_over(send(shown.is_replaced))
    assert (p.state, p.result, p.current) == ("succeeded", 3, 3)


def test_revoked_before_it_began(send: Send) -> None:
    id = f"revoked-{datetime.now(UTC).timestamp()}"
    assert shown.app.control.revoke(id, reply=True, limit=2, timeout=20)
    p = until_over(send(shown.steps, task_id=id))
    assert (p.id, p.state, p.text) == (f"celery-{id}", "cancelled", "")


def test_expired_before_it_began(send: Send) -> None:
    p = until_over(send(shown.steps, expires=datetime(2020, 1, 1, tzinfo=UTC)))
    assert (p.state, p.text) == ("cancelled", "it expired before it began")


def test_what_no_worker_knows_has_failed(send: Send) -> None:
    class Unknown:
        @staticmethod
        def apply_async(args: Any, queue: str) -> Any:
            return shown.app.send_task("nowhere.at_all", args, queue=queue)

    p = until_over(send(Unknown))
    assert (p.state, p.error) == ("failed", "no worker knows a task nowhere.at_all")


def test_each_task_of_a_group_by_itself(send: Send) -> None:
    class Group:
        @staticmethod
        def apply_async(args: Any, queue: str) -> Any:
            signatures = [shown.counts.s(n).set(queue=queue) for n in (1, 2)]
            for one in group(signatures).apply_async().results:
                seen.append(progress_of(one))
            return seen[0].id.removeprefix("celery-")

    seen: list[Progress] = []
    send(Group)
    assert [until_over(p).result for p in seen] == [1, 2]


# -- in processes ------------------------------------------------------------------------------------------------


def test_terminated_while_it_ran(send_to_prefork: Send) -> None:
    p = until(send_to_prefork(shown.steps), lambda p: p.current == 1, "its first step")
    shown.app.control.revoke(task_id(p), terminate=True)
    assert until_over(p).state == "cancelled"


def test_what_ran_into_its_time_limit(send_to_prefork: Send) -> None:
    soft, hard = send_to_prefork(shown.takes_too_long), send_to_prefork(shown.steps, time_limit=1)
    for p in (soft, hard):
        until_over(p)
        assert (p.state, p.error) == ("timed_out", "it ran into its time limit")


def test_a_process_that_is_killed_has_failed(send_to_prefork: Send) -> None:
    p = until_over(send_to_prefork(shown.dies))
    assert p.state == "failed"
    assert p.error.startswith("WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL)")


def test_what_is_acked_late_goes_on_after_its_process_was_killed(send_to_prefork: Send) -> None:
    p = until(send_to_prefork(shown.dies_once), lambda p: p.text == "half", "its first half")
    until(p, lambda p: p.state == "running" and p.text == "", "its second beginning")
    assert (p.current, p.attempt) == (None, 1)
    shown.open_gate(task_id(p))
    until_over(p)
    assert (p.state, p.result) == ("succeeded", "done after all")


def test_what_is_acked_late_goes_on_after_its_worker_was_killed(web: str) -> None:
    with new_worker("threads", web, database=2) as first:
        with shown.app.connection_for_write(f"{web.removesuffix('/0')}/2") as connection:
            p = progress_of(shown.is_acked_late.apply_async(queue="threads", connection=connection))
        until(p, lambda p: p.current == 1, "its first half")
        first.kill()
        first.wait()
    with new_worker("threads", web, database=2) as second:
        shown.open_gate(task_id(p))
        until_over(p)
        second.kill()
    assert (p.state, p.result, p.attempt) == ("succeeded", "by another worker", 1)


# -- in a browser -----------------------------------------------------------------------------------------------


async def frame_where(socket: WebsocketCommunicator, seen: list[Any], **wanted: Any) -> None:
    """The next frames, until one is so."""
    while True:
        seen.append(await socket.receive_json_from(SEEN_SECONDS))
        if wanted.items() <= seen[-1].items():
            return


async def test_a_browser_sees_a_task_from_the_beginning_to_the_end(web: str, workers: object) -> None:
    result = await sync_to_async(shown.steps.apply_async)(("the result",), countdown=0, queue="prefork")
    p = await aprogress_of(result)
    socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), f"/ws/progress/{p.token}/")
    assert (await socket.connect())[0]
    seen: list[Any] = []
    await frame_where(socket, seen, state="running", current=1, total=3, text="one of three")
    await sync_to_async(shown.open_gate)(result.id)
    await frame_where(socket, seen, state="running", current=3, text="three of three")
    await sync_to_async(shown.open_gate)(result.id)
    await frame_where(socket, seen, state="succeeded", result="the result", attempt=1)
    closed = await socket.receive_output(SEEN_SECONDS)
    assert closed == {"type": "websocket.close", "code": 1000}
    assert {frame["id"] for frame in seen} == {p.id}
    versions = [frame["version"] for frame in seen]
    assert versions == sorted(set(versions))
