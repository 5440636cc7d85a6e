"""The page in a real browser: by mouse and keyboard, on a phone, and closed to others."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from tests.report.browser import DESKTOP, PHONE, started
from tests.service.conftest import Server, edited, new_key, picture


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as made:
        yield made


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return new_key(server.store)


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    width, height = DESKTOP
    context = browser.new_context(viewport={"width": width, "height": height}, base_url=server.url)
    context.set_default_timeout(60_000)
    made = context.new_page()
    yield made
    context.close()


def log_in(page: Page, key: str) -> None:
    page.goto("/")
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Is it a copy?")).to_be_visible()


def serious(page: Page) -> list[str]:
    """What axe finds that matters."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['help']}" for v in found if v["impact"] in ("serious", "critical")]


def test_a_picture_is_registered_recognised_and_removed_by_mouse(
    page: Page, key: str, tmp_path: Path
) -> None:
    log_in(page, key)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.get_by_role("link", name="Register").click()
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": picture(n)} for n in (20, 21)]
    page.get_by_label("Choose pictures").set_input_files(files)  # type: ignore[arg-type]
    expect(page.get_by_text("2 of 2 registered.")).to_be_visible(timeout=120_000)
    assert serious(page) == []
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download the released file").first.click()
    downloaded.value.save_as(tmp_path / "released.png")
    page.get_by_role("link", name="Recognise").click()
    copy = {"name": "copy.jpg", "mimeType": "image/jpeg"}
    copy["buffer"] = edited((tmp_path / "released.png").read_bytes())  # type: ignore[assignment]
    page.get_by_label("Choose a picture").set_input_files(copy)  # type: ignore[arg-type]
    expect(page.locator("#answer")).to_contain_text("21.png, at a distance of")
    expect(page.get_by_alt_text("The registered picture")).to_be_visible()
    page.get_by_role("slider").fill("20")
    assert "20%" in str(page.get_by_alt_text("The registered picture").get_attribute("style"))
    assert serious(page) == []
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("button", name="Remove 21.png")).to_be_visible()
    assert serious(page) == []
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove 21.png").click()
    expect(page.get_by_role("button", name="Remove 21.png")).to_have_count(0)
    assert problems == []


def test_every_task_is_reached_by_keyboard(page: Page, key: str) -> None:
    log_in(page, key)
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
        )
    wanted = ["To the content", "Recognise", "Register", "Overview", "Log out", "query"]
    assert [each for each in reached if each in wanted][: len(wanted)] == wanted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_axe_finds_nothing_serious(
    browser: Browser, server: Server, key: str, scheme: str
) -> None:
    width, height = PHONE
    context = browser.new_context(
        viewport={"width": width, "height": height},
        base_url=server.url,
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto("/")
    assert serious(page) == []
    log_in(page, key)
    for task in ("Recognise", "Register", "Overview"):
        page.get_by_role("link", name=task).click()
        page.wait_for_timeout(300)
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_a_wrong_key_opens_nothing_and_logging_out_closes(page: Page, key: str) -> None:
    page.goto("/")
    page.get_by_label("Key").fill("ai_000000000000_" + "a" * 43)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    log_in(page, key)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Key")).to_be_visible()


def test_a_session_is_closed_to_other_sites_and_scripts(server: Server, key: str) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        opened = client.post("/login", data={"key": key})
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        page = client.get("/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in page.text
        assert client.get("/v1/images").status_code == 200
        token = str(re.search(r'name="csrf" content="([^"]+)"', page.text)[1])  # type: ignore[index]
        files = {"file": picture(0)}
        assert client.post("/v1/search", files=files).status_code == 401
        wrong = {"X-CSRF-Token": token[:-1] + "-"}
        assert client.post("/v1/search", files=files, headers=wrong).status_code == 401
        right = {"X-CSRF-Token": token}
        assert client.post("/v1/search", files=files, headers=right).status_code == 200
        assert client.delete("/v1/images/99999", headers=right).status_code == 404
        client.post("/logout", data={"csrf": token})
        assert client.get("/v1/images").status_code == 401
        assert client.get("/static/..%2froutes.py").status_code == 404
