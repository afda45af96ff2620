"""Starts the studio for the tests in a browser, and what they ask of a tab."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


SHIPPED = ROOT / "assets" / "pools" / "people"


FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--process-per-site",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Studio:
    """A running app."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def start(log: Path, pool: Path) -> Studio:
    """`python -m streamlit run app.py`, until it answers."""
    port = free_port()
    environment = {**os.environ, "PERPCS_POOL": str(pool)}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
    studio, until = Studio(f"http://127.0.0.1:{port}", process, log), time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(studio.url + "/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return studio
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.3)
    studio.stop()
    raise AssertionError(f"the app did not start:\n{log.read_text()}")


FILLED = {"": ".pp-story", "assemble": ".st-key-mapbox .js-plotly-plot", "compare": ".pp-answer"}


# WCAG contrast of every visible text with what is behind it; the list of those below 4.5 (3 for large text).
POOR_CONTRAST = """() => {
  const numbers = text => text.split(/[ ,\\/]+/).map(Number);
  const parse = colour => {
    const rgb = colour.match(/^rgba?\\(([^)]+)\\)/), srgb = colour.match(/^color\\(srgb ([^)]+)\\)/);
    const p = numbers((rgb || srgb)[1]);
    return [...p.slice(0, 3).map(v => srgb ? 255 * v : v), p[3] ?? 1];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const linear = v => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const parents = element => { const all = []; for (let e = element; e; e = e.parentElement) all.push(e); return all };
  const behind = element => {
    let colour = [255, 255, 255, 1];
    for (const e of parents(element).reverse()) colour = over(parse(getComputedStyle(e).backgroundColor), colour);
    return colour;
  };
  const poor = [], walker = document.createTreeWalker(document.querySelector('.stApp'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement;
    if (!text || e.closest('svg, style, script, [aria-hidden=true], :disabled, [data-testid=stIconMaterial]')) continue;
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    const opacity = parents(e).reduce((product, p) => product * getComputedStyle(p).opacity, 1);
    if (!box.width || !box.height || !opacity || !e.checkVisibility({visibilityProperty: true})) continue;
    const back = behind(e), [r, g, b, a] = parse(style.color);
    const one = luminance(over([r, g, b, a * opacity], back)), other = luminance(back);
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) poor.push([ratio.toFixed(2), text.slice(0, 60)]);
  }
  return poor;
}"""


def overflow(tab) -> int:
    """Pixels by which anything makes the page scroll sideways."""
    return tab.evaluate(
        """() => { const main = document.querySelector('[data-testid=stMain]'), page = document.documentElement;
        return Math.max(main.scrollWidth - main.clientWidth, page.scrollWidth - page.clientWidth) }"""
    )


def small_texts(tab, within: str, least: float) -> list:
    """Texts below an element that are drawn smaller than so many pixels, as (size, text)."""
    return tab.evaluate(
        """([within, least]) => [...document.querySelectorAll(within + ' *')].flatMap(element => {
            const written = node => node.nodeType === 3 && /[^\\s\\u200b]/.test(node.textContent);
            const box = element.getBoundingClientRect();
            if (![...element.childNodes].some(written) || !box.width || !box.height) return [];
            if (element.closest('.katex-mathml, style, .modebar')) return [];
            let size = parseFloat(getComputedStyle(element).fontSize) * (element.currentCSSZoom || 1);
            if (element.closest('svg') && element.getCTM) {
                const drawn = element.getCTM();
                size *= Math.hypot(drawn.a, drawn.b);
            }
            return size < least ? [[size, element.textContent.trim()]] : [];
        })""",
        [within, least],
    )


def wait_until(true, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)


def address(tab) -> str:
    """The address bar now; ``tab.url`` is only as new as the last thing that Playwright was asked."""
    return tab.evaluate("() => location.href")


def fits(tab) -> None:
    """Nothing overflows and every text is readable, on a projector and on a telephone."""
    for width, height in ((1280, 720), (390, 844)):
        tab.set_viewport_size({"width": width, "height": height})
        tab.wait_for_timeout(800)
        assert overflow(tab) <= 0, width
        poor = tab.evaluate(POOR_CONTRAST)
        assert poor == [], f"at {width} pixels: {poor}"


def press_until(press, true, seconds: float = 60) -> None:
    """Press again every few seconds: what listens may be loaded after what is seen."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "pressing did nothing"
        press()
        for _ in range(50):
            if true():
                break
            time.sleep(0.1)
