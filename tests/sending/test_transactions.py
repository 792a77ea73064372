"""A message belongs to the transaction it is sent in, in sync views and async ones: with the database store as a part
of it, with Redis by waiting for its commit.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from .conftest import Project

PAGES = ("/order/", "/order/through-async/", "/checkout/", "/checkout/at-once/")
REQUESTS, AT_ONCE = 120, 6


def test_a_request_leaves_its_row_and_its_message_or_neither(project: Project) -> None:
    """The checkouts are async views below a sync middleware that opens the transaction."""
    server = project.rundelay(wait=False)
    fetch = project.serve()
    paths = [f"{PAGES[n % len(PAGES)]}?n={n}{'&fail' if is_bad(n) else ''}" for n in range(REQUESTS)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(fetch, paths))
    assert [answer.status for answer in answers] == [500 if is_bad(n) else 200 for n in range(REQUESTS)]
    committed = [n for n in range(REQUESTS) if not is_bad(n)]
    assert project.orders() == committed
    server.wait_for_line("^delay server ready")
    arrived = project.wait_for_arrivals(len(committed))
    assert project.left() == len(committed)  # which may be tried again, and no other
    assert Counter(one["n"] for one in arrived) == Counter(committed)
    assert {one["n"]: one["__delay__"]["id"] for one in arrived} == {n: answers[n].body["id"] for n in committed}


def is_bad(n: int) -> bool:
    """Of each page, every other request."""
    return n // len(PAGES) % 2 == 1


def test_savepoints_and_rollbacks_take_their_messages_along(project: Project) -> None:
    project.rundelay()
    told = project.ask("in_transactions")
    assert told["got inside"]
    assert told["on the channel inside"] == 0
    assert project.orders() == [1, 3]
    project.wait_until_empty()
    at_once = [5] if project.store_name == "redis" else []  # it has no part in the transaction that is rolled back
    assert sorted(one["n"] for one in project.arrived()) == [1, 3, *at_once]


def test_a_key_that_is_taken_leaves_the_transaction_usable(project: Project) -> None:
    told = project.ask("a_key_in_a_transaction")
    assert told["errors"] == [f"a message with key '{key}' is waiting already" for key in ("waiting", "ours")]
    assert told["kept"]
    assert told["n"] == 4
    assert project.orders() == [1]
    assert project.left() == 2


def test_what_is_sent_in_a_transaction_can_be_changed_in_it(project: Project) -> None:
    told = project.ask("change_in_a_transaction")
    assert told["answers"] == [True, False, True, True, True]
    assert told["waits"] == [False, True]
    assert project.left() == 1
