"""Pictures of every page, light and dark, for docs/screenshots: `make screenshots`. Only made-up people are on them."""

import shutil
import tempfile
from pathlib import Path

from driver import FLAGS, ROOT, SHIPPED, start
from playwright.sync_api import sync_playwright

FILLED = {
    "overview": ".pp-lede",
    "assemble": ".st-key-mapbox .js-plotly-plot",
    "compare": ".pp-answer",
    "sharers": ".js-plotly-plot",
    "results": ".st-key-results-table table",
    "share": ".pp-empty",
    "method": ".pp-toy",
}
"""What is there once a page is drawn, by the page's path."""


def main() -> None:
    """Start the app on the shipped pool and take the pictures at 1280 x 720."""
    out = ROOT / "docs" / "screenshots"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        studio = start(Path(folder) / "log", SHIPPED)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        try:
            for scheme in ("light", "dark"):
                for name, ready in FILLED.items():
                    tab = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=scheme)
                    tab.goto(f"{studio.url}/{name}")
                    tab.locator(ready).first.wait_for(timeout=60_000)
                    tab.wait_for_timeout(3000)
                    tab.screenshot(path=out / f"{name}-{scheme}.png")
                    print(out / f"{name}-{scheme}.png")
                    tab.close()
        finally:
            browser.close()
            studio.stop()


if __name__ == "__main__":
    main()
