"""Uses one engine from many threads and one server from many tabs, at random: `make soak` for a quarter of an hour.

Every answer and every person is compared with what a single run gave before; no tab may show another tab's words; the
server's log must hold no traceback; memory must stay flat. test_endurance.py runs the engine's part for some seconds.

Resident memory also grows because allocators keep pages that were freed: with eight threads by 60 MB in the first 40
seconds, and not afterwards. So the second half is judged, and beside it what lives in the process, to 5 MB.
"""

import argparse
import ctypes
import gc
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TASK = "LaMP_4"
METHODS = ("base", "perpcs", "rag", "perpcs+rag")
PRESETS_USED = ("default", "paper", "prototype", "uniform")
GROWTH = 50_000_000
"""Bytes by which resident memory may grow in the second half of the time."""
LIVE = 5_000_000
"""Bytes by which what lives in the process may grow after the first quarter."""
PAGES = ("", "assemble", "compare", "sharers", "results", "share", "method")


@dataclass
class Found:
    """What was done, and what went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    """(second, bytes) of the process that is watched."""

    live: list[int] = field(default_factory=list)
    """Bytes that lived in the process after a quarter of the time, and near the end."""

    def growth(self, seconds: float) -> int:
        """Bytes by which resident memory grew from the second quarter of the time to the last."""
        second = [size for at, size in self.memory if 1 / 4 <= at / seconds < 1 / 2]
        last = [size for at, size in self.memory if at / seconds >= 3 / 4]
        return round(statistics.median(last) - statistics.median(second)) if second and last else 0

    def grown(self) -> int:
        """Bytes by which what lives in the process grew."""
        return self.live[-1] - self.live[0] if self.live else 0


def resident(process: int | str = "self") -> int:
    """Bytes of memory that a process holds; 0 where the system does not say so."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


_MALLINFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Malloc(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO.split())


def held(looks: int = 5) -> int:
    """Bytes that live in this process: what malloc gave out, and 64 for each block of Python's own allocator.

    The least of some looks, because threads hold something for a moment. Of Python's blocks alone where the C library
    does not tell.
    """
    told = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if told is not None:
        told.restype = _Malloc
    seen = []
    for _ in range(looks):
        gc.collect()
        said = told() if told is not None else _Malloc()
        seen.append(said.uordblks + said.hblkhd + 64 * sys.getallocatedblocks())
    return min(seen)


def soak_engine(seconds: float, work: Path, threads: int = 8, start: int = 0) -> Found:
    """Threads that assemble, prepare and ask at random, and stop in the middle now and then."""
    import numpy as np
    from tiny import write_tiny_pool

    from perpcs.assembly.routers import PRESETS
    from perpcs.serve.engine import Engine
    from perpcs.tasks import Item, Query, get_task

    task, found = get_task(TASK), Found()
    engine = Engine.open(write_tiny_pool(work / "pool", tasks=(TASK,)), "cpu", "float64")
    draw = random.Random(start)
    words = ["harbour", "storm", "market", "bridge", "baker", "ferry", "winter", "council", "song", "night"]
    histories = [
        tuple(
            Item(" ".join(draw.choices(words, k=9)), " ".join(draw.choices(words, k=4)))
            for _ in range(draw.randint(1, 9))
        )
        for _ in range(6)
    ]
    presets = [name for name in PRESETS_USED if name in PRESETS]
    people = [
        (history, preset, engine.assemble(task, history, options=PRESETS[preset]))
        for history in histories
        for preset in presets
    ]

    def ask(job: tuple[int, str, str, int, float, int], stop_after: int = 0) -> str | None:
        who, method, text, seed, temperature, tokens = job
        history, _, assembly = people[who]
        prepared = engine.prepare(task, method, history, assembly=assembly)
        answers: Iterator[Any] = engine.answer_rows(
            task, [(prepared, Query(x=text))], max_new_tokens=tokens, temperature=temperature, seed=seed
        )
        last = None
        for number, (each,) in enumerate(answers, start=1):
            last = each
            if number == stop_after:
                answers.close()  # type: ignore[attr-defined]
                return None
        return last.text if last else ""

    jobs = [
        (
            draw.randrange(len(people)),
            draw.choice(METHODS),
            " ".join(draw.choices(words, k=8)),
            draw.randrange(9),
            draw.choice((0.0, 0.9)),
            draw.randint(1, 12),
        )
        for _ in range(8 * threads)
    ]
    alone = [ask(job) for job in jobs]
    begun = time.monotonic()

    def work_on(number: int) -> None:
        own = random.Random(start * 1000 + number)
        while time.monotonic() - begun < seconds:
            try:
                what = own.random()
                if what < 0.15:
                    history, preset, assembly = people[own.randrange(len(people))]
                    again = engine.assemble(task, history, options=PRESETS[preset])
                    found.counts["people assembled"] += 1
                    if not np.array_equal(again.weights, assembly.weights):
                        found.wrong.append(f"another person from the same history, {preset}")
                elif what < 0.25:
                    ask(jobs[own.randrange(len(jobs))], stop_after=1)
                    found.counts["answers stopped"] += 1
                else:
                    place = own.randrange(len(jobs))
                    said = ask(jobs[place])
                    found.counts["answers checked"] += 1
                    if said != alone[place]:
                        found.wrong.append(f"{jobs[place]}: {said!r} instead of {alone[place]!r}")
            except Exception as error:
                found.wrong.append(f"{type(error).__name__}: {str(error)[:200]}")

    run(found, [lambda number=number: work_on(number) for number in range(threads)], seconds, begun)
    if engine.queue.waiting:
        found.wrong.append(f"{engine.queue.waiting} still wait for the model")
    return found


