"""Evaluate methods on held-out people: greedy answers, likelihoods, seconds and controls, in one JSON file.

Each method prepares each person from their history, then answers their newer queries. The control ``wrong:METHOD``
gives every person what was prepared for the next one: a method that personalises must do worse.

Methods are those of ``perpcs.personalizers.methods``, which the app and the command line also use. Random history draws
from the other people of the file.

Two references need no model: each person's most frequent answer so far, and an oracle, if the traits of a synthetic
town are given. The oracle errs only where the people themselves do.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perpcs import __version__
from perpcs.assembly.descent import own_piece
from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import PRESETS, flat_options, same_routing
from perpcs.data.prompts import statistics
from perpcs.errors import PerpcsError
from perpcs.evaluate.checkpoint import Checkpoints
from perpcs.evaluate.metrics import paired, score_person, summary
from perpcs.model.base import BaseModel
from perpcs.model.basis import Updates, fixed, own_updates, together
from perpcs.model.decode import WordCheck, decode, text_of
from perpcs.model.likelihood import encode_pair, encode_prompt, label_likelihoods, label_tokens, target_nll
from perpcs.personalizers import methods as registry
from perpcs.personalizers.methods import Person, Prepared, Setting, Writer
from perpcs.pool.build import versions
from perpcs.pool.manifest import mapping
from perpcs.pool.store import Pool
from perpcs.serve.answer import word_check
from perpcs.serve.queue import row_updates
from perpcs.tasks import Query, Task, User, get_task

# ---- one assembled person --------------------------------------------------------------------------------------------


@torch.no_grad()
def held_out_loss(base: BaseModel, pool: Pool, assembly: Assembly, queries: Sequence[Query]) -> float | None:
    """Nats per target token of the person's own answers to later queries; None if no answer is known."""
    task = get_task(assembly.task)
    pairs = [
        encode_pair(base.tokenizer, task.prompt(query), f" {query.gold}", base.max_tokens)
        for query in queries
        if query.gold
    ]
    if not pairs:
        return None
    pieces = pool.pieces(task.name, base.device, base.dtype).pieces
    weights = torch.from_numpy(assembly.weights).to(base.device, base.dtype).expand(len(pairs), -1, -1)
    shared: list[Updates] = [pieces.shared(p, weights[:, p]) for p in range(len(pieces))]
    own = own_updates([own_piece(assembly.own, base.positions)] * len(pairs), base.device, base.dtype)
    nll, counts = target_nll(base, pairs, fixed(together(shared, own)))
    return float(nll.sum()) / float(counts.sum())


# ---- methods x people ------------------------------------------------------------------------------------------------


Say = Callable[[str], None]
_CONTROLS = ("uniform", "random", "random-history")
"""Controls, besides ``wrong:METHOD``, that are scored by likelihood and write no text."""
_GIVE_GOLD = "Give every query its `gold`, or the outputs file."
_ROWS = 24
"""Queries answered in one batch."""


def prepare(
    base: BaseModel,
    pool: Pool,
    task: Task,
    users: Sequence[User],
    method: str,
    writer: Writer = statistics,
    kept: Checkpoints | None = None,
) -> list[Prepared]:
    """Prepare all people for a method.

    Args:
        kept: where the people of slow methods are kept.

    Raises:
        PerpcsError: for an unknown method, or if an input is missing.
    """
    setting = Setting(base, pool, task, [(user.id, user.history) for user in users], writer)
    return (kept.prepare if kept else registry.prepare)(setting, [Person(u.id, u.history) for u in users], method)


