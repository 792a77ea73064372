"""How frames come, whatever becomes of the server, the socket, the page, and the element."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, Request, expect

from ..support.wait import await_for
from .conftest import SCRIPT, Show, element, heard, in_state, linked, part, said
from .standin import StandIn

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def versions(page: Page, token: str = "one") -> list[int]:
    return [version for name, id, version, _ in await heard(page) if name == "progress" and id == token]


async def passing(page: Page, fact: Callable[[], Any], what: str, step: int = 500) -> None:
    """The clock of the page runs until `fact`, in steps of so many ms, which leave the network time to answer."""

    async def look() -> bool:
        await page.clock.run_for(step)
        seen = fact()
        return bool(await seen if inspect.isawaitable(seen) else seen)

    await await_for(look, 30, what)


async def given_up(page: Page) -> None:
    await passing(page, page.locator("[connection=given-up]").count, "it to give up", 5000)


async def test_it_goes_on_when_the_server_died_and_is_back(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running", current=1, total=4)
    page = await show(element())
    await in_state(page, "running")
    await standin.die()
    await linked(page, "lost")
    await expect(part(page, "notice")).to_contain_text("Connection lost")
    await standin.send("one", current=2)
    await standin.start()
    await linked(page, "live")
    await standin.send("one", state="succeeded")
    await in_state(page, "succeeded")
    assert await versions(page) == [1, 2, 3]
    spoken = ["25 %", "Connection lost, trying again …", "Connected again.", "Done"]
    assert await said(page) == [f"Export: {words}" for words in spoken]
    assert standin.asked == [], "where sockets can be had, the twin is left alone"


async def test_a_close_without_a_final_frame_is_no_end(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running")
    page = await show(element())
    await in_state(page, "running")
    await standin.close("one", 1000)
    await await_for(lambda: standin.opened["one"] == 2 and standin.count("one"), 10, "the second socket")
    await linked(page, "live")
    await standin.send("one", state="succeeded")
    await in_state(page, "succeeded")
    assert await versions(page) == [1, 2]


async def test_after_a_final_frame_it_is_closed_for_good(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="succeeded")
    page = await show(element(), clock=True)
    await linked(page, "closed")
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.clock.run_for(120_000)
    assert standin.opened["one"] == 1
    assert standin.asked == []


async def test_where_sockets_are_refused_the_twin_is_asked(show: Show, standin: StandIn) -> None:
    standin.refusing = True
    await standin.send("one", state="running", current=1, total=4)
    page = await show(element(), clock=True)
    await linked(page, "polling")
    await expect(part(page, "count")).to_have_text("1 of 4")
    await passing(page, lambda: ("one", 304) in standin.asked, "an answer without a body")
    await standin.send("one", current=2)
    await passing(page, page.get_by_text("2 of 4").count, "the second frame")
    await passing(page, lambda: len(standin.asked) > 10, "more questions")
    assert standin.refused < 10, "meanwhile sockets are tried only now and then"
    standin.refusing = False
    await passing(page, page.locator("[connection=live]").count, "a socket")
    asked = len(standin.asked)
    await page.clock.run_for(30_000)
    assert len(standin.asked) == asked, "once there is a socket, nobody asks"
    await standin.send("one", state="succeeded")
    await in_state(page, "succeeded")
    assert await versions(page) == [1, 2, 3]


async def test_the_twin_alone_is_enough(show: Show, standin: StandIn) -> None:
    standin.refusing = True
    await standin.send("one", state="succeeded", text="by the twin")
    page = await show(element())
    await in_state(page, "succeeded")
    await linked(page, "closed")
    assert standin.asked == [("one", 200)]


@pytest.mark.parametrize("refusing", [False, True], ids=["socket", "twin"])
async def test_a_refusal_is_final(show: Show, standin: StandIn, refusing: bool) -> None:
    standin.codes = {"one": 4404, "two": 4403}
    standin.refusing = refusing
    page = await show(element("one") + element("two"), clock=True)
    await in_state(page, "missing", "one")
    await in_state(page, "forbidden", "two")
    await expect(page.get_by_role("alert").nth(0)).to_have_text("This progress is not there, or no longer.")
    await expect(page.get_by_role("alert").nth(1)).to_have_text("This progress is not for you.")
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    await page.clock.run_for(120_000)
    assert sum(standin.opened.values()) == (0 if refusing else 2)
    assert len(standin.asked) == (2 if refusing else 0)


async def test_given_up_it_offers_a_button_and_the_focus_is_not_lost(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running")
    page = await show(element(), clock=True)
    await in_state(page, "running")
    again = page.get_by_role("button", name="Try again")
    await expect(again).to_have_count(0)
    await standin.die()
    await given_up(page)
    await page.keyboard.press("Tab")
    await expect(again).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(part(page, "notice")).to_have_text("There is no connection.")
    await expect(again).to_be_focused()
    await standin.start()
    await page.keyboard.press("Enter")
    await linked(page, "live")
    await expect(again).to_have_count(0)
    assert await page.evaluate("document.activeElement.id") == "one"


@pytest.mark.parametrize(
    "event", ["document.dispatchEvent(new Event('visibilitychange'))", "window.dispatchEvent(new Event('online'))"]
)
async def test_it_tries_at_once_when_there_is_hope(show: Show, standin: StandIn, event: str) -> None:
    await standin.send("one", state="running")
    page = await show(element(), clock=True)
    await in_state(page, "running")
    await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
    await standin.die()
    await linked(page, "lost")
    await standin.start()
    await page.evaluate(event)
    await linked(page, "live")


async def test_a_silent_proxy_counts_as_a_failure(show: Show, standin: StandIn) -> None:
    """It takes the socket, and brings nothing."""
    page = await show(element(), clock=True)
    await await_for(lambda: standin.count("one"), 10, "the socket")
    await page.clock.run_for(9000)
    await linked(page, "connecting")
    await passing(page, lambda: standin.opened["one"] == 2, "another socket")
    await linked(page, "lost")


async def test_elements_are_independent_and_the_script_may_come_twice(show: Show, standin: StandIn) -> None:
    twice = SCRIPT + SCRIPT.replace(".js", ".js?again")
    await standin.send("one", state="running", current=1, total=2)
    await standin.send("two", state="running", current=3, total=9)
    page = await show(element("one") + element("two"), head=twice)
    await in_state(page, "running", "two")
    await standin.send("one", state="failed")
    await in_state(page, "failed", "one")
    await standin.send("two", current=4)
    await expect(part(page, "count", "two")).to_have_text("4 of 9")
    assert await part(page, "count", "one").text_content() == "1 of 2"
    assert (standin.opened["one"], standin.opened["two"]) == (1, 1)


async def test_removed_it_leaves_nothing_and_begins_again_when_it_is_back(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running", current=1, total=4)
    page = await show(element(), clock=True)
    await in_state(page, "running")
    await page.evaluate("window.gone = document.querySelector('#one'); gone.remove()")
    await await_for(lambda: not standin.count("one"), 10, "the socket to close")
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    await page.clock.run_for(60_000)
    assert (standin.opened["one"], standin.asked) == (1, [])
    await standin.send("one", current=2)
    await page.evaluate("document.body.append(gone)")
    await expect(part(page, "count")).to_have_text("2 of 4")
    assert await versions(page) == [1, 2]


async def test_removed_while_the_twin_is_asked_it_asks_no_more(show: Show, standin: StandIn) -> None:
    standin.refusing = True
    await standin.send("one", state="running")
    page = await show(element(), clock=True)
    await linked(page, "polling")
    await page.evaluate("document.querySelector('#one').remove()")
    asked = len(standin.asked)
    await page.clock.run_for(120_000)
    assert len(standin.asked) == asked


async def test_moved_it_keeps_its_socket(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running")
    page = await show(element())
    await in_state(page, "running")
    await page.evaluate("document.querySelector('main').moveBefore(document.querySelector('#one'), null)")
    await standin.send("one", state="succeeded")
    await in_state(page, "succeeded")
    assert standin.opened["one"] == 1


async def test_another_socket_is_another_piece_of_work(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="running", version=9, current=1, total=2)
    await standin.send("two", state="running", version=1, current=5, total=6)
    page = await show(element())
    await in_state(page, "running")
    await page.evaluate(
        "Object.entries({ socket: '/ws/progress/two/', href: '/progress/two/' })"
        ".forEach(([name, value]) => document.querySelector('#one').setAttribute(name, value))"
    )
    await expect(part(page, "count")).to_have_text("5 of 6")
    await await_for(lambda: not standin.count("one"), 10, "the old socket to close")
    assert (standin.opened["one"], standin.opened["two"]) == (1, 1)


async def test_what_changed_while_it_was_away_counts_too(show: Show, standin: StandIn) -> None:
    await standin.send("one", state="succeeded", version=9)
    await standin.send("two", state="running", version=1, current=5, total=6)
    page = await show(element(elapsed="3000"))
    await in_state(page, "succeeded")
    await page.evaluate("window.gone = document.querySelector('#one'); gone.remove()")
    await page.evaluate("gone.setAttribute('socket', '/ws/progress/two/'); document.body.append(gone)")
    await in_state(page, "running")
    await expect(part(page, "count")).to_have_text("5 of 6")


async def test_where_neither_way_works_it_gives_up_and_the_button_asks_both(show: Show, standin: StandIn) -> None:
    standin.refusing = True
    standin.broken = True
    page = await show(element(), clock=True)
    under_way: set[Request] = set()
    page.on("request", lambda request: under_way.add(request))
    page.on("requestfinished", lambda request: under_way.discard(request))
    page.on("requestfailed", lambda request: under_way.discard(request))
    await given_up(page)
    await page.clock.run_for(10_000)  # from now on it is asked only once a minute
    await await_for(lambda: not under_way, 10, "the last answer")
    asked = len(standin.asked)
    assert asked > 0
    standin.broken = False
    await standin.send("one", state="running")
    await page.get_by_role("button", name="Try again").click()
    await linked(page, "polling")
    assert len(standin.asked) > asked
    await expect(page.get_by_role("button", name="Try again")).to_have_count(0)
