"""Starts the studio as a user does, and drives Debian's Chromium.

The pool is a tiny one, built once a run, whose model answers at once; test_shipped_pool.py opens the shipped one.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from driver import FLAGS, Studio, start

# Streamlit looks for its server under the page's own folder first; the browser logs the miss of every deep link.
PROBES = ("/_stcore/health", "/_stcore/host-config")


@pytest.fixture(scope="session")
def pool(tiny_town: Path) -> Path:
    return tiny_town


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory, pool: Path) -> Iterator[Studio]:
    """One server for all tests of a run."""
    running = start(tmp_path_factory.mktemp("studio") / "log", pool)
    yield running
    running.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], Studio]]:
    """Start a fresh server of one's own: ``serve(pool)``."""
    running: list[Studio] = []

    def serve_(pool: Path) -> Studio:
        running.append(start(tmp_path / f"log-{len(running)}", pool))
        return running[-1]

    yield serve_
    for one in running:
        one.stop()


@pytest.fixture(scope="module")  # closed with its tests: Playwright's event loop would forbid one to later tests
def chromium():
    """Debian's Chromium. Without one these tests are skipped by hand, and fail where CI promises one."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        assert not os.environ.get("CI"), "CI runs the browser tests: .ci/run installs chromium"
        pytest.skip("No Chromium is installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Watched:
    """What went wrong in a tab, by the browser's own account."""

    errors: list[str] = field(default_factory=list)

    def console(self, message) -> None:
        probe = any(message.location.get("url", "").endswith(end) for end in PROBES) and "404" in message.text
        if message.type == "error" and not probe:
            self.errors.append(f"{message.text} {message.location.get('url', '')}")


@pytest.fixture(scope="module")
def context(chromium):
    """Where all tabs of a file are opened: the second finds the app's scripts in the cache, compiled."""
    made = chromium.new_context()
    made.set_default_timeout(60_000)
    yield made
    made.close()


@pytest.fixture(scope="module")
def keep_process(context):
    """Call it with a server's address: a plain page of it stays open, and with it the process of its tabs."""
    kept = set()

    def keep(url: str) -> None:
        server = "/".join(url.split("/")[:3])
        if server not in kept:
            kept.add(server)
            context.new_page().goto(f"{server}/_stcore/health")

    return keep


@pytest.fixture
def open_tab(context, keep_process, serve):  # after ``serve``, so that tabs are closed before their server
    """Open an address in a fresh tab: ``open_tab(url, width=1280, height=720, scheme="light")``.

    When the test ends, every tab must have been free of console errors.
    """
    tabs, watched = [], Watched()

    def open_(url: str, width: int = 1280, height: int = 720, scheme: str = "light", ready: str = ".st-key-statusline"):
        keep_process(url)
        tab = context.new_page()
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": height})
        tabs.append(tab)
        tab.on("console", watched.console)
        tab.on("pageerror", lambda error: watched.errors.append(str(error)))
        tab.goto(url)
        tab.wait_for_selector(ready, timeout=120_000)
        return tab

    yield open_
    for tab in tabs:
        tab.close()
    assert watched.errors == []
