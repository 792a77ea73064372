"""Every code block of the README and the docs does what its page says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.servers import HOST, free_port

from .blocks import PAGES, ROOT, blocks_of
from .projects import Projects, make_projects
from .runner import PAGE_REDIS, PageRun

STARTS_ITS_OWN = "django-admin startproject"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Projects:
    return make_projects(tmp_path_factory.mktemp("projects"))


@pytest.fixture
def run(request: pytest.FixtureRequest, page: Path, tmp_path: Path, projects: Projects) -> Iterator[PageRun]:
    redis = PAGE_REDIS
    if PAGE_REDIS in page.read_text():
        redis = urlsplit(request.getfixturevalue("redis_url")).netloc
    run = PageRun(tmp_path, redis, f"{HOST}:{free_port()}", projects)
    yield run
    run.stop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_blocks_of_a_page_do_what_it_says(page: Path, run: PageRun) -> None:
    blocks = blocks_of(page)
    if blocks and not any(STARTS_ITS_OWN in block.text for block in blocks):
        run.make_project()
    run.follow(blocks)


def test_there_are_blocks_to_run() -> None:
    assert sum(len(blocks_of(page)) for page in PAGES) > 20
