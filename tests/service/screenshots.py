"""Take the screenshots of docs/service.md.

Run from the root of the repository:
    python -m tests.service.screenshots docs/images
"""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.report.browser import DESKTOP, PHONE, started
from tests.service.conftest import Server, activeindex, edited, new_key

PICTURES = Path(__file__).parents[2] / "src/activeindex/demo/pictures/photographs"
SHOWN = "coffee.jpg"


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as work, started() as browser:
        server = Server(Path(work) / "store")
        given = ("--store", server.store, "--released", Path(work) / "released")
        activeindex("register", PICTURES, *given)
        key = new_key(server.store)
        server.start()
        with Image.open(PICTURES / SHOWN) as image:
            cut = image.crop((0, 0, image.width * 9 // 10, image.height))
            file = BytesIO()
            cut.save(file, "PNG")
        with server.client(key, Prefer="wait=60") as client:  # For its thumbnail.
            number = client.get("/v1/images", params={"limit": 1000}).json()["images"]
            there = next(each for each in number if each["name"] == SHOWN)
            client.delete(there["links"]["self"])
            uploaded = {"file": (SHOWN, (PICTURES / SHOWN).read_bytes())}
            client.post("/v1/images", files=uploaded).raise_for_status()
        for name, size, scheme in (("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")):
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                base_url=server.url,
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            page = context.new_page()
            recognise(page, key, edited(file.getvalue()))
            with Image.open(BytesIO(page.screenshot())) as shot:
                shot.convert("RGB").save(folder / f"service_{name}.webp", quality=82, method=6)
            context.close()
        server.stop()


def recognise(page: Page, key: str, data: bytes) -> None:
    page.goto("/")
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    copy = {"name": "copy.jpg", "mimeType": "image/jpeg", "buffer": data}
    page.get_by_label("Choose a picture").set_input_files(copy)  # type: ignore[arg-type]
    page.get_by_alt_text("The registered picture").wait_for(timeout=60_000)
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
