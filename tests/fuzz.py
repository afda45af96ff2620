"""Fuzzes every reader of what strangers give: `make fuzz` for ten minutes, test_endurance.py for some seconds.

What a target is given is either read or refused by a PerpcsError; anything else is a finding, and so is a reading that
breaks one of its laws. Hypothesis makes the inputs: samples that are right, with pieces cut out, doubled, replaced.
"""

import argparse
import io
import json
import math
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import openpyxl
from hostile import REPEATED, texts
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from perpcs.data import look, read_pasted, read_upload
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS

CHARS = 4_000
"""Longest field that a reading may give back."""
TURN = 60
"""Examples of a target before the next one has its turn."""
WORDS = st.sampled_from(
    ("title", "text", "score", "=>", '"', "{", "}", "[", "]", "\n", "\t", ",", ":", "<", ">", "\\", "\0", "\ud800", "﷽")
)
SAMPLES = [text for _, text in texts(300)]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("../x") | st.just(10**9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def cut(draw: st.DrawFn, samples: list[Any], piece: st.SearchStrategy[Any]) -> Any:
    """A sample with some places cut out, doubled or replaced."""
    text = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 4))):
        first, last = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        last = min(last, first + 400)
        middle = text[first:last]
        text = text[:first] + draw(st.sampled_from((middle * 2, middle[:0])) | piece) + text[last:]
    return text


