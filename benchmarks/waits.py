"""What a visitor waits for, on the pool as it is: a paste, a long history, six methods side by side, and the memory.

    python -m benchmarks.waits [--pool FOLDER] [--out FILE]

tweets       12 short texts of an example person, from the click to the record; by the default router and by the gates
headlines    40 headlines, the same
forward      a plain forward pass of the base model over the same tokens, without head, for each
files        10 MB of lines read and 15 MB of JSON decoded: seconds, the longest turn that it takes from other threads,
             and that of plain Python
six          six methods asked at once, prepared before: seconds to the first token and to the last
memory       the largest size of this process, in MB
"""

import argparse
import resource
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.common import DEFAULT_POOL, SPEED, about, write_result
from perpcs.assembly.routers import PRESETS
from perpcs.cli import pool_folder
from perpcs.data import look
from perpcs.data.clean import in_time
from perpcs.data.parse_json import read_document
from perpcs.model.likelihood import encode_pair, length_batches, pad_right
from perpcs.serve.engine import Engine
from perpcs.tasks import Item, get_task

METHODS = ("base", "rag", "rag:4", "retrieval", "perpcs", "perpcs:paper")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pool", default=str(DEFAULT_POOL))
    parser.add_argument("--out", type=Path, default=SPEED / "waits.json")
    options = parser.parse_args()
    engine = Engine.open(pool_folder(options.pool))
    headlines = [item for person in engine.pool.examples("LaMP_4") for item in person.history]
    histories = {"LaMP_7": engine.pool.examples("LaMP_7")[0].history[:12], "LaMP_4": headlines[:40]}
    assembled(engine, "LaMP_7", histories["LaMP_7"][:2], "default")  # what is made once is made before
    settings = {"threads": torch.get_num_threads(), "device": str(engine.base.device), "dtype": str(engine.base.dtype)}
    result = about("waits", engine.pool, settings, ("torch", "transformers"))
    for name, task in (("tweets", "LaMP_7"), ("headlines", "LaMP_4")):
        items = histories[task]
        result[name] = {
            "items": len(items),
            "tokens": engine.count_tokens(get_task(task), items),
            "newton": assembled(engine, task, items, "default"),
            "gates": assembled(engine, task, items, "paper"),
            "forward": plain_pass(engine, task, items),
        }
    result["files"] = reading()
    result["six"] = side_by_side(engine)
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    write_result(options.out, result)
    print({key: result[key] for key in ("tweets", "headlines", "files", "six", "memory")})


def assembled(engine: Engine, task: str, items: Sequence[Item], preset: str) -> float:
    """Seconds to assemble a history."""
    began = time.perf_counter()
    engine.assemble(get_task(task), items, options=PRESETS[preset])
    return round(time.perf_counter() - began, 2)


@torch.no_grad()
def plain_pass(engine: Engine, task: str, items: Sequence[Item]) -> float:
    """Seconds of one forward pass over a history's tokens, in the batches of an assembly."""
    base = engine.base
    encoded = [encode_pair(base.tokenizer, *get_task(task).pair(item), base.max_tokens) for item in items]
    began = time.perf_counter()
    for rows in length_batches([len(one.ids) for one in encoded], 8192):
        base.model.model(input_ids=pad_right([encoded[row].ids for row in rows], base.pad, base.device))
    return round(time.perf_counter() - began, 2)


def reading() -> dict[str, float]:
    """Seconds to read 10 MB of lines and decode 15 MB of JSON, and the longest turns of this and of plain Python."""
    lines = "\n".join(["some words of a file => and an answer"] * 250_000)
    document = "[" + ",".join(['{"text": "some words of a file", "title": "a title", "id": 7}'] * 250_000) + "]"
    decoded: list[object] = []  # dropping it takes a turn of its own: docs/SECURITY.md
    began = time.thread_time()
    turns = [longest_turn(lambda: look(lines)), longest_turn(lambda: decoded.append(in_time(read_document)(document)))]
    return {
        "seconds": round(time.thread_time() - began, 2),
        "turn": max(turns),
        "python": longest_turn(plain_python),
    }


def longest_turn(work: Callable[[], object]) -> float:
    """The most seconds that this thread works, by its own clock, before a second thread has its turn."""
    clock, ended, turns = time.pthread_getcpuclockid(threading.get_ident()), threading.Event(), [0.0]

    def watch() -> None:
        last = time.clock_gettime(clock)
        while not ended.is_set():
            time.sleep(0.001)
            now = time.clock_gettime(clock)
            turns.append(now - last)
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    ended.set()
    watcher.join()
    return round(max(turns), 4)


def plain_python() -> None:
    """A second of work that holds other threads no longer than the interpreter does anyway."""
    until = time.thread_time() + 1
    while time.thread_time() < until:
        sum(range(1000))


def side_by_side(engine: Engine) -> dict[str, float]:
    """Seconds to the first and to the last token of six methods that answer one question."""
    task, person = get_task("LaMP_4"), engine.pool.examples("LaMP_4")[0]
    own = engine.stored.assembly("LaMP_4", person.id)
    ready = [
        engine.prepare(task, method, person.history, user=person.id, assembly=own if method == "perpcs" else None)
        for method in METHODS
    ]
    began, first = time.perf_counter(), 0.0
    for _ in engine.answer_rows(task, [(one, person.queries[0]) for one in ready]):
        first = first or time.perf_counter() - began
    return {"first": round(first, 2), "whole": round(time.perf_counter() - began, 2)}


if __name__ == "__main__":
    main()
