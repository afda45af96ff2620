"""What shown items could tell at most: a reader who knows the town, but not the person.

It reads every text without an error, knows how people are drawn and how often they slip, weighs a few thousand drawn
people by how well their answers to the shown items fit, and answers as these would. Beside it stands who knows the
traits. What retrieval could do for a base model on tasks of labels is the difference, in nats an answer.

    python -m benchmarks.ideal_reader        writes results/ideal_reader.json
"""

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, commit, print_table, write_result
from perpcs.data.bm25 import retrieve
from perpcs.data.smalltown import MAKERS, Person, citations, make_people, movies, ratings
from perpcs.data.smalltown.maker import NOISE, Traits
from perpcs.data.smalltown.products import LEVELS
from perpcs.tasks import Task, get_task
from perpcs.tasks.lamp import MOVIE_TAGS

SHOWN = (0, 1, 4, 1000)
"""How many retrieved items are shown; the last is the whole history."""
_DRAWN = 3000
_TINY = 1e-9


def tag_chances(drawn: Sequence[Traits], noted: dict[str, Any]) -> Callable[[str], np.ndarray]:
    """Chance of every tag for each drawn fan, (people, 15): the first that fits, but for slips among the others."""
    place = np.array([[movies.taste(traits).index(tag) for tag in MOVIE_TAGS] for traits in drawn])

    def chances(id: str) -> np.ndarray:
        fits = [MOVIE_TAGS.index(tag) for tag in dict(noted[id])[""].split(", ")]
        found = np.full((len(drawn), len(MOVIE_TAGS)), _TINY)
        found[:, fits] = NOISE / (len(fits) - 1)
        found[np.arange(len(drawn)), np.array(fits)[place[:, fits].argmin(1)]] = 1 - NOISE
        return found

    return chances


def score_chances(drawn: Sequence[Traits], noted: dict[str, Any]) -> Callable[[str], np.ndarray]:
    """Chance of every score for each drawn customer, (people, 5)."""

    def chances(id: str) -> np.ndarray:
        said = (part.split(" ", 1) for part in dict(noted[id])[""].split(", "))
        levels = {aspect: LEVELS[name] for aspect, name in said}
        found = np.full((len(drawn), 5), _TINY)
        for row, traits in enumerate(drawn):
            clean = ratings.score(levels, traits)
            near = [points for points in range(1, 6) if 0 < abs(points - clean) <= 2]
            found[row, [points - 1 for points in near]] = NOISE / len(near)
            found[row, clean - 1] = 1 - NOISE
        return found

    return chances


def choice_chances(
    drawn: Sequence[Traits], noted: dict[str, Any], options: dict[str, Any]
) -> Callable[[str], np.ndarray]:
    """Chance of either option for each drawn researcher, (people, 2)."""
    orders = [citations.taste(traits) for traits in drawn]
    place = np.array([[order.index(kind) for kind in citations.KINDS] for order in orders])

    def rank(said: str) -> np.ndarray:
        kind = said.removesuffix(citations.ELSEWHERE)
        fits = kind == said
        return place[:, citations.KINDS.index(kind)] if fits else np.full(len(drawn), len(citations.KINDS))

    def chances(id: str) -> np.ndarray:
        one, two = (rank(dict(noted[id])[text]) for text in options[id])
        first = np.where(one < two, 1 - NOISE, NOISE)
        return np.stack([first, 1 - first], axis=1)

    return chances


def measure(task: Task, persons: Sequence[Person]) -> dict[str, Any]:
    """Nats an answer and accuracy, by how many items are shown, and of who knows the traits."""
    rng = random.Random(0)
    drawn = [MAKERS[task.name].draw(rng) for _ in range(_DRAWN)]
    noted = {id: note for person in persons for id, note in person.notes.items()}
    options = {one.id: task.as_query(one).options for person in persons for one in person.history}
    options |= {query.id: query.options for person in persons for query in person.queries}
    makers: dict[str, Callable[[Sequence[Traits]], Callable[[str], np.ndarray]]] = {
        "LaMP_2": lambda people: tag_chances(people, noted),
        "LaMP_3": lambda people: score_chances(people, noted),
        "LaMP_1": lambda people: choice_chances(people, noted, options),
    }
    if task.name == "LaMP_3":  # few combinations: all of them, once
        drawn = list({MAKERS[task.name].combination(traits): traits for traits in drawn}.values())
    everybody = makers[task.name](drawn)
    rows: dict[str, list[tuple[float, bool]]] = {}
    for person in persons:
        themselves = makers[task.name]([person.traits])
        fit = {
            item.id: np.log(everybody(item.id)[:, task.labels.index(task.as_query(item).gold or "")])
            for item in person.history
        }
        for query in person.queries:
            gold, asked = task.labels.index(query.gold or ""), everybody(query.id)
            nearest = retrieve(query.sought, person.history, len(person.history))
            for k in SHOWN:
                likely = sum((fit[item.id] for item in nearest[:k]), np.zeros(len(drawn)))
                weight = np.exp(likely - likely.max())
                told = weight / weight.sum() @ asked
                rows.setdefault(str(k), []).append((-float(np.log(told[gold])), bool(told.argmax() == gold)))
            known = themselves(query.id)[0]
            rows.setdefault("traits", []).append((-float(np.log(known[gold])), bool(known.argmax() == gold)))
    return {
        name: {"nats_an_answer": round(float(nats), 4), "accuracy": round(float(right), 4)}
        for name, (nats, right) in ((name, np.mean(values, axis=0)) for name, values in rows.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What shown items could tell at most.")
    parser.add_argument("--people", type=int, default=200, help="people a task (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "ideal_reader.json")
    asked = parser.parse_args()
    found = {}
    for name in ("LaMP_2", "LaMP_3", "LaMP_1"):
        found[name] = measure(get_task(name), make_people(name, seed=99, count=asked.people, split="base", queries=3))
    names = {**{str(k): f"{k} items" for k in SHOWN}, str(SHOWN[-1]): "all items", "traits": "the traits"}
    rows = [
        [names[key], *(f"{found[t][key]['nats_an_answer']:.3f}, {found[t][key]['accuracy']:.2f}" for t in found)]
        for key in names
    ]
    print_table([["shown (nats an answer, right)", *(get_task(name).title.lower() for name in found)], *rows])
    write_result(asked.out, {"benchmark": "ideal_reader", "commit": commit(), "people": asked.people, "tasks": found})


if __name__ == "__main__":
    main()
