"""``activeindex report``: the page in a real browser, and the tables beside it."""

import csv
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from activeindex.cli import run
from activeindex.evaluation.csv_files import RETRIEVAL_HEADER, format_row
from activeindex.evaluation.retrieval import RetrievalResult
from activeindex.report.gallery import make_gallery
from activeindex.report.pictures import Pictures
from activeindex.report.runs import read_runs
from tests.cli.collection import EDITS, MATCHED
from tests.cli.conftest import Answer
from tests.report.browser import DESKTOP, PHONE, Scheme, opened, started

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Say = Callable[..., Answer]

FIGURES = {
    "R@1 per edit",
    "Rank of the original",
    "R@1 against PSNR, of the runs",
    "Copy detection",
    "Queries that keep their coarse cell",
    "Distances to the reconstruction",
    "Distortion of the released images",
    "Time per stage",
}
"""Those that a passive and an active run of four images have."""


@pytest.fixture(scope="module")
def report(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report of a passive and an active run."""
    folder = tmp_path_factory.mktemp("report")
    arms = [str(runs / arm) for arm in ("passive", "active")]
    assert run(["report", *arms, "--output_dir", str(folder), "--verbose", "0"]) == 0
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with started() as chromium:
        yield chromium


def sizes(page: "Page", selector: str) -> list[tuple[float, float]]:
    """Width and height of every element, as it is laid out."""
    found = page.evaluate(
        "selector => [...document.querySelectorAll(selector)].map(e => {"
        "const box = e.getBoundingClientRect(); return [box.width, box.height]; })",
        selector,
    )
    return [(width, height) for width, height in found]


def test_it_opens_with_the_copies_found_and_says_what_r_at_1_is(
    browser: "Browser", report: Path
) -> None:
    with opened(browser, report / "report.html", DESKTOP) as shown:
        text = shown.page.locator("h1 + p").inner_text()
        asked = len(MATCHED) * EDITS
        counts = rf"(\d+) of {asked} \(passive\), (\d+) of {asked} \(active\)\."
        assert re.match(rf"Edited copies found: {counts} Found is a copy whose", text), text
        assert "R@1, recall at 1" in text


def test_a_wide_table_shows_on_a_phone_that_it_scrolls(browser: "Browser", report: Path) -> None:
    with opened(browser, report / "report.html", PHONE) as shown:
        table = shown.page.locator(".scroll:has(.recall)")
        right = "e => [e.scrollWidth > e.clientWidth, getComputedStyle(e).backgroundAttachment]"
        wide, attachment = table.evaluate(right)
        assert wide
        assert attachment == "local, local, scroll, scroll", "shadows stay at the sides"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_and_nothing_is_fetched(
    browser: "Browser", report: Path, size: tuple[int, int], scheme: Scheme
) -> None:
    page_file = report / "report.html"
    with opened(browser, page_file, size, scheme) as shown:
        page = shown.page
        drawn = page.locator("figure:has(svg.chart) > h3").all_text_contents()
        assert set(drawn) >= FIGURES
        assert len(sizes(page, "svg.chart")) >= len(FIGURES)
        assert all(min(box) > 100 for box in sizes(page, "svg.chart"))
        assert page.locator("svg.chart .mark, svg.chart .bar, svg.chart .line").count() > 100
        # Unfetched: nothing but the file itself, and the pictures inside it.
        others = [url for url in shown.requests if not url.startswith("data:")]
        assert others == [page_file.resolve().as_uri()]
        assert shown.messages == []
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == size[0], "the page must not scroll sideways"


def test_dark_is_dark_and_light_is_light(browser: "Browser", report: Path) -> None:
    def lightness(scheme: Scheme) -> tuple[int, int]:
        with opened(browser, report / "report.html", DESKTOP, scheme) as shown:
            found = shown.page.evaluate(
                "(() => { const style = getComputedStyle(document.body);"
                "return [style.backgroundColor, style.color]; })()"
            )
        paper, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in found)
        return paper, ink

    paper, ink = lightness("light")
    assert paper > 3 * 230 > 3 * 60 > ink
    paper, ink = lightness("dark")
    assert paper < 3 * 40 < 3 * 200 < ink


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_slider_moves_with_keys_and_with_the_mouse(
    browser: "Browser", report: Path, size: tuple[int, int]
) -> None:
    with opened(browser, report / "report.html", size) as shown:
        page = shown.page
        entry = page.locator(".entry").first
        slider, above = entry.locator("input[type=range]"), entry.locator("img.above")

        def covered() -> float:
            """How much of the original is cut off on the right, in percent of its width."""
            style = above.evaluate("e => getComputedStyle(e).clipPath")
            found = re.search(r"inset\(0(?:px)? (?:calc\()?([\d.]+)%", style)
            assert found, style
            return float(found[1])

        assert covered() == 50.0
        slider.focus()
        page.keyboard.press("End")
        assert covered() == 0.0
        page.keyboard.press("Home")
        assert covered() == 100.0
        page.keyboard.press("ArrowRight")
        assert covered() == 99.0
        box = slider.bounding_box()
        assert box is not None
        # Of the element, which Playwright waits for to stand still.
        slider.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})
        assert covered() == pytest.approx(25.0, abs=6)


def test_images_are_shown_pixel_by_pixel_with_difference_and_mask(
    browser: "Browser", report: Path
) -> None:
    with opened(browser, report / "report.html", DESKTOP) as shown:
        page = shown.page
        assert page.locator(".entry").count() == len(MATCHED)
        psnr = [
            float(text.split()[0])
            for text in page.locator(".facts span:first-child b").all_text_contents()
        ]
        assert psnr == sorted(psnr)
        for image in page.locator(".entry img").all():
            assert image.evaluate("e => e.complete && e.naturalWidth") == int(
                image.get_attribute("width") or 0
            )
        entry = page.locator(".entry").first
        for view in ("difference", "mask", "compare"):
            entry.locator(f"input[value={view}]").check()
            visible = entry.locator("[data-view]:visible")
            assert visible.count() == 1
            assert visible.get_attribute("data-view") == view
            box = visible.locator("img").first.bounding_box()
            assert box is not None
            assert box["width"] == int(visible.locator("img").first.get_attribute("width") or 0)


def test_everything_shown_has_a_name_for_those_who_cannot_see_it(
    browser: "Browser", report: Path
) -> None:
    with opened(browser, report / "report.html", DESKTOP) as shown:
        page = shown.page
        assert page.locator("img:not([alt]), img[alt='']").count() == 0
        assert page.locator("svg.chart:not([aria-label])").count() == 0
        assert page.locator("input:not([aria-label])").evaluate_all(
            "all => all.every(e => e.closest('label'))"
        )
        assert page.locator("html").get_attribute("lang") == "en"


def test_missed_queries_show_what_was_asked_and_what_came(browser: "Browser", report: Path) -> None:
    with (report / "failures.csv").open(newline="") as file:
        missed = [row for row in csv.DictReader(file) if row["run"] == "passive"]
    with opened(browser, report / "report.html", DESKTOP) as shown:
        heading = shown.page.locator("#failures h3").first.text_content()
        first = shown.page.locator(".failures li").first
        assert first.locator("img").count() == 3
        assert first.locator("figcaption b").count() == 2
    assert f"{len(missed)} of {len(MATCHED) * EDITS}" in (heading or "")
    assert all(row["returned_id"] != row["image_index"] for row in missed)


def test_tables_beside_the_page_are_those_of_the_runs(report: Path, runs: Path) -> None:
    with (report / "recall.csv").open(newline="") as file:
        rows = {
            (row["run"], row["attack"], row["attack_param"]): row for row in csv.DictReader(file)
        }
    with (runs / "active" / "retr_df.csv").open(newline="") as file:
        hits = [int(row["r@1"]) for row in csv.DictReader(file) if row["attack"] == "jpeg"]
    jpeg = rows["active", "jpeg", "50"]
    assert float(jpeg["r@1"]) == np.mean(hits)
    assert float(jpeg["low"]) <= float(jpeg["r@1"]) <= float(jpeg["high"])
    assert len(rows) == 2 * (EDITS + 2)  # both averages
    latex = (report / "recall.tex").read_text()
    assert latex.count(r"\rotatebox{90}") == EDITS + 2  # both averages
    assert r"\toprule" in latex
    assert {path.name for path in report.iterdir()} == {
        *("report.html", "recall.csv", "recall.tex", "detection.csv", "distortion.csv"),
        *("times.csv", "failures.csv"),
    }


def test_page_names_the_command_and_the_hashes(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "activeindex main --idx_factory IVF4,PQ8x8np" in page
    assert "references_sha256" in page
    assert "versions.faiss" in page


def released_program(folder: Path) -> None:
    """Results as pandas writes them: an index column and ``retrieved_ids``."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    lines: list[str] = []
    for attack, param in (("none", None), ("blur", 11), ("jpeg", 50)):
        for image in range(12):
            ids = generator.permutation(900) + 100
            ids[generator.integers(3)] = image
            distances = np.sort(generator.uniform(0.3, 1.4, 900)).astype(np.float32)
            row = RetrievalResult.from_search(0, image, attack, param, distances[:20], ids[:20])
            lines.append(f"{len(lines)},{format_row(row)}")
    header = RETRIEVAL_HEADER.replace("retrieved_indices", "retrieved_ids")
    (folder / "retr_df.csv").write_text(f",{header}{''.join(lines)}")


def test_run_of_the_released_program_is_reported_as_far_as_it_goes(
    browser: "Browser", say: Say, tmp_path: Path
) -> None:
    released_program(tmp_path / "old")
    answer = say("report", "<b>old</b>=old")
    assert (answer.code, answer.err) == (0, "")
    assert "report/report.html" in answer.out
    with opened(browser, tmp_path / "report" / "report.html", PHONE) as shown:
        page = shown.page
        assert {"R@1 per edit", "Rank of the original", "Distances to the reconstruction"} <= set(
            page.locator("figure:has(svg.chart) > h3").all_text_contents()
        )
        missing = " ".join(page.locator(".missing").all_text_contents())
        for option in ("--eval_icd True", "--use_attacks_2 True", "--active True", "--data_dir"):
            assert option in missing
        assert page.locator(".legend b", has_text="<b>old</b>").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        assert shown.messages == []


def test_an_unreadable_picture_costs_the_gallery_that_picture_only(
    runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs / "active", tmp_path / "active")
    run_folder = read_runs({"active": tmp_path / "active"})[0]
    worst, second, *_ = sorted(run_folder.records, key=lambda record: float(record["psnr"]))
    (tmp_path / "active" / worst["output"]).write_bytes(b"no image")
    originals = tmp_path / "originals"
    shutil.copytree(run_folder.folder.setting("data_dir"), originals)
    (originals / second["name"]).write_bytes(b"no image")
    shown = make_gallery([Pictures(run_folder, originals)], 12, 9_000_000)
    names = {record["name"] for record in run_folder.records}
    assert {each.name for each in shown.comparisons} == names - {worst["name"], second["name"]}
    assert [each.name for each in shown.thumbnails] == [second["name"]]
    assert shown.left_out == 1


@pytest.mark.parametrize(
    ("line", "named"),
    [("not json\n", "activation.jsonl, line 1"), ('{"image": 0}\n', "activation.jsonl, line 1")],
)
def test_malformed_file_is_named_in_a_line(say: Say, tmp_path: Path, line: str, named: str) -> None:
    released_program(tmp_path / "old")
    (tmp_path / "old" / "activation.jsonl").write_text(line)
    answer = say("report", "old")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert named in answer.err
    assert not (tmp_path / "report").exists()
