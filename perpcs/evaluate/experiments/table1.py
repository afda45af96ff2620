"""Methods x tasks on held-out people, with intervals and controls: the main table of the Results page.

A stored ``evaluate_TASK.json`` that was made with this very pool is taken as it is; otherwise the task is evaluated now
and stored. Texts are kept for made-up people only, a few queries a person, so that a number can be looked into.

Is the town well made? The base model must be surely worse than what knows the person, and a stranger's LoRA no help.

Likelihoods only, so that many people can be asked: intervals over people, each method's own, either overlap or do not.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import Experiment, Setting, last_change, stamp, unfinished
from perpcs.evaluate.metrics import paired, score_person, summary
from perpcs.evaluate.protocol import evaluate, person_nll, prepare
from perpcs.files import write_json
from perpcs.personalizers.methods import parse
from perpcs.pool.manifest import read_json
from perpcs.tasks import Task, User, get_task

# ---- methods x tasks -------------------------------------------------------------------------------------------------


METHODS = (
    *("base", "rag", "rag:4", "pag", "retrieval", "uniform"),
    *("perpcs", "perpcs:paper", "perpcs:gate", "wrong:perpcs"),
    *("p2p", "oppu", "wrong:oppu"),
)
CONTROLS = ("wrong:", "uniform", "random")
"""Prefixes of controls, which no one would use: they put numbers into perspective and never win."""
SHUFFLED = ":shuffled"
"""Suffix of a method that was given somebody else's profile: a control too."""
LOWER = ("nll", "mae")
"""Measures for which lower is better."""
STYLE = "style"
"""The share of style traits that an answer has in common with the person (``perpcs.tasks.task``); texts only."""
EXAMPLES = 3
"""Queries per person whose texts are stored."""


def run(setting: Setting) -> dict[str, Any]:
    """{tasks: {task: the table's column, with examples}, methods: all names in the order of the table}."""
    columns = {name: _column(setting, get_task(name)) for name in setting.tasks}
    named = [name for column in columns.values() for name in column["methods"]]
    order = {name: index for index, name in enumerate(METHODS)}
    methods = sorted(dict.fromkeys(named), key=lambda name: order.get(name, len(order)))
    return {
        "methods": methods,
        "controls": [name for name in methods if is_control(name)],
        "units": {"nll": "nats per target token", "prepare_seconds": "seconds a person", "bytes": "bytes a person"},
        "settings": {"people": setting.people, "seed": setting.seed, "decoding": "greedy"},
        "tasks": columns,
    }


def is_control(method: str) -> bool:
    """Whether a method is a control."""
    return method.startswith(CONTROLS) or method.endswith(SHUFFLED)


def _column(setting: Setting, task: Task) -> dict[str, Any]:
    path = setting.results / f"evaluate_{task.name}.json"
    made_up = setting.town and setting.users is None
    stored = None if setting.again else _stored(path, setting.pool.hash, task)
    users, oracle = setting.people_of(task.name) if stored is None or made_up else ([], {})
    if stored is None:
        methods = [name for name in METHODS if not name.startswith("retrieval") or setting.pool.task(task.name).encoder]
        stored = evaluate(
            setting.base,
            setting.pool,
            task,
            users,
            methods,
            oracle=oracle or None,
            with_texts=made_up,
            before=read_json(unfinished(path)) if unfinished(path).exists() else None,
            on_method=lambda so_far: write_json(unfinished(path), so_far),
            say=lambda line: setting.say(f"{task.name}: {line}"),
        )
        stored = {**stored, **stamp()}
        write_json(path, stored)
        unfinished(path).unlink(missing_ok=True)
    else:
        setting.say(f"{task.name}: taken from {path}")
        stored = {**last_change(path), **stored}
    return column(stored, task, path.name, users if made_up else ())


