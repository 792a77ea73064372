"""The form in a real browser, served under ASGI, where no inline script may run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from ..support.process import ROOT, Process
from ..support.servers import free_port
from ..support.wait import await_for

PASSWORD = "open sesame"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of the admin."""
    options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite3"), "OPTIONS": options}
    environ = {
        "DJANGO_SETTINGS_MODULE": "tests.admin.settings",
        "DELAYSERVER_TEST_DB": json.dumps({"default": database}),
        "DELAYSERVER_TEST_LAYERS": json.dumps({"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}),
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    port = free_port()
    run = [sys.executable, "-m"]
    for words in (
        ["migrate", "--verbosity", "0"],
        ["createsuperuser", "--noinput", "--username=ada", "--email=ada@example.com"],
    ):
        with Process([*run, "django", *words], cwd=ROOT, env=environ) as process:
            assert process.wait(60) == 0, process
    serve = ["uvicorn", "tests.admin.asgi:application", "--port", str(port)]
    with Process([*run, *serve], cwd=ROOT, env=environ) as process:
        process.wait_for_line("Uvicorn running")
        yield f"http://127.0.0.1:{port}/admin/"
        assert "Traceback" not in process.output


async def signed_in(browser: Browser, site: str, scheme: str) -> tuple[Page, list[str]]:
    """A page of the admin, and whatever its console complains of from now on."""
    page = await browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
    await page.goto(site)
    await page.get_by_label("Username").fill("ada")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Site administration")).to_be_visible()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    return page, troubles


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_errors_and_next_times_stand_in_place_while_typing(
    browser: Browser, site: str, scheme: str, tmp_path: Path
) -> None:
    page, troubles = await signed_in(browser, site, scheme)
    await page.goto(f"{site}delayserver/schedule/add/")
    problems, preview = page.locator(".delayserver-problem:not(:empty)"), page.locator(".delayserver-preview")
    await expect(preview).to_contain_text("are shown here as soon as")
    await expect(problems).to_have_count(0)

    cron = page.get_by_label("Cron")
    await cron.fill("0 25 * * *")
    await expect(page.locator(".field-cron")).to_contain_text("Expected hour to be from 0 to 23, got '25'.")
    await expect(problems).to_have_count(1)
    await expect(cron).to_have_attribute("aria-invalid", "true")

    await cron.fill("0 3 * * mon")
    await page.get_by_label("Time zone").press_sequentially("<b>Europe", delay=5)
    await expect(page.locator(".field-tz")).to_contain_text("Unknown time zone '<b>Europe'")
    await page.get_by_label("Time zone").fill("Europe/Berlin")
    await expect(preview).to_contain_text("At 03:00, only on Monday")
    await expect(preview.locator("tr")).to_have_count(5)
    await expect(preview.locator("tr").first).to_contain_text("Mon ")
    await expect(problems).to_have_count(0)

    await page.get_by_label("Name").fill("weekly")
    await page.get_by_label("Channel").fill("reports")
    await page.get_by_label("Message").fill('{"type": "report.build"}')
    await expect(preview).not_to_have_attribute("aria-busy", "true")
    await expect(problems).to_have_count(0)
    await screenshot(page, tmp_path, f"form-{scheme}")
    await page.get_by_role("button", name="Save", exact=True).click()
    row = page.locator("#result_list tbody tr")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("weekly")
    await expect(row).to_contain_text("At 03:00, only on Monday")
    await await_for(lambda: runs(page), 10, "a server to see it")
    await screenshot(page, tmp_path, f"list-{scheme}")
    assert troubles == []


async def test_only_the_last_question_is_answered_on_the_page(browser: Browser, site: str) -> None:
    """Answers that were overtaken are dropped, and one that fails is told."""
    page, _ = await signed_in(browser, site, "light")
    await page.goto(f"{site}delayserver/schedule/add/")
    preview = page.locator(".delayserver-preview")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/preview/") else None)
    await page.get_by_label("Cron").press_sequentially("*/5 * * * *", delay=10)
    await expect(preview).to_contain_text("Every 5 minutes")
    assert len(asked) < len("*/5 * * * *") / 2
    await page.route("**/preview/", lambda route: route.fulfill(status=500, body="no"))
    await page.get_by_label("Cron").fill("0 * * * *")
    await expect(preview).to_contain_text("The server does not answer just now")
    await page.unroute("**/preview/")
    await page.get_by_label("Cron").fill("5 * * * *")
    await expect(preview).to_contain_text("At 5 minutes past the hour")


async def runs(page: Page) -> bool:
    await page.reload()
    return "running" in await page.locator("#result_list").inner_text()


async def screenshot(page: Page, folder: Path, name: str) -> None:
    """For those who want to see it, in ``ADMIN_SCREENSHOTS``."""
    await page.screenshot(path=Path(os.environ.get("ADMIN_SCREENSHOTS", folder)) / f"{name}.png", full_page=True)