def run(
    found: Found, works: list[Callable[[], None]], seconds: float, begun: float, process: int | str = "self"
) -> None:
    """Run them in threads and note the memory meanwhile."""
    running = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in running:
        thread.start()
    while any(thread.is_alive() for thread in running):
        passed = (time.monotonic() - begun) / seconds
        if seconds > 30 and ((passed > 0.25 and not found.live) or (passed > 0.95 and len(found.live) < 2)):
            found.live.append(held())
        found.memory.append((time.monotonic() - begun, resident()))
        time.sleep(min(1.0, seconds / 20))
        if time.monotonic() - begun > seconds + 120:
            found.wrong.append("a thread has not come back for two minutes")
            return


def soak_browser(seconds: float, work: Path, tabs: int = 6, start: int = 0) -> Found:
    """Tabs of one Chromium that paste, assemble, ask, change pages, reload and clear at random."""
    import shutil

    from playwright.sync_api import Error, sync_playwright
    from tiny import write_tiny_pool

    sys.path.insert(0, str(ROOT / "tests" / "browser"))
    from driver import FLAGS  # type: ignore[attr-defined]
    from driver import start as serve

    found, draw = Found(), random.Random(start)
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        found.counts["no Chromium here: tabs not tried"] += 1
        return found
    studio = serve(work / "log", write_tiny_pool(work / "served", tasks=("LaMP_7", "LaMP_4")))
    begun = time.monotonic()
    marks = [f"mark{number}x{draw.randrange(10**8)}" for number in range(tabs)]

    def act(tab: Any, mark: str) -> str:
        what = draw.random()
        if what < 0.3:
            tab.goto(f"{studio.url}/{draw.choice(PAGES)}")
            return "pages opened"
        if what < 0.5:
            tab.goto(f"{studio.url}/assemble?source=paste")
            box = tab.locator("textarea").first
            box.wait_for()
            box.fill("\n".join(f"why the {mark} sings {number} times" for number in range(draw.randint(1, 9))))
            tab.keyboard.press("Control+Enter")
            return "texts pasted"
        if what < 0.6:
            tab.reload()
            return "reloads"
        buttons = tab.locator("main button:visible, section button:visible, [data-testid=stMain] button:visible")
        if number := buttons.count():
            buttons.nth(draw.randrange(min(number, 40))).click(timeout=2_000, no_wait_after=True)
            return "buttons pressed"
        return "pages without buttons"

    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            open_tabs = [browser.new_context().new_page() for _ in marks]
            for tab in open_tabs:
                tab.set_default_timeout(15_000)
                tab.goto(studio.url, timeout=120_000)  # the first page waits for what it imports
            begun = time.monotonic()
            while time.monotonic() - begun < seconds:
                place = draw.randrange(tabs)
                tab = open_tabs[place]
                try:
                    found.counts[act(tab, marks[place])] += 1
                    shown = tab.content()
                except Error:
                    found.counts["actions that found nothing to act on"] += 1
                    continue
                found.counts["screens checked"] += 1
                others = [mark for mark in marks if mark != marks[place] and mark in shown]
                if others:
                    found.wrong.append(f"the tab of {marks[place]} shows {others}")
                if 'data-testid="stException"' in shown:
                    found.wrong.append(f"an exception on the screen: {tab.url}")
                found.memory.append((time.monotonic() - begun, resident(studio.process.pid)))
                if studio.process.poll() is not None:
                    found.wrong.append("the server ended")
                    break
            browser.close()
    finally:
        studio.stop()
    log = studio.log.read_text(errors="replace")
    if "Traceback" in log:
        found.wrong.append(f"a traceback in the server's log: {log[log.index('Traceback') :][:600]}")
    found.wrong += [f"{mark} in the server's log" for mark in marks if mark in log]
    return found


def report(name: str, found: Found, seconds: float) -> bool:
    """Print what was done; whether all went well."""
    growth, grown = found.growth(seconds), found.grown()
    if growth > GROWTH:
        found.wrong.append(f"resident memory grew by {growth / 1e6:,.0f} MB in the second half")
    if grown > LIVE:
        found.wrong.append(f"what lives in the process grew by {grown / 1e6:,.1f} MB")
    print(f"{name}: " + ", ".join(f"{count:,} {what}" for what, count in sorted(found.counts.items())))
    print(
        f"{name}: resident memory {growth / 1e6:+,.0f} MB in the second half"
        + (f", live {grown / 1e6:+,.1f} MB after the first quarter" if found.live else "")
        + f"; {len(found.wrong)} wrong"
    )
    print("\n".join(found.wrong[:20]))
    return not found.wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=840, help="half for threads, half for tabs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    half = options.seconds / 2
    with tempfile.TemporaryDirectory() as work:
        well = report("threads", soak_engine(half, Path(work), start=options.seed), half)
        well &= report("tabs", soak_browser(half, Path(work), start=options.seed), half)
    return 0 if well else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
