"""How often a written answer holds a word that is none: a small model copies a name wrongly, or makes one up.

A word counts as none when nobody in the town writes it: not those whom the base model learned from, nor this person in
their history or in what they are asked about. Capitals aside, answers are counted by their casing, because a word in
capitals is other tokens than the same word in small letters.

    python -m benchmarks.words        reads results/evaluate_TASK.json, writes results/words.json
"""

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, commit, print_table, write_result
from perpcs.data.smalltown import Person, make_people
from perpcs.pool.lessons import base_people
from perpcs.pool.recipe import SMALLTOWN

TASKS = ("LaMP_4", "LaMP_5", "LaMP_7")
METHODS = ("base", "rag:4", "pag", "perpcs:gate", "perpcs:fit", "oppu")
CASINGS = ("capitals", "small", "mixed")
_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> set[str]:
    """The words of a text in small letters."""
    return set(_WORD.findall(text.lower()))


def casing_of(text: str) -> str:
    """How a text is written: a name or a signature in it may differ."""
    letters = [c for c in text if c.isalpha()]
    capitals = sum(c.isupper() for c in letters)
    return "capitals" if capitals > 0.8 * len(letters) else "small" if capitals < 0.02 * len(letters) else "mixed"


def written(people: Iterable[Person]) -> set[str]:
    """Every word that people read or wrote."""
    found: set[str] = set()
    for person in people:
        for item in person.history:
            found |= words(f"{item.x} {item.y or ''}")
        for query in person.queries:
            found |= words(f"{query.x} {query.gold or ''}")
    return found


def count(result: dict[str, Any], people: dict[str, Person], known: set[str]) -> dict[str, dict[str, dict[str, int]]]:
    """By method and casing, how many answers there are and how many hold a word that is none.

    Args:
        result: an evaluation with the answers it kept.
        people: who was evaluated, by id.
        known: words of everybody.
    """
    own = {id: written([person]) for id, person in people.items()}
    found: dict[str, dict[str, dict[str, int]]] = {}
    for method in METHODS:
        rows = found[method] = {casing: {"answers": 0, "with_none": 0} for casing in CASINGS}
        for user in result["examples"][method]:
            for query in user["queries"]:
                row = rows[casing_of(query["answer"])]
                row["answers"] += 1
                row["with_none"] += bool(words(query["answer"]) - known - own[user["user"]])
    return found


def measure(task: str, results: Path) -> dict[str, Any]:
    """Counts of one task, with the pool and the seed they are of."""
    result = json.loads((results / f"evaluate_{task}.json").read_text())
    users = {user["user"] for user in result["examples"]["base"]}
    seed = int(re.match(r"t(\d+)-", min(users))[1])  # type: ignore[index]
    targets = make_people(task, seed=seed, count=len(users), split="target")
    people = {person.id: person for person in targets}
    if people.keys() != users:
        raise SystemExit(f"The people of evaluate_{task}.json are not those that seed {seed} draws.")
    (part,) = [part for part in SMALLTOWN.tasks if part.task == task]
    known = written(base_people(SMALLTOWN, part)) | written(base_people(SMALLTOWN, part, late=True))
    counts = count(result, people, known)
    return {"pool_hash": result["pool_hash"], "people": len(users), "methods": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of evaluate_TASK.json")
    parser.add_argument("--out", type=Path, default=RESULTS / "words.json")
    arguments = parser.parse_args()
    tasks = {task: measure(task, arguments.results) for task in TASKS}
    rows: list[tuple[str, ...]] = [("task", "method", *CASINGS)]
    for task, found in tasks.items():
        for method, counts in found["methods"].items():
            shown = (f"{counts[casing]['with_none']} of {counts[casing]['answers']}" for casing in CASINGS)
            rows.append((task, method, *shown))
    print_table(rows)
    write_result(arguments.out, {"benchmark": "words", "commit": commit(), "tasks": tasks})


if __name__ == "__main__":
    main()