@torch.no_grad()
def answer_all(
    base: BaseModel,
    pool: Pool,
    task: Task,
    users: Sequence[User],
    prepared: Sequence[Prepared],
    shift: int = 0,
    written: bool = True,
) -> list[list[dict[str, Any]]]:
    """Answer every query: per person a list of {id, answer, nll, tokens, labels}.

    Texts are decoded greedily; of labels, the most likely one is the answer.

    Args:
        shift: person i uses what was prepared for person i + shift; 1 gives the control ``wrong:``.
        written: whether to decode texts; likelihoods are always computed.
    """
    pieces = pool.pieces(task.name, base.device, base.dtype).pieces
    asked = [(u, q) for u, user in enumerate(users) for q in range(len(user.queries))]
    out: list[list[dict[str, Any]]] = [[{} for _ in user.queries] for user in users]
    for at in range(0, len(asked), _ROWS):
        part = asked[at : at + _ROWS]
        rows = [prepared[(u + shift) % len(users)] for u, _ in part]
        prompts = [row.prompt(users[u].queries[q]).text for row, (u, q) in zip(rows, part, strict=True)]
        golds = [users[u].queries[q].gold or "" for u, q in part]
        updates = row_updates(base, pieces, rows)
        if task.labels and all(gold in task.labels for gold in golds):
            answers = _label_batch(base, task, prompts, golds, updates)
        else:
            checks = [word_check(users[u].queries[q].x, [prompt]) for prompt, (u, q) in zip(prompts, part, strict=True)]
            answers = _answer_batch(base, prompts, golds, updates, task.max_new_tokens, checks if written else None)
        for (u, q), row in zip(part, answers, strict=True):
            out[u][q] = {"id": users[u].queries[q].id, **row}
    return out


def _answer_batch(
    base: BaseModel,
    prompts: Sequence[str],
    golds: Sequence[str],
    updates: Sequence[Updates],
    room: int,
    checks: Sequence[WordCheck | None] | None,
) -> list[dict[str, Any]]:
    """Likelihoods and greedy texts; likelihoods only if ``checks`` is None."""
    targets = [
        encode_pair(base.tokenizer, prompt, f" {gold}", base.max_tokens)
        for prompt, gold in zip(prompts, golds, strict=True)
    ]
    nll, counts = target_nll(base, targets, fixed(updates))
    rows: list[dict[str, Any]] = [
        {"nll": float(total) / float(count), "tokens": int(count)} for total, count in zip(nll, counts, strict=True)
    ]
    if checks is None:
        return rows
    ids = [encode_prompt(base.tokenizer, prompt, base.max_tokens, room) for prompt in prompts]
    *_, last = decode(base, ids, fixed(updates), max_new_tokens=room, one_line=True, checks=checks)
    for row, new in zip(rows, last, strict=True):
        row["answer"] = text_of(base, new)
    return rows


def _label_batch(
    base: BaseModel, task: Task, prompts: Sequence[str], golds: Sequence[str], updates: Sequence[Updates]
) -> list[dict[str, Any]]:
    """The most likely label of each prompt; the prompt is read once for all labels."""
    lengths = dict(zip(task.labels, map(len, label_tokens(base, task.labels)), strict=True))
    found = label_likelihoods(base, prompts, task.labels, updates)
    rows: list[dict[str, Any]] = []
    for gold, own in zip(golds, found, strict=True):
        shares = own.softmax(0).tolist()
        row: dict[str, Any] = {"tokens": lengths[gold], "nll": -float(own[task.labels.index(gold)]) / lengths[gold]}
        row["labels"] = dict(zip(task.labels, [round(value, 5) for value in shares], strict=True))
        row["answer"] = max(row["labels"], key=row["labels"].__getitem__)
        rows.append(row)
    return rows


@torch.no_grad()
def person_nll(
    base: BaseModel, pool: Pool, task: Task, users: Sequence[User], prepared: Sequence[Prepared], shift: int = 0
) -> list[float]:
    """Nats per target token of every person's own answers; no text is decoded.

    Args:
        shift: as in ``answer_all``.

    Raises:
        PerpcsError: if nothing that a person answered is known.
    """
    pieces = pool.pieces(task.name, base.device, base.dtype).pieces
    found = []
    for u, user in enumerate(users):
        row = prepared[(u + shift) % len(users)]
        targets = [
            encode_pair(base.tokenizer, row.prompt(query).text, f" {query.gold}", base.max_tokens)
            for query in user.queries
            if query.gold
        ]
        if not targets:
            raise PerpcsError(f"No query of {user.id} has a true answer.", _GIVE_GOLD)
        nll, counts = target_nll(base, targets, fixed(row_updates(base, pieces, [row] * len(targets))))
        found.append(float(nll.sum() / counts.sum()))
    return found


