"""A browser for the tests of the page: the system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def required() -> bool:
    """Whether tests that lack a browser fail, as in CI, rather than being skipped."""
    return bool(os.environ.get("KDBENCH_BROWSER_TESTS"))


@contextmanager
def launched() -> Iterator[Any]:
    """A browser; without one the test is skipped, or fails where browser tests are required."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if program is None or sync_playwright is None:
        missing = "playwright is not installed" if sync_playwright is None else f"none of {', '.join(NAMES)} is there"
        (pytest.fail if required() else pytest.skip)(f"no browser: {missing}")
    arguments = ["--disable-dev-shm-usage"] + ["--no-sandbox"] * (hasattr(os, "geteuid") and os.geteuid() == 0)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def axe() -> str:
    """The script of axe; without it as without a browser."""
    try:
        import axe_playwright_python
    except ImportError:
        (pytest.fail if required() else pytest.skip)("axe-playwright-python is not installed")
    return Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf-8")


def serious(page: Any) -> list[tuple[str, str]]:
    """What axe, which is on the page already, finds serious or critical, each with an element."""
    found = page.evaluate(_RULES)
    assert len(found["passes"]) > 10, "axe looked at the page"
    worst = [each for each in found["violations"] if each["impact"] in {"serious", "critical"}]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in worst]


_RULES = "() => axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"


@dataclass
class Visit:
    """One page opened from disk or from its server, and everything that went wrong with it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def rows(self, label: str = "Leaderboard") -> dict[str, dict[str, str]]:
        """The cells of a table's rows on this page, by row header: `data-value` by column."""
        script = """(region) => Object.fromEntries([...region.querySelectorAll('tbody tr')].map((row) => {
            const cells = [...row.querySelectorAll('td')].map(({dataset}) => [dataset.column, dataset.value]);
            return [row.querySelector('th').textContent, Object.fromEntries(cells)];
        }))"""
        return self.page.get_by_role("region", name=label, exact=True).evaluate(script)

    def order(self, label: str = "Leaderboard") -> list[str]:
        """The row headers, from the top."""
        return self.page.get_by_role("region", name=label, exact=True).locator("tbody th").all_text_contents()


@contextmanager
def visit(browser: Any, where: Path | str, state: str = "", **options: Any) -> Iterator[Visit]:
    """The page of a file or a server at a state of its address.

    Fails on a console error, an exception, or any request but for the file, or to the server.
    """
    address = where if isinstance(where, str) else where.as_uri()
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    context.set_default_timeout(30_000)
    visited = Visit(context.new_page())
    page = visited.page
    page.on("request", lambda request: visited.requests.append(request.url))
    page.on("console", lambda m: visited.complaints.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: visited.complaints.append(str(error)))
    try:
        page.goto(f"{address}{'#' + state if state else ''}")
        page.get_by_role("heading", level=1).wait_for()
        yield visited
        assert visited.complaints == []
        assert [url for url in visited.requests if not url.startswith(address)] == []
    finally:
        context.close()
