"""How strongly pieces should be trained: a LoRA for each of some validation people, by several recipes.

What serves a sharer serves OPPU, which is trained by the same code. Measured on the answers that follow each person's
history, on validation people as in benchmarks/routing.py. The last recipe rounds the first one's pieces to half
precision: what storing them so costs.

    python -m benchmarks.pieces --pool smalltown        writes results/pieces.json
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.common import DEFAULT_POOL, RESULTS, about, print_table, write_result
from benchmarks.routing import encode_queries, mean_nll, validation_people
from perpcs.data.smalltown import Person
from perpcs.evaluate.intervals import paired, summary
from perpcs.model.base import BaseModel
from perpcs.model.basis import fixed, own_updates
from perpcs.personalizers.oppu import whole_loras
from perpcs.pool.build import encode_histories
from perpcs.pool.store import Pool
from perpcs.pool.train import PieceSettings, TrainedPieces, train_pieces
from perpcs.tasks import Task, get_task


def recipes() -> dict[str, PieceSettings]:
    """The recipes that are compared; the first is the default."""
    usual = PieceSettings()
    return {
        "default": usual,
        "half the rate": replace(usual, rate=usual.rate / 2),
        "twice the rate": replace(usual, rate=usual.rate * 2),
        "half the epochs": replace(usual, epochs=max(1, usual.epochs // 2)),
        "twice the epochs": replace(usual, epochs=usual.epochs * 2),
        "rank 8": replace(usual, rank=8, alpha=16.0),
    }


def measure(base: BaseModel, task: Task, persons: Sequence[Person]) -> dict[str, list[float]]:
    """Nats per target token of every recipe, one number a person."""
    histories = encode_histories(base, task, [person.user for person in persons])
    queries = [encode_queries(base, task, person) for person in persons]
    rows = {"base": [mean_nll(base, own) for own in queries]}

    def add(name: str, trained: TrainedPieces, settings: PieceSettings) -> None:
        rows[name] = [
            mean_nll(base, own, fixed(own_updates([lora] * len(own), base.device, base.dtype)))
            for lora, own in zip(whole_loras(trained, settings), queries, strict=True)
        ]

    for name, settings in recipes().items():
        trained = train_pieces(base, histories, [person.id for person in persons], settings)
        add(name, trained, settings)
        if name == "default":
            half = TrainedPieces([a.half().float() for a in trained.A], [b.half().float() for b in trained.B], [])
            add("default, stored in half precision", half, settings)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, default=DEFAULT_POOL)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--task", action="append", help="only this task; may be given again")
    parser.add_argument("--out", type=Path, default=RESULTS / "pieces.json")
    arguments = parser.parse_args()
    pool = Pool(arguments.pool)
    base = pool.base("cpu")
    tasks: dict[str, Any] = {}
    for part in pool.manifest.tasks:
        if arguments.task and part.task not in arguments.task:
            continue
        rows = measure(base, get_task(part.task), validation_people(part.task, pool, arguments.people))
        tasks[part.task] = {
            name: summary(values) | {"minus_default": paired(values, rows["default"])} for name, values in rows.items()
        }
        print(f"\n{part.task}: nats per target token, {arguments.people} people")
        print_table([(name, f"{row['mean']:.4f}") for name, row in tasks[part.task].items()])
    settings = {name: asdict(recipe) for name, recipe in recipes().items()}
    head = about("pieces", pool, {"people": arguments.people, "recipes": settings}, ("torch", "transformers"))
    write_result(arguments.out, {**head, "measure": "nats per target token of held-out answers", "tasks": tasks})


if __name__ == "__main__":
    main()
