"""Which routing options measure best: negative log-likelihood of people's own next answers, with the controls beside.

Measured on validation people of the small town: drawn like sharer candidates, but none of them is one (their ids lie
after the pool's candidates), and none is a target or example user. So the defaults are not chosen on people that
results are shown on.

    python -m benchmarks.routing --pool smalltown        writes results/routing.json
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from perpcs.assembly.assemble import assemble
from perpcs.assembly.options import PRESETS, RouterOptions
from perpcs.assembly.record import Assembly
from perpcs.cli import POOLS, pool_folder
from perpcs.data.smalltown import Person, make_people
from perpcs.evaluate.intervals import summary
from perpcs.files import write_json
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter
from perpcs.model.likelihood import target_nll
from perpcs.model.text import Encoded, encode_pair
from perpcs.personalizers.heldout import held_out_loss
from perpcs.pool.adapt import prompt_about
from perpcs.pool.build import versions
from perpcs.pool.store import Pool
from perpcs.tasks import Task, get_task

QUERIES = 12
_CONTROL = "fit, from 0 up"
"""Whose weights the next person gets."""


def grid() -> dict[str, RouterOptions]:
    """The options that are compared, by name."""
    options = dict(PRESETS)
    gate, prototype = RouterOptions(router="gate"), RouterOptions(router="prototype")
    for name, own in (("gate", gate), ("gate, trained", replace(gate, gates="trained")), ("prototype", prototype)):
        options[name] = own
        options[f"{name}, not standardised"] = replace(own, standardise=False)
        options[f"{name}, not centred either"] = replace(own, standardise=False, centre=False)
        options[f"{name}, mean of token scores"] = replace(own, reduce="mean")
        options[f"{name}, layer norm"] = replace(own, normalise="layernorm", temperature=1.0)
    for k in (1, 8):
        options[f"gate, k = {k}"] = replace(gate, k=k)
    options["gate, without attention"] = replace(gate, attention=False)
    options["gate, top-p 0.9"] = replace(gate, selector="top_p")
    options["gate, 3 sampled"] = replace(gate, selector="sample")
    options["gate, half of the pieces"] = replace(gate, share_ratio=0.5)
    options["gate, half-life 10"] = replace(gate, half_life=10)
    options["arrow"] = RouterOptions(router="arrow")
    for k in (1, 3, 8):
        options[f"gradient, k = {k}"] = RouterOptions(router="gradient", k=k)
    up = RouterOptions(router="fit", signed="never")
    below = RouterOptions(router="fit", signed="always", least=0.0)
    options["fit, from 0 up"], options["fit, below 0 always, least 0"] = up, below
    for steps, rate in ((10, 0.1), (10, 0.2), (20, 0.05), (40, 0.1)):
        options[f"fit, from 0 up, {steps} steps, rate {rate:g}"] = replace(up, steps=steps, rate=rate)
    for shrink in (0.0, 1.0, 10.0, 30.0):
        options[f"fit, from 0 up, shrinkage {shrink:g}"] = replace(up, shrink=shrink)
    for shrink in (1.0, 10.0):
        options[f"fit, below 0 always, least 0, shrinkage {shrink:g}"] = replace(below, shrink=shrink)
    options["fit+own, from 0 up"] = replace(up, router="fit+own")
    options["fit+own, below 0 always, least 0"] = replace(below, router="fit+own")
    options["control: 3 random pieces"] = RouterOptions(router="random")
    options["control: all pieces, uniform"] = RouterOptions(router="uniform")
    return options


def validation_people(task: str, pool: Pool, count: int) -> list[Person]:
    """People after the pool's candidates, with more queries than candidates have."""
    candidates = pool.task(task).candidates
    seed = pool.manifest.users["town_seed"]
    everyone = make_people(task, seed=seed, count=candidates + count, split="candidate", queries=QUERIES)
    return everyone[candidates:]


@torch.no_grad()
def mean_nll(base: BaseModel, encoded: Sequence[Encoded], adapter: Adapter | None = None) -> float:
    """Nats per target token."""
    nll, counts = target_nll(base, encoded, adapter)
    return float(nll.sum() / counts.sum())


def encode_queries(base: BaseModel, task: Task, person: Person, with_history: bool = False) -> list[Encoded]:
    """A person's queries with their own answers as targets."""
    encoded = []
    for query in person.queries:
        prompt = prompt_about(task, query, person.history, int(with_history))
        encoded.append(encode_pair(base.tokenizer, prompt, f" {query.gold}", base.max_tokens))
    return encoded


def measure(base: BaseModel, pool: Pool, task: Task, persons: Sequence[Person]) -> dict[str, list[float]]:
    """Nats per target token of every method, one number a person."""
    rows: dict[str, list[float]] = {}
    assembled: list[Assembly] = []
    for person in persons:
        rows.setdefault("base", []).append(mean_nll(base, encode_queries(base, task, person)))
        rows.setdefault("rag", []).append(mean_nll(base, encode_queries(base, task, person, with_history=True)))
        for name, options in grid().items():
            found = assemble(base, pool, task, person.history, options=options)
            rows.setdefault(name, []).append(held_out_loss(base, pool, found, person.queries) or math.nan)
            if name == _CONTROL:
                assembled.append(found)
    name = f"control: {_CONTROL}, of the next person"
    for person, other in zip(persons, [*assembled[1:], assembled[0]], strict=True):
        rows.setdefault(name, []).append(held_out_loss(base, pool, other, person.queries) or math.nan)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", default="smalltown")
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--task", action="append", help="only this task; may be given again")
    parser.add_argument("--out", type=Path, default=POOLS.parents[1] / "results" / "routing.json")
    arguments = parser.parse_args()
    pool = Pool(pool_folder(arguments.pool))
    base = pool.base("cpu")
    result: dict[str, Any] = {
        "measure": "nats per target token of held-out answers, mean over people, 95 % bootstrap over people",
        "pool": pool.manifest.name,
        "pool_hash": pool.hash,
        "people": arguments.people,
        "queries": QUERIES,
        "versions": versions(),
        "options": {name: asdict(options) for name, options in grid().items()},
        "tasks": {},
    }
    for part in pool.manifest.tasks:
        if arguments.task and part.task not in arguments.task:
            continue
        persons = validation_people(part.task, pool, arguments.people)
        rows = measure(base, pool, get_task(part.task), persons)
        result["tasks"][part.task] = {name: summary(values) for name, values in rows.items()}
        print(f"\n{part.task}: nats per target token, {arguments.people} people x {QUERIES} queries")
        for name, numbers in sorted(result["tasks"][part.task].items(), key=lambda entry: entry[1]["mean"]):
            print(f"  {numbers['mean']:.3f}  ({numbers['low']:.3f} to {numbers['high']:.3f})  {name}")
    write_json(arguments.out, result)
    print(json.dumps({"written": str(arguments.out)}))


if __name__ == "__main__":
    main()
