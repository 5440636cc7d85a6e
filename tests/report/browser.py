"""A real browser: Debian's Chromium, driven by Playwright."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Scheme = Literal["light", "dark"]
DESKTOP, PHONE = (1280, 900), (390, 844)


@contextlib.contextmanager
def started() -> Iterator["Browser"]:
    """Chromium; the test skips where there is none, except in CI."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        assert not os.environ.get("CI"), "CI has to install chromium: see .ci/run"
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*_FLAGS])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opened:
    """A page that was opened from disk, and what it did on its own."""

    page: "Page"
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@contextlib.contextmanager
def opened(
    browser: "Browser", path: Path, size: tuple[int, int], scheme: Scheme = "light"
) -> Iterator[Opened]:
    """Opens a file in a window of a size."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    found = Opened(page)
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.messages.append(message.text))
    page.on("pageerror", lambda error: found.messages.append(str(error)))
    try:
        page.goto(path.resolve().as_uri(), wait_until="load", timeout=120_000)
        yield found
    finally:
        context.close()
