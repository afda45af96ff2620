"""Seconds that a visitor waits on a running server: for every page by its address, and for what needs no model.

    python -m benchmarks.interactions [--pool FOLDER] [--runs 5] [--out FILE]

The server is warm: somebody has opened the studio before. Pages are opened twice over, by a new visitor, whose browser
holds nothing, and by one who has been here; beside them, in turn, a page of one line, which is what Streamlit,
the browser and this machine take whatever the page holds. Two moments of a page are taken by the browser's own clock,
from the start of its navigation to just after the frame that first shows them: the page's first words, and what it is
opened for. A press counts by the same clock from the mouse button to the frame that shows its answer.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError

from benchmarks.common import DEFAULT_POOL, ROOT, SPEED, about, print_table, timing, write_result
from benchmarks.startup import ONE_LINE, PACKAGES, PATIENCE, VIEW, await_sight, open_browser, see, serve
from perpcs.errors import PerpcsError
from perpcs.pool.store import Pool

PAGES = {
    "overview": ".pp-claim",
    "assemble": ".st-key-finished h2",
    "compare": ".st-key-ask button",
    "sharers": ".st-key-finished h2",
    "results": ".pp-results",
    "share": ".st-key-statusline",
    "method": ".st-key-toy-numbers",
}
"""What each page is opened for, or what stands at its end."""
FIRST = '[data-testid="stMain"] :is(h1, h2, h3, .pp-claim)'
"""The first words of any page: a heading of its own. The frame around it and a skeleton have none."""
_ONCE_SHOWN = """window.perpcsOnceShown = then => {
  const channel = new MessageChannel();
  channel.port1.onmessage = then;
  channel.port2.postMessage('');
};"""
"""For use while a frame is made: a message that is posted then arrives when the frame is shown."""
_WATCH = """sights => {
  window.perpcsSeen = {};
  const look = () => {
    for (const [name, sight] of Object.entries(sights)) {
      const found = document.querySelector(sight);
      if (!found || !found.textContent.trim() || !found.getClientRects().length) continue;
      delete sights[name];
      window.perpcsOnceShown(() => { window.perpcsSeen[name] = performance.now(); });
    }
    if (Object.keys(sights).length) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
_ANSWERED = """answer => {
  // Of what Streamlit drew its text: it marks what is about to go, long before the answer comes.
  const shows = () => {
    const place = document.querySelector(answer);
    return place?.querySelector('[data-testid]') ? place.textContent : place?.innerHTML;
  };
  const before = shows();
  let pressed = 0;
  window.perpcsTook = null;
  document.addEventListener('mousedown', () => { pressed = performance.now(); }, { capture: true, once: true });
  const seen = new MutationObserver(() => {
    if ([before, undefined].includes(shows())) return;
    seen.disconnect();
    requestAnimationFrame(() => window.perpcsOnceShown(() => { window.perpcsTook = performance.now() - pressed; }));
  });
  seen.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}"""

_OTHERS = '[role="radio"][aria-checked="false"]'
PRESSES = {
    "sort the map": ("assemble", f".st-key-sort {_OTHERS}", ".st-key-mapbox .main-svg"),
    "another module of the map": ("assemble", f".st-key-module {_OTHERS}", ".st-key-mapbox .main-svg"),
    "a piece of the map": ("assemble", ".st-key-mapbox .scatterlayer .point", "[class*='st-key-view-']"),
    "another view below it": ("assemble", f".st-key-view {_OTHERS}", "[class*='st-key-view-']"),
    "what if, fewer pieces or without a layer": (
        "assemble?view=whatif",
        f".st-key-whatif {_OTHERS} >> nth=-1",
        "[class*='st-key-diffbox'] .main-svg",
    ),
    "a sharer on the map of sharers": (
        "sharers",
        ".st-key-townbox .scatterlayer .point:not([d*='A'])",
        ".st-key-finished-below",
    ),
    "the next step of the story": ("overview", f".st-key-story-step {_OTHERS}", ".pp-story"),
    "another measure": ("results", f".st-key-measure {_OTHERS}", ".pp-results"),
    "another page's notes": ("method", f".st-key-notes-page {_OTHERS}", ".pp-script"),
}
"""What is pressed -> (page, everything of its kind, what shows the answer)."""
_STEP = 7
"""Of several that can be pressed every seventh is, one after another."""
_LONGEST = 10.0
"""Seconds that a press is given before what it changes is taken to be shown already."""


def measure(folder: Path, runs: int) -> dict[str, Any]:
    """Open and press everything ``runs`` times; the result as it is written."""
    pool = Pool(folder)
    result = about("interactions", pool, {"runs": runs}, PACKAGES)
    result["goals"] = {"first words": {"seconds, below": 1.0}, "presses": {"seconds, below": 0.3}}
    with tempfile.TemporaryDirectory() as place, open_browser() as browser:
        result["versions"]["chromium"] = browser.version
        script = Path(place) / "one_line.py"
        script.write_text(ONE_LINE)
        environment = {"PERPCS_POOL": str(folder.resolve())}
        with serve(script, {}) as line, serve(ROOT / "app.py", environment) as studio:
            found = _pages(browser, line, studio, runs)
            context = browser.new_context(viewport=VIEW)
            for name, (page, what, answer) in PRESSES.items():
                sight = PAGES[page.partition("?")[0]]
                found["press: " + name] = _pressed(context, f"{studio}/{page}", sight, what, answer, runs)
            context.close()
    result["seconds"] = {name: timing(times) for name, times in found.items()}
    for who in ("new", "returning"):
        line_seconds = result["seconds"][f"{who}: one line"]["median_s"]
        result[f"{who}_over_one_line"] = {
            name: round(result["seconds"][f"{who}: {name}, first words"]["median_s"] / line_seconds, 3)
            for name in PAGES
        }
    return result


def _pages(browser: Browser, line: str, studio: str, runs: int) -> dict[str, list[float]]:
    """Seconds to open every page, by who opens it, which it is and what is seen."""
    returning = browser.new_context(viewport=VIEW)
    places: dict[str, tuple[str, dict[str, str]]] = {"one line": (line, {"": PAGES["overview"]})}
    for name, sight in PAGES.items():
        places[name] = (f"{studio}/{name}", {", first words": FIRST, "": sight})
    for address, sights in places.values():
        _opened(returning, address, sights)
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        for name, (address, sights) in places.items():
            new = browser.new_context(viewport=VIEW)
            for who, context in (("returning", returning), ("new", new)):
                for what, seconds in _opened(context, address, sights).items():
                    found.setdefault(f"{who}: {name}{what}", []).append(seconds)
            new.close()
    returning.close()
    return found


def _opened(context: BrowserContext, address: str, sights: dict[str, str]) -> dict[str, float]:
    """Seconds until a tab shows each of what belongs to the page."""
    tab = context.new_page()
    tab.add_init_script(f"{_ONCE_SHOWN}\n({_WATCH})({json.dumps(sights)})")
    tab.goto(address, wait_until="commit")
    for sight in sights.values():
        await_sight(tab, address, sight)
    tab.wait_for_function("count => Object.keys(window.perpcsSeen).length === count", arg=len(sights))
    seen: dict[str, float] = tab.evaluate("window.perpcsSeen")
    tab.close()
    return {name: milliseconds / 1000 for name, milliseconds in seen.items()}


def _pressed(context: BrowserContext, address: str, sight: str, what: str, answer: str, runs: int) -> list[float]:
    """Seconds from a press on one of what can be pressed to its answer, again and again on one page."""
    tab = context.new_page()
    tab.add_init_script(_ONCE_SHOWN)
    see(tab, address, address, sight)
    tab.locator(what).first.wait_for(timeout=PATIENCE * 1000)
    tab.wait_for_timeout(3000)  # whatever else the page draws
    seconds: list[float] = []
    for turn in range(1, 2 * runs + 1):
        took = _one_press(tab, what, answer, turn)
        seconds += [] if took is None else [took]
        if len(seconds) == runs:
            break
    else:
        raise PerpcsError(f"Pressing {what} on {address} changes too seldom what is shown.", "Look at it in a browser.")
    tab.close()
    return seconds


def _one_press(tab: Page, what: str, answer: str, turn: int) -> float | None:
    """Seconds from the press to its answer; None where what was pressed is shown already."""
    found = tab.locator(what)
    one = found.nth(_STEP * turn % found.count())
    one.scroll_into_view_if_needed()
    tab.wait_for_timeout(300)
    tab.evaluate(_ANSWERED, answer)
    box = one.bounding_box()
    assert box is not None  # it was scrolled to
    # The mouse and not the element: over the marks of a map lies what listens for presses.
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    try:
        tab.wait_for_function("() => window.perpcsTook !== null", timeout=_LONGEST * 1000)
    except TimeoutError:
        return None
    seconds: float = tab.evaluate("window.perpcsTook / 1000")
    tab.wait_for_timeout(700)
    return seconds


def table(result: dict[str, Any]) -> list[list[object]]:
    """The numbers as rows."""
    return [
        ["what", "seconds (median)"],
        *([name, f"{found['median_s']:.2f}"] for name, found in sorted(result["seconds"].items())),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds that a visitor waits on a running server.")
    parser.add_argument("--pool", type=Path, default=DEFAULT_POOL, help="a pool's folder (default: the small town)")
    parser.add_argument("--runs", type=int, default=5, help="how often each thing is done (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=SPEED / "interactions.json")
    asked = parser.parse_args()
    result = measure(asked.pool, asked.runs)
    print_table(table(result))
    write_result(asked.out, result)


if __name__ == "__main__":
    main()
