"""What is left of a visitor's text in the server after the tab is closed, counted in the server itself."""

import os
import signal
import time
from pathlib import Path

import pytest
from driver import start
from tiny import write_tiny_pool

pytestmark = pytest.mark.browser
MARK = "zebrafinchlantern"
LINES = "\n".join(f"why the {MARK} number {i} sings" for i in range(8))
SECONDS = 5
COUNTER = '''
import gc, os, signal

def count(*_):
    """Live strings, byte strings and messages with the mark; what only waits to be collected counts too, and what
    garbage collection leaves out counts by the second signal, because seeing it means to let it in.
    """
    if _[0] == signal.SIGUSR2:
        gc.unfreeze()
    mark, out = os.environ["PERPCS_TEST_MARK"], os.environ["PERPCS_TEST_COUNT"]
    own = {id(os.environ), id(os.environ._data), id(mark)}
    everything = below = [one for one in gc.get_objects() if id(one) not in own]
    seen = own | set(map(id, below))
    while below:  # the collector does not know texts, only what holds them
        held = {id(one): one for at in range(0, len(below), 5000) for one in gc.get_referents(*below[at:at + 5000])}
        below = [one for name, one in held.items() if name not in seen]
        seen.update(held)
        everything = everything + below
    kinds, found = {}, {}
    for one in everything:
        kind = type(one)
        if kind not in kinds:
            kinds[kind] = str(kind.__module__).endswith("_pb2") and hasattr(kind, "SerializeToString")
        if (
            (kind is str and mark in one)
            or (kind in (bytes, bytearray) and mark.encode() in one)
            or (kinds[kind] and mark.encode() in one.SerializeToString())
        ):
            found[kind.__name__] = found.get(kind.__name__, 0) + 1
    with open(out + ".new", "w") as file:
        file.write(str(sum(found.values())) + " " + str(found))
    os.rename(out + ".new", out)

signal.signal(signal.SIGUSR1, count)
signal.signal(signal.SIGUSR2, count)
'''


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A server that keeps closed sessions a few seconds, and how many marked strings live in it."""
    (tmp_path / "sitecustomize.py").write_text(COUNTER)
    out = tmp_path / "count"
    for name, value in {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))),
        "PERPCS_TEST_MARK": MARK,
        "PERPCS_TEST_COUNT": str(out),
        "STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": str(SECONDS),
    }.items():
        monkeypatch.setenv(name, value)
    running = start(tmp_path / "log", write_tiny_pool(tmp_path / "pool", tasks=("LaMP_7", "LaMP_4")))

    def live(asked: int = signal.SIGUSR1) -> tuple[int, str]:
        out.unlink(missing_ok=True)
        running.process.send_signal(asked)
        until = time.monotonic() + 30
        while not out.exists():
            assert time.monotonic() < until, Path(running.log).read_text()
            time.sleep(0.1)
        number, _, kinds = out.read_text().partition(" ")
        return int(number), kinds

    yield running, live
    running.stop()


def test_a_closed_tab_leaves_no_text_in_the_server(counted, open_tab, tmp_path):
    """Nobody else uses the server: only its own clock can end the session."""
    running, live = counted
    tab = open_tab(running.url + "/assemble?source=paste")
    tab.locator("textarea").first.wait_for()
    tab.locator("textarea").first.fill(LINES)
    tab.keyboard.press("Control+Enter")
    tab.get_by_role("button", name="Assemble", exact=False).first.click()
    tab.get_by_role("heading", name="Your model uses").wait_for()

    upload = tmp_path / "lines.txt"
    upload.write_text(LINES)
    other = open_tab(running.url + "/assemble?source=upload")
    other.locator("input[type=file]").first.set_input_files(str(upload))
    other.get_by_text("8 items read").first.wait_for()
    assert live()[0] > 8  # else the mark is counted wrongly

    tab.close()
    other.close()
    time.sleep(1)
    assert live()[0] > 0  # a reload within the time finds it again
    until = time.monotonic() + SECONDS + 60
    time.sleep(2 * SECONDS)  # counting takes seconds, in which the server's own clock stands still
    while (left := live())[0] and time.monotonic() < until:
        time.sleep(SECONDS)
    assert left[0] == 0, left
    left = live(signal.SIGUSR2)
    assert left[0] == 0, left
    assert running.process.poll() is None
