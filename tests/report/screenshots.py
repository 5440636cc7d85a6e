"""Takes the pictures of docs/report.md: ``python -m tests.report.screenshots REPORT docs/images``.

REPORT is the ``report.html`` of a finished ``activeindex demo``.
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from tests.report.browser import Scheme, opened, started

_QUALITY = 82
SHOTS: dict[str, tuple[tuple[int, int], Scheme, str]] = {
    "report_desktop_light": ((1280, 1500), "light", "body"),
    "report_images": ((1280, 900), "light", "#gallery-heading"),
    "report_phone_dark": ((390, 1700), "dark", "body"),
}
"""By the name of the file: the window, light or dark, and what is at its top."""


def main() -> None:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, metavar="REPORT")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args()
    with started() as browser:
        for name, (size, scheme, top) in SHOTS.items():
            with opened(browser, options.report, size, scheme) as shown:
                shown.page.locator(top).evaluate("e => e.scrollIntoView()")
                shown.page.wait_for_timeout(1000)
                shot = Image.open(io.BytesIO(shown.page.screenshot()))
                shot.convert("RGB").save(options.out / f"{name}.webp", quality=_QUALITY, method=6)


if __name__ == "__main__":
    main()
