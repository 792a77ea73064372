"""Django's own test cases, with the mixin."""

from __future__ import annotations

import io
import unittest
from datetime import timedelta

from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from delayserver import asend_later, send_later
from delayserver.testing import Delays, DelaysMixin

from .project import Dashboard, book_report, happened

PROJECT = override_settings(ASGI_APPLICATION="tests.testing.project.application")


@PROJECT
class TestReports(DelaysMixin, TestCase):
    def setUp(self) -> None:
        """Without super().setUp(): the delays are there all the same."""
        happened.clear()
        book_report(7)

    def test_the_report_is_built_after_a_minute(self) -> None:
        self.delays.assert_scheduled(channel="reports", key="report:7", delay=timedelta(minutes=1))
        self.delays.advance(minutes=1)
        self.assertEqual(happened, [7])

    def test_each_test_has_delays_of_its_own(self) -> None:
        self.assertEqual(len(self.delays.scheduled), 1)
        for _ in range(3):
            self.delays.advance(minutes=1)
            book_report(8)
        self.assertEqual(happened, [7, 8, 8])

    def test_consumers_see_the_tests_own_transaction(self) -> None:
        User.objects.create(username="ada")
        send_later("reports", {"type": "report.users"}, delay=1)
        send_later("exports", {"type": "export.users"}, delay=1)
        self.delays.advance(1)
        self.assertEqual(happened, [1, 1])

    async def test_consumers_see_the_transaction_of_an_async_test_too(self) -> None:
        await User.objects.acreate(username="ada")
        send_later("reports", {"type": "report.users"}, delay=1)
        send_later("exports", {"type": "export.users"}, delay=1)
        await self.delays.aadvance(1)
        self.assertEqual(happened, [1, 1])

    async def test_the_browser_is_told_how_far_the_export_is(self) -> None:
        browser = WebsocketCommunicator(Dashboard.as_asgi(), "/")
        await browser.connect()
        await asend_later("exports", {"type": "export.poll", "done": 0, "total": 2}, delay=200)
        await self.delays.aadvance(seconds=1)
        self.assertEqual([await browser.receive_json_from() for _ in range(2)], [{"done": 1}, {"done": 2}])
        await browser.disconnect()


@PROJECT
class TestWithTransactions(DelaysMixin, TransactionTestCase):
    def test_it_is_the_same(self) -> None:
        happened.clear()
        book_report(7)
        self.delays.advance(minutes=1)
        self.assertEqual(happened, [7])


@PROJECT
class TestWithoutDatabase(DelaysMixin, SimpleTestCase):
    def test_it_is_the_same(self) -> None:
        happened.clear()
        book_report(7)
        self.delays.advance(minutes=1)
        self.assertEqual(happened, [7])


class Failing(DelaysMixin, unittest.TestCase):
    """Not collected by pytest: run by the test below."""

    __test__ = False

    def runTest(self) -> None:
        send_later("reports", {"type": "report.build"}, delay=1)
        self.delays.assert_nothing_scheduled()


def test_a_failed_assertion_fails_the_test_case_with_its_sentence() -> None:
    stream = io.StringIO()
    result = unittest.TextTestRunner(stream).run(Failing())
    assert (len(result.failures), len(result.errors)) == (1, 0)
    assert (
        "expected none scheduled, found 1; there are:\n-> in 1 ms: channel reports, report.build" in stream.getvalue()
    )
    assert not isinstance(Failing.__dict__.get("delays"), Delays)