def _stored(path: Path, pool_hash: str, task: Task) -> dict[str, Any] | None:
    """The stored evaluation, if it has this pool and this version of the task."""
    try:
        found = json.loads(path.read_bytes())
        fits = found["pool_hash"] == pool_hash and found["task"] == task.name and found["task_version"] == task.version
        return found if fits and found["methods"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def column(stored: Mapping[str, Any], task: Task, file: str, users: Sequence[User] = ()) -> dict[str, Any]:
    """One task's column from a result of ``evaluate``.

    Args:
        users: the people, where their texts may be shown; else no examples are kept.
    """
    values = {name: person_values(task, stored["examples"][name]) for name in stored["methods"]}
    cells = {
        name: {
            "measures": {key: row[key] for key in (task.metric, "nll", STYLE) if key in row},
            "minus_base": row.get("nll_minus_base"),
            "bytes": row["bytes"],
            "prepare_seconds": row["prepare_seconds"],
        }
        for name, row in stored["methods"].items()
    }
    best = {measure: best_of(cells, values, measure) for measure in (task.metric, "nll", STYLE)}
    return {
        "metric": task.metric,
        "users": stored["users"],
        "queries": stored["queries"],
        "date": stored.get("date"),
        "commit": stored.get("commit"),
        "file": file,
        "methods": cells,
        "references": {
            name: {"measures": {task.metric: row[task.metric]}} for name, row in stored.get("references", {}).items()
        },
        "best": {measure: name for measure, name in best.items() if name},
        "examples": _examples(task, stored["examples"], users),
    }


def person_values(task: Task, people: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Every person's measures from the stored rows: likelihood always, the metric if answers were
    kept and everybody has one.
    """
    found: dict[str, list[float]] = {"nll": []}
    metric: list[float] = []
    for person in people:
        rows = person["queries"]
        tokens = sum(row["tokens"] for row in rows)
        found["nll"].append(sum(row["nll"] * row["tokens"] for row in rows) / tokens)
        if all("answer" in row and "gold" in row for row in rows):
            scores = score_person(task, [row["answer"] for row in rows], [row["gold"] for row in rows])
            metric += [scores[task.metric]] if task.metric in scores else []
    return {**found, task.metric: metric} if len(metric) == len(people) else found


def best_of(
    cells: Mapping[str, Mapping[str, Any]], values: Mapping[str, Mapping[str, Sequence[float]]], measure: str
) -> str:
    """The method that is ahead of every other by an interval that excludes 0; empty if there is none.

    Differences are paired, person by person, where the people's own values are known; else two intervals that touch
    count as no difference. Controls take no part.
    """
    there = {
        name: cell["measures"][measure]
        for name, cell in cells.items()
        if measure in cell["measures"] and not is_control(name)
    }
    if len(there) < 2:
        return ""
    sign = 1.0 if measure in LOWER else -1.0
    first = min(there, key=lambda name: sign * there[name]["mean"])
    for other in there:
        if other == first:
            continue
        ours, theirs = (values.get(name, {}).get(measure) for name in (first, other))
        if ours and theirs and len(ours) == len(theirs):
            apart = paired([sign * one for one in ours], [sign * one for one in theirs])["high"] < 0
        else:
            better, worse = there[first], there[other]
            apart = better["high"] < worse["low"] if sign > 0 else better["low"] > worse["high"]
        if not apart:
            return ""
    return first


def _examples(
    task: Task, stored: Mapping[str, Sequence[Mapping[str, Any]]], users: Sequence[User]
) -> dict[str, Any] | None:
    """The first queries of every person with what each method answered; None where no texts may be kept, or where the
    people are not those who were evaluated: a town that has changed since makes others of the same names.

    {people: [{user, history, queries: [{id, input, options, gold}]}], answers: {method: [[answer, metric, nll]]}}, the
    answers in the order of the people's queries; an answer that was not kept is None.
    """
    known = {user.id: user for user in users}
    first = next(iter(stored.values()), ())
    if not first or not all(_same(known.get(person["user"]), person) for person in first):
        return None
    people = []
    for person in first:
        user = known[person["user"]]
        asked = {query.id: query for query in user.queries}
        rows = [asked[row["id"]] for row in person["queries"][:EXAMPLES]]
        queries = [
            {"id": query.id, "input": query.x, "options": list(query.options), "gold": query.gold} for query in rows
        ]
        people.append({"user": user.id, "history": len(user.history), "queries": queries})
    answers = {
        method: [
            _answer(task, row, known[person["user"]]) for person in persons for row in person["queries"][:EXAMPLES]
        ]
        for method, persons in stored.items()
    }
    return {"people": people, "answers": answers}


def _same(user: User | None, person: Mapping[str, Any]) -> bool:
    """Whether the stored rows agree with this person."""
    if user is None or len(user.history) != person["history"]:
        return False
    golds = {query.id: query.gold for query in user.queries}
    return all(row["id"] in golds and row.get("gold") in (None, golds[row["id"]]) for row in person["queries"])


def _answer(task: Task, row: Mapping[str, Any], user: User) -> list[Any]:
    said = row.get("answer")
    gold = next((query.gold for query in user.queries if query.id == row["id"]), None)
    score = None if said is None or gold is None else score_person(task, [said], [gold]).get(task.metric)
    return [said, None if score is None else round(score, 4), round(row["nll"], 4)]


EXPERIMENT = Experiment("Which method answers best on which task, and how sure is that?", run)


# ---- separation ------------------------------------------------------------------------------------------------------


SEPARATION_METHODS = ("base", "rag", "rag:4", "perpcs:gate", "oppu", "wrong:oppu")
MUST = ("rag:4", "oppu")
"""Methods that should be apart from the base model. RAG shows four items, because one item says little of a label."""


def run_separation(setting: Setting) -> dict[str, Any]:
    """{tasks: {task: {users, methods: {name: {nll, minus_base}}, apart, stranger}}}. ``apart``: the methods whose
    whole interval lies below the base model's; ``stranger``: whether somebody else's LoRA is no better than none.
    """
    return {
        "units": {"nll": "nats per target token", "minus_base": "nats per target token, paired person by person"},
        "settings": {"people": setting.people, "seed": setting.seed},
        "tasks": {name: _separation_column(setting, name) for name in setting.tasks},
    }


def _separation_column(setting: Setting, name: str) -> dict[str, Any]:
    task = get_task(name)
    users = [user for user in setting.people_of(name)[0] if user.history and any(q.gold for q in user.queries)]
    if len(users) < 2:
        raise PerpcsError("Fewer than two people have a history and queries.", "Give more people.")
    ready: dict[str, Any] = {}
    found: dict[str, list[float]] = {}
    for method in SEPARATION_METHODS:
        plain = parse(method).plain

        def measure(method: str = method, plain: str = plain) -> list[float]:
            if plain not in ready:
                setting.say(f"{name}: preparing {plain} for {len(users)} people")
                ready[plain] = prepare(setting.base, setting.pool, task, users, plain)
            return person_nll(setting.base, setting.pool, task, users, ready[plain], int(plain != method))

        found[method] = setting.kept(f"{name}, {method}", measure)
    rows = {
        method: {"nll": summary(values), "minus_base": paired(values, found["base"])}
        for method, values in found.items()
    }
    lowest = rows["base"]["nll"]["low"]
    return {
        "users": len(users),
        "methods": rows,
        "apart": {method: rows[method]["nll"]["high"] < lowest for method in MUST},
        "stranger": rows["wrong:oppu"]["minus_base"]["mean"] >= 0,
    }


SEPARATION = Experiment(
    "Are the methods that know a person surely ahead of the base model, and a stranger's not?", run_separation
)
