"""The docs build without a warning, and a reader's browser asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from .blocks import ROOT

LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    loaded = {url for page in pages for url in _Loads().of(page.read_text())}
    assert not {url for url in loaded if re.match(r"(https?:)?//", url)}


def test_every_picture_is_small(site: Path) -> None:
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".jpg", ".webp", ".gif")]
    assert all(path.stat().st_size < 200_000 for path in pictures)


def test_the_readme_links_to_files_that_exist() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
            assert (ROOT / target).exists(), f"{page}: {target}"


class _Loads(HTMLParser):
    def of(self, text: str) -> Iterator[str]:
        self._found: list[str] = []
        self.feed(text)
        return iter(self._found)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("canonical", "prev", "next"):
            return
        url = given.get(LOADS.get(tag, ""))
        if url:
            self._found.append(url)