def other(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """JSON with one place changed, left out or added to."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        if not draw(st.integers(0, 9)):
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: other(value[key], draw)}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], other(value[place], draw), *value[place + 1 :]]
    return draw(VALUES)


def files() -> list[bytes]:
    """A workbook, an archive, and texts in other encodings."""
    book, packed = openpyxl.Workbook(), io.BytesIO()
    for row in (("title", "text"), ("a headline", "an article"), ("=1+1", 3.5)):
        book.active.append(row)
    book.save(packed)
    archive = io.BytesIO()
    with ZipFile(archive, "w") as made:
        for place, text in enumerate(SAMPLES[::9]):
            made.writestr(f"part{place}.{'json' if text[:1] in '[{' else 'csv'}", text.encode("utf-8", "replace"))
    plain = [text.encode("utf-8", "surrogatepass") for text in SAMPLES]
    return [packed.getvalue(), archive.getvalue(), *plain, *(text.encode("utf-16", "replace") for text in SAMPLES[::5])]


def holds(reading: Any) -> None:
    """The laws of a reading."""
    assert reading.items
    assert len(reading.items) == len(reading.lines)
    for item in reading.items:
        for text in (item.x, item.y or ""):
            assert len(text) <= CHARS
            text.encode()  # no lone surrogates
            assert not set(text) & {"\0", "\r"}
    json.dumps([bad.__dict__ for bad in reading.bad]).encode()


def targets(work: Path) -> dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]]:
    """Each reader's inputs, and what is done with one. Raises nothing but PerpcsError where all is well."""
    from fakes import FakePool, assembled
    from safetensors.numpy import load
    from tiny import write_tiny_pool

    from perpcs.assembly.explain import contributions, item_influence
    from perpcs.assembly.record import Assembly
    from perpcs.assembly.routers import PRESETS
    from perpcs.files import hash_file, write_json
    from perpcs.pool.manifest import read_manifest
    from perpcs.pool.store import PIECES, Pool
    from perpcs.pool.validate import validate

    tasks = st.sampled_from(tuple(TASKS.values()))

    def pasted(given: tuple[Any, str]) -> None:
        task, text = given
        look(text)
        holds(read_pasted(text, task))

    def uploaded(given: tuple[Any, str, bytes]) -> None:
        task, name, data = given
        look(data, name)
        holds(read_upload(name, data, task))

    town = FakePool(("LaMP_4",))
    example = town.examples("LaMP_4")[0]
    saved = assembled(town, "LaMP_4", example.history, PRESETS["default"], "me").to_json()
    record = json.loads(saved)

    def person(text: str) -> None:
        found = Assembly.from_json(text)
        assert all(math.isfinite(number) for number in (float(found.weights.sum()), float(found.scores.sum())))
        assert Assembly.from_json(found.to_json()).weights.tolist() == found.weights.tolist()
        contributions(found)
        if found.additive:
            item_influence(found)

    clean = write_tiny_pool(work / "clean", tasks=("LaMP_4",))
    manifest = json.loads((clean / "manifest.json").read_bytes())
    sharers = json.loads((clean / "LaMP_4" / "sharers.json").read_bytes())
    tensors = (clean / "LaMP_4" / PIECES).read_bytes()
    folder = work / "pool"

    def pool_with(name: str, data: bytes) -> None:
        """The clean pool with one other file, whose hash is right, as a hostile sharer's would be."""
        if not folder.exists():
            shutil.copytree(clean, folder)
        path, kept = folder / name, (clean / name).read_bytes()
        signed = json.loads((clean / "manifest.json").read_bytes())
        try:
            path.write_bytes(data)
            if name != "manifest.json":
                signed["tasks"][0]["files"][path.name] = hash_file(path)
                write_json(folder / "manifest.json", signed)
            read_manifest(folder)
            validate(folder)
            opened = Pool(folder)
            opened.sharers("LaMP_4")
            opened.mask("LaMP_4")
        finally:
            path.write_bytes(kept)
            (folder / "manifest.json").write_bytes((clean / "manifest.json").read_bytes())

    @st.composite
    def changed(draw: st.DrawFn, value: Any) -> str:
        for _ in range(draw(st.integers(1, 3))):
            value = other(value, draw)
        return json.dumps(value)

    head = 8 + int.from_bytes(tensors[:8], "little")
    assert load(tensors)
    pieces = cut([tensors[:head]], st.binary(max_size=12)).map(lambda start: start + tensors[head:]) | cut(
        [tensors], st.binary(max_size=12)
    )
    names = st.sampled_from(("x", "a.csv", "a.json", "a.xlsx", "a.zip", "a.mbox", "chat.txt", "a.bib", "a.xml"))
    return {
        "pasted text": (st.tuples(tasks, st.text(max_size=200) | cut(SAMPLES, st.text(max_size=9) | WORDS)), pasted),
        "uploaded file": (st.tuples(tasks, names, cut(files(), st.binary(max_size=9))), uploaded),
        "saved person": (changed(record) | cut([saved], st.text(max_size=9)), person),
        "manifest": (changed(manifest), lambda text: pool_with("manifest.json", text.encode())),
        "sharers": (changed(sharers), lambda text: pool_with("LaMP_4/sharers.json", text.encode())),
        "tensors": (pieces, lambda data: pool_with(f"LaMP_4/{PIECES}", data)),
    }


def fuzz(seconds: float, work: Path, start: int = 0, only: str = "") -> tuple[Counter[str], list[str]]:
    """Tries of each target and what was found, in about so many seconds."""
    tried: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    findings: list[str] = []
    all_targets = {name: target for name, target in targets(work).items() if only in name}
    until, turn = time.monotonic() + seconds, start
    each = max(1, round(TURN * min(1.0, seconds / 60)))
    while time.monotonic() < until and not findings:
        for name, (strategy, use) in all_targets.items():

            def one(value: Any) -> None:
                if time.monotonic() > until + 20:
                    return
                tried[name] += 1  # noqa: B023 - called before the next name
                try:
                    use(value)  # noqa: B023
                except PerpcsError as error:
                    refused[name] += 1  # noqa: B023
                    if not (error.wrong and error.do) or len(f"{error.wrong}{error.do}") > 1_500:
                        raise AssertionError(f"no sentence: {error.wrong[:80]}") from None

            bounded = settings(max_examples=each, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            try:
                seed(turn)(bounded(given(strategy)(one)))()
            except Exception as error:
                findings.append(f"{name}, seed {turn}: {type(error).__name__}: {str(error)[:300]}")
            turn += 1
    for name, count in tried.items():
        print(f"{name}: {count:,} tried, {refused[name]:,} refused")
    return tried, findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=570)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a target's name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        tried, findings = fuzz(options.seconds, Path(work), options.seed, options.only)
    print(f"{sum(tried.values()):,} inputs in {len(tried)} readers, {len(findings)} findings, {len(REPEATED)} samples")
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