def evaluate(
    base: BaseModel,
    pool: Pool,
    task: Task,
    users: Sequence[User],
    methods: Sequence[str],
    *,
    written: Collection[str] | None = None,
    oracle: Mapping[str, Mapping[str, str]] | None = None,
    with_texts: bool = False,
    writer: Writer = statistics,
    before: Mapping[str, Any] | None = None,
    on_method: Callable[[dict[str, Any]], None] | None = None,
    checkpoints: Path | None = None,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Evaluate methods on people whose queries have known answers.

    Args:
        before: an earlier result. If pool, settings and people agree, its methods are not run again.
        on_method: called after each method with the result so far, to save it.
        checkpoints: a folder that keeps prepared people while this runs, so that a stopped run prepares nobody twice.
        written: methods whose texts are decoded; None = all but controls. Every method gets likelihoods.
        oracle: answers by person and query, made from the person's traits.
        writer: writes the profiles for PAG.

    Returns:
        ``methods.NAME.METRIC.{mean,low,high,n_users}``, always with ``nll`` (nats per target token); the differences to
        ``base``; ``references`` in the same shape without ``nll``; per-example rows, with answers and true answers only
        if ``with_texts``; settings, versions, pool hash.

    Raises:
        PerpcsError: for an unknown method, or if people lack queries or true answers.
    """
    task = pool.labelled(task)
    people_with = [user for user in users if user.queries and user.history]
    if not people_with:
        raise PerpcsError("Nobody in the file has both a history and queries.", "Give users with `query` entries.")
    if any(query.gold is None for user in people_with for query in user.queries):
        raise PerpcsError("A query has no true answer.", _GIVE_GOLD)
    whole: dict[str, Any] = {
        "kind": "perpcs-evaluation",
        "task": task.name,
        "task_version": task.version,
        "pool": pool.manifest.name,
        "pool_hash": pool.hash,
        "users": len(people_with),
        "queries": sum(len(user.queries) for user in people_with),
        "units": {"nll": "nats per target token", "prepare_seconds": "seconds per user", "bytes": "bytes per user"},
        # in JSON types, because an earlier result is compared with it
        "settings": {
            "decoding": "greedy" if task.labels else "greedy, without non-words",
            "router": flat_options(PRESETS["default"]),
            "rows": _ROWS,
            "profiles": getattr(writer, "name", ""),
        },
        "versions": {"perpcs": __version__, **versions()},
        "methods": {},
        "references": _references(task, people_with, oracle),
        "examples": {},
    }
    results, examples = whole["methods"], whole["examples"]
    if before is not None and _same_people(before, whole, people_with):
        results |= before["methods"]
        examples |= before["examples"]
    ready: dict[str, list[Prepared]] = {}
    about = {key: whole[key] for key in ("task", "task_version", "pool_hash", "settings", "versions")}
    about |= {"device": base.device.type, "dtype": str(base.dtype)}
    kept = Checkpoints(checkpoints, about) if checkpoints else None
    asked = [registry.parse(method) for method in methods]  # before any work
    for method, plain in [(name.name, name.plain) for name in asked if name.name not in results]:
        if plain not in ready:
            say(f"{plain}: preparing {len(people_with)} people")
            ready[plain] = prepare(base, pool, task, people_with, plain, writer, kept)
        say(f"{method}: answering")
        control = method != plain or plain in _CONTROLS
        decoded = not control if written is None else method in written
        rows = answer_all(base, pool, task, people_with, ready[plain], int(plain != method), written=decoded)
        scores = [_person_scores(task, user, own) for user, own in zip(people_with, rows, strict=True)]
        names = sorted({name for score in scores for name in score})
        values = {name: [score[name] for score in scores if name in score] for name in names}
        results[method] = {name: summary(own) for name, own in values.items()}
        results[method]["prepare_seconds"] = round(float(np.mean([one.seconds for one in ready[plain]])), 4)
        results[method]["bytes"] = float(np.mean([one.bytes for one in ready[plain]]))
        examples[method] = [_example_rows(user, own, with_texts) for user, own in zip(people_with, rows, strict=True)]
        if "base" in examples:
            base_nll = person_losses(examples["base"])
            for name in results.keys() - {"base"}:  # also those that were run before it
                if "nll_minus_base" not in results[name]:
                    results[name]["nll_minus_base"] = paired(person_losses(examples[name]), base_nll)
        if on_method:
            on_method(whole)
    if kept:
        kept.clear()
    return whole


def _same_people(before: Mapping[str, Any], now: Mapping[str, Any], users: Sequence[User]) -> bool:
    """Whether an earlier result has the same pool, settings, people and histories; False for anything else."""
    same = ("kind", "task", "task_version", "pool_hash", "users", "queries")
    asked = [(user.id, len(user.history), [query.id for query in user.queries]) for user in users]
    try:
        return (
            all(before[key] == now[key] for key in same)
            and _same_settings(before["settings"], now["settings"])
            and before["methods"].keys() == before["examples"].keys()
            and all(
                [(row["user"], row["history"], [query["id"] for query in row["queries"]]) for row in rows] == asked
                for rows in before["examples"].values()
            )
        )
    except (KeyError, TypeError, AttributeError):
        return False


def _same_settings(before: Any, now: Mapping[str, Any]) -> bool:
    earlier = {"profiles": now["profiles"], **mapping(before)}  # older files do not say who wrote the profiles
    rest = [{key: value for key, value in one.items() if key != "router"} for one in (earlier, now)]
    return rest[0] == rest[1] and same_routing(mapping(earlier.get("router")), now["router"])


def person_losses(people: Sequence[Mapping[str, Any]]) -> list[float]:
    """Nats per target token of every person, from a result's example rows."""
    return [
        sum(row["nll"] * row["tokens"] for row in person["queries"]) / sum(row["tokens"] for row in person["queries"])
        for person in people
    ]


def _references(
    task: Task, users: Sequence[User], oracle: Mapping[str, Mapping[str, str]] | None
) -> dict[str, dict[str, Any]]:
    """Scores of the references: the majority answer (label tasks) and the oracle (if given)."""
    answers: dict[str, list[list[str]]] = {}
    if task.labels:
        answers["majority"] = [[_majority(task, user)] * len(user.queries) for user in users]
    if oracle and all(query.id in oracle.get(user.id, {}) for user in users for query in user.queries):
        answers["oracle"] = [[oracle[user.id][query.id] for query in user.queries] for user in users]
    found: dict[str, dict[str, Any]] = {}
    for name, own in answers.items():
        golds = [[query.gold or "" for query in user.queries] for user in users]
        scores = [score_person(task, said, true) for said, true in zip(own, golds, strict=True)]
        found[name] = {metric: summary([score[metric] for score in scores]) for metric in scores[0]}
    return found


def _majority(task: Task, user: User) -> str:
    """The person's most frequent answer; ties go to the newer one."""
    given = [task.as_query(item).gold or "" for item in user.history]
    counts = Counter(given)
    return max(reversed(given), key=counts.__getitem__)


def _person_scores(task: Task, user: User, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    golds = [query.gold or "" for query in user.queries]
    answers = [row["answer"] for row in rows if "answer" in row]
    scores = score_person(task, answers, golds) if len(answers) == len(rows) else {}
    tokens = sum(row["tokens"] for row in rows)
    scores["nll"] = sum(row["nll"] * row["tokens"] for row in rows) / tokens
    if all("labels" in row for row in rows):
        best = [max(row["labels"], key=row["labels"].__getitem__) for row in rows]
        scores["likelihood_accuracy"] = sum(b == g for b, g in zip(best, golds, strict=True)) / len(golds)
    return scores


def _example_rows(user: User, rows: Sequence[dict[str, Any]], with_texts: bool) -> dict[str, Any]:
    hidden = set() if with_texts else {"answer"}
    kept = [{key: value for key, value in row.items() if key not in hidden} for row in rows]
    if with_texts:
        kept = [{**row, "gold": query.gold} for row, query in zip(kept, user.queries, strict=True)]
    return {"user": user.id, "history": len(user.history), "queries": kept}
