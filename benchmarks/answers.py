"""What answers are like: 100 inputs that nobody trained on, answered for example people by the default router, counted.

    python -m benchmarks.answers --pool people        writes results/quality/answers.json

The inputs (benchmarks/inputs.json) are articles, abstracts, reviews and plain statements written for this. Each
is asked for an example person of its task, in turn. An answer counts as bad where it loops, is empty or contains a
non-word (perpcs/serve/answer.py). All answers are in the result, beside the base model's, to be read.
"""

import argparse
import json
from pathlib import Path

from benchmarks.common import DEFAULT_POOL, QUALITY, about, write_result
from perpcs.cli import pool_folder
from perpcs.personalizers.methods import Prepared
from perpcs.serve.answer import marks_of
from perpcs.serve.engine import Engine
from perpcs.tasks import Query, get_task

METHODS = ("base", "perpcs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pool", default=str(DEFAULT_POOL))
    parser.add_argument("--out", type=Path, default=QUALITY / "answers.json")
    options = parser.parse_args()
    engine = Engine.open(pool_folder(options.pool))
    inputs = json.loads((Path(__file__).parent / "inputs.json").read_text())
    rows = [row for task, texts in inputs.items() for row in answered(engine, task, texts)]
    counts = {
        method: {
            "answers": len(rows),
            "bad": sum(bool(row[method]["mark"]) for row in rows),
            **{
                mark: sum(row[method]["mark"] == mark for row in rows)
                for mark in ("loops", "empty", "contains a non-word")
            },
        }
        for method in METHODS
    }
    result = about("answers", engine.pool, {"methods": list(METHODS)}, ("torch", "transformers"))
    write_result(options.out, {**result, "counts": counts, "rows": rows})
    print(json.dumps(counts, indent=1))


def answered(engine: Engine, name: str, texts: list[str]) -> list[dict[str, object]]:
    """Every input with the answers of all methods for one example person."""
    task, people = get_task(name), engine.pool.examples(name)
    rows: list[dict[str, object]] = []
    ready: dict[tuple[int, str], Prepared] = {}
    for number, text in enumerate(texts):
        at = number % len(people)
        person, query = people[at], Query(x=text)
        for method in METHODS:
            if (at, method) not in ready:
                ready[at, method] = engine.prepare(task, method, person.history, user=person.id)
        *_, last = engine.answer_rows(task, [(ready[at, method], query) for method in METHODS])
        row: dict[str, object] = {"task": name, "person": person.id, "input": text}
        for answer in last:
            mark = "" if task.labels else marks_of(answer.text, [text]).label
            row[answer.method] = {"answer": answer.text, "mark": mark}
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
