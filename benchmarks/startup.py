"""Seconds from the start command to the first useful page, in a real Chromium, and to every further page.

    python -m benchmarks.startup [--pool FOLDER] [--runs 3] [--out FILE]

    process starts --> health answers --> the overview's headline can be read --> each page: by a link, by a click

Beside it, in turn with it, a page of one line is started and opened: what Streamlit, the browser and this machine take
whatever the page holds.

What is started is what `make app` starts once everything is installed. The browser is open before, as a person's
would be. A page counts as there when something that belongs to it alone can be seen, and not when its frame can.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

from benchmarks.common import DEFAULT_POOL, ROOT, SPEED, about, print_table, timing, write_result
from perpcs.errors import PerpcsError
from perpcs.pool.store import Pool

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
)
PAGES = {"overview": ".pp-claim", "assemble": ".st-key-finished h2", "compare": ".st-key-ask button"}
"""What belongs to each page alone. The first one is the page that opens."""
MAP = ".js-plotly-plot"
"""The map on assemble, which is drawn after the page's words are there."""
VIEW = {"width": 1280, "height": 720}
"""As wide as a laptop."""
ERROR = ".pp-error"
"""Where the app says that something went wrong."""
ONE_LINE = "import streamlit as st\n\nst.html('<p class=\"pp-claim\">One line.</p>')\n"
"""The page that nothing can be faster than."""
PATIENCE = 60.0
"""Seconds after which a start counts as failed."""
PACKAGES = ("streamlit", "torch", "plotly", "playwright")


def measure(folder: Path, *, runs: int = 3) -> dict[str, Any]:
    """Start the app on a pool ``runs`` times; the result as it is written."""
    pool = Pool(folder)
    result = about("startup", pool, {"runs": runs, "command": "python -m streamlit run app.py"}, PACKAGES)
    result["goals"] = {"first_page": {"seconds, below": 10.0}, "further_pages": {"seconds, below": 1.0}}
    with open_browser() as browser:
        result["versions"]["chromium"] = browser.version
        starts = [{**limits(browser), **one_start(browser, folder)} for _ in range(runs)]
    for name in starts[0]:
        result[name] = timing([start[name] for start in starts])
    result["links_over_one_line"] = {
        name: round(result[f"link_{name}"]["median_s"] / result["link_one_line"]["median_s"], 3) for name in PAGES
    }
    return result


def limits(browser: Browser) -> dict[str, float]:
    """Start and open the page of one line; seconds by name."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "one_line.py"
        script.write_text(ONE_LINE)
        began = time.perf_counter()
        with serve(script, {}) as address:
            opened(browser, address, "overview")
            first = time.perf_counter() - began
            return {"first_one_line": first, "link_one_line": opened(browser, address, "overview")}


def opened(browser: Browser, address: str, name: str) -> float:
    """Seconds until a new visitor sees what belongs to a page."""
    visitor = new_page(browser)
    began = time.perf_counter()
    see(visitor, address, name, PAGES[name])
    seconds = time.perf_counter() - began
    visitor.context.close()
    return seconds


def one_start(browser: Browser, folder: Path) -> dict[str, float]:
    """Start the server, open every page, stop the server; seconds by name."""
    seconds: dict[str, float] = {}
    first, *further = PAGES
    began = time.perf_counter()
    with serve(ROOT / "app.py", {"PERPCS_POOL": str(folder.resolve())}) as address:
        seconds["health"] = time.perf_counter() - began
        page = new_page(browser)
        see(page, address, first, PAGES[first])
        seconds["first_page"] = time.perf_counter() - began
        for name in further:
            seconds[f"click_{name}"] = clicked(page, name)
        seconds[f"click_{first}"] = clicked(page, first)
        for name in PAGES:
            seconds[f"link_{name}"] = opened(browser, f"{address}/{name}", name)
        visitor, began = new_page(browser), time.perf_counter()
        see(visitor, f"{address}/assemble", "assemble", PAGES["assemble"])
        await_sight(visitor, "assemble", MAP)
        seconds["link_assemble_map"] = time.perf_counter() - began
        visitor.context.close()
        page.context.close()
    return seconds


def new_page(browser: Browser) -> Page:
    """A visitor of their own, with an empty cache."""
    return browser.new_context(viewport=VIEW).new_page()


def see(page: Page, address: str, name: str, what: str) -> None:
    """Open an address and wait until what belongs to the page can be seen."""
    page.goto(address, wait_until="commit")
    await_sight(page, name, what)


def await_sight(page: Page, name: str, what: str) -> None:
    """Wait until something of a page can be seen.

    Raises:
        PerpcsError: when the app shows an error in its place, or nothing in time.
    """
    try:
        page.locator(f"{what}, {ERROR}").first.wait_for(state="visible", timeout=PATIENCE * 1000)
    except TimeoutError as error:
        raise PerpcsError(f"The page {name} showed nothing for {PATIENCE:.0f} s.", "Open it in a browser.") from error
    said = page.locator(ERROR)
    if said.count():
        raise PerpcsError(f"The page {name} says: {said.first.inner_text()}", "Open it in a browser.")


def clicked(page: Page, name: str) -> float:
    """Seconds from a click in the navigation to the sight of the page."""
    link = page.locator(".st-key-masthead a", has_text=name.title()).first
    link.wait_for(state="visible", timeout=PATIENCE * 1000)
    began = time.perf_counter()
    link.click()
    await_sight(page, name, PAGES[name])
    return time.perf_counter() - began


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The system's Chromium.

    Raises:
        PerpcsError: when there is none.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise PerpcsError("No Chromium was found.", "Install it, on Debian with: apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serve(script: Path, environment: dict[str, str]) -> Iterator[str]:
    """A running Streamlit script and its address, once its health check answers.

    Raises:
        PerpcsError: when it ends or does not answer in time; its last words are in the message.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    environment = {**os.environ, **environment}
    with tempfile.TemporaryFile() as words:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=words, stderr=subprocess.STDOUT)
        try:
            began = time.monotonic()
            while not healthy(port):
                if server.poll() is not None or time.monotonic() - began > PATIENCE:
                    words.seek(0)
                    last = words.read().decode(errors="replace").strip().rpartition("\n")[2]
                    raise PerpcsError(f"The app did not start: {last}", "Start it with `make app` and read its words.")
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def healthy(port: int) -> bool:
    """Whether the server answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def table(result: dict[str, Any]) -> list[list[object]]:
    """The numbers as rows."""
    names = {
        "health": "server answers",
        "first_page": "first useful page",
        "link_assemble_map": "a link to its map",
        "first_one_line": "first page of one line, nothing of ours",
        "link_one_line": "a link to a page of one line",
    }
    ways = {"click": "a click on", "link": "a link to"}
    rows: list[list[object]] = [["from start or action to", "seconds (median)"]]
    for key, value in result.items():
        if isinstance(value, dict) and "median_s" in value:
            way, _, page = key.partition("_")
            rows.append([names.get(key) or f"{ways[way]} {page}", f"{value['median_s']:.2f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds from the start command to useful pages.")
    parser.add_argument("--pool", type=Path, default=DEFAULT_POOL, help="a pool's folder (default: the small town)")
    parser.add_argument("--runs", type=int, default=3, help="how many times the app is started (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=SPEED / "startup.json")
    asked = parser.parse_args()
    result = measure(asked.pool, runs=asked.runs)
    print_table(table(result))
    write_result(asked.out, result)


if __name__ == "__main__":
    main()
