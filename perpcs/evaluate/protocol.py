"""Evaluating methods on held-out people: greedy answers, likelihoods, seconds, and the controls, as one JSON.

Every method prepares each person from their history alone, then answers their queries, which lie after it.
``wrong-user`` forms give every person what was prepared for the next one: what personalises must get worse by that.

    base        the query alone                        perpcs:ROUTER  assembled by that router, other options default
    rag:K       K retrieved history items shown (1)    retrieval:K    PEFT retrieval: the K most like sharers, whole (3)
    pag:K       a profile by counting, and K items (0) uniform, random   controls: all pieces alike, or K drawn ones
    X+rag:K     X, and K items shown                   oppu           a LoRA trained for the person
    X+pag:K     X, and a profile and K items shown     wrong:X        X prepared for the next person
    p2p         a LoRA that the hypernetwork writes from a profile; p2p:shuffled: from the next person's, p2p:random:
                from a drawn embedding

Beside the methods stand two references that answer without a model: what the person answered most often before, and,
where the file of a synthetic town's traits is given, an oracle that knows them. Its errors are the people's own slips.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from perpcs import __version__
from perpcs.assembly.assemble import assemble
from perpcs.assembly.options import BLIND, RouterOptions, router_options
from perpcs.assembly.own import own_piece
from perpcs.data.profile import statistics
from perpcs.errors import PerpcsError
from perpcs.evaluate.intervals import paired, summary
from perpcs.evaluate.metrics import score_person
from perpcs.evaluate.oppu import own_adapter
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Updates, fixed, own_updates, together
from perpcs.model.decode import decode, text_of
from perpcs.model.likelihood import label_log_probs, target_nll
from perpcs.model.text import encode_pair, encode_prompt
from perpcs.personalizers.p2p import hypernet_of, lora_bytes, profiles_of, random_profiles, write_factors
from perpcs.personalizers.rag import text_bytes
from perpcs.pool.adapt import prompt_about
from perpcs.pool.build import encode_histories, versions
from perpcs.pool.store import Pool
from perpcs.pool.train import PieceSettings, train_pieces
from perpcs.tasks import Query, Task, User

Say = Callable[[str], None]
_ROWS = 24
"""Queries answered in one batch."""


@dataclass(frozen=True)
class Prepared:
    """What a method keeps of every person: how a row of a batch is adapted, and whether history is shown."""

    adapter: Callable[[torch.Tensor], Adapter | None]
    """For rows that belong to the people ``owner`` (b,): their adapter."""
    shows: int = 0
    """How many retrieved history items stand in a prompt."""
    tells: bool = False
    """Whether a profile stands in a prompt."""
    seconds: float = 0.0
    """Seconds to prepare one person, mean."""
    bytes: float = 0.0
    """Bytes kept of one person, mean."""


def prepare(base: BaseModel, pool: Pool, task: Task, users: Sequence[User], method: str) -> Prepared:
    """Prepare all people for a method.

    Raises:
        PerpcsError: for a method that is not known.
    """
    stem, *shown = _SHOWN.split(method)
    if shown:
        parts = [prepare(base, pool, task, users, part) for part in (stem, *shown)]
        return replace(
            parts[0],
            shows=max(part.shows for part in parts),
            tells=any(part.tells for part in parts),
            seconds=sum(part.seconds for part in parts),
            bytes=sum(part.bytes for part in parts),
        )
    name, _, router = method.partition(":")
    began = time.perf_counter()
    if name == "base" and not router:
        return Prepared(lambda owner: None)
    if name in ("rag", "pag") and (not router or router in ("0", "1", "2", "4")):
        shows = int(router or (name == "rag"))
        kept = [text_bytes(user.history) if shows else 0 for user in users]
        if name == "pag":
            kept = [size + len(statistics(task, user.history).encode()) for size, user in zip(kept, users, strict=True)]
        return Prepared(lambda owner: None, shows=shows, tells=name == "pag", bytes=float(np.mean(kept)))
    if name == "perpcs" or name in BLIND:
        options = _options(name, router)
        pieces = pool.pieces(task.name, base.device, base.dtype).pieces
        found = [assemble(base, pool, task, user.history, options=options) for user in users]
        weights = torch.from_numpy(np.stack([one.weights for one in found])).to(base.device, base.dtype)
        owns = [own_piece(one, base.positions) for one in found]
        seconds = (time.perf_counter() - began) / len(users)

        def adapter(owner: torch.Tensor) -> Adapter:
            own = own_updates([owns[index] for index in owner.tolist()], base.device, base.dtype)
            shared = [pieces.shared(p, weights[owner, p]) for p in range(len(pieces))]
            return fixed(together(shared, own))

        return Prepared(adapter, seconds=seconds, bytes=float(found[0].kept_bytes))
    if name == "oppu" and not router:
        settings = PieceSettings(**pool.task(task.name).training["pieces"])
        trained = train_pieces(base, encode_histories(base, task, users), [user.id for user in users], settings)
        seconds = (time.perf_counter() - began) / len(users)
        size = pool.manifest.adapter_bytes
        return Prepared(lambda owner: own_adapter(base, trained, owner, settings), seconds=seconds, bytes=float(size))
    if name == "p2p" and router in ("", "shuffled", "random"):
        return _prepare_p2p(base, pool, task, users, router)
    known = (
        "base, rag, rag:4, pag, pag:1, perpcs, perpcs:gate, perpcs:prototype, retrieval, retrieval:1, uniform, random, "
        "oppu, p2p, p2p:shuffled, p2p:random, +rag or +pag behind any of them, and wrong: before it"
    )
    raise PerpcsError(f"Unknown method {method!r}.", f"Use some of: {known}.")


def _prepare_p2p(base: BaseModel, pool: Pool, task: Task, users: Sequence[User], control: str) -> Prepared:
    """Profile-to-PEFT for all people at once, or one of its controls."""
    net = hypernet_of(pool, task)
    began = time.perf_counter()
    profiles = profiles_of(pool, task, [user.history for user in users])
    if control:
        profiles = profiles.roll(-1, 0) if control == "shuffled" else random_profiles(net, len(users))
    owns = write_factors(net, profiles)
    seconds = (time.perf_counter() - began) / len(users)

    def adapter(owner: torch.Tensor) -> Adapter:
        return fixed(own_updates([owns[index] for index in owner.tolist()], base.device, base.dtype))

    return Prepared(adapter, seconds=seconds, bytes=float(lora_bytes(owns[0])))


_SHOWN = re.compile(r"\+(?=rag|pag)")  # a plus inside of a router's name is none


def _options(name: str, detail: str) -> RouterOptions:
    """What ``perpcs:ROUTER`` and ``retrieval:K`` stand for."""
    if name == "perpcs":
        return router_options("default", router=detail or None)
    if detail and not detail.isdigit():
        raise PerpcsError(f"{name}:{detail} names no number of sharers.", f"Write {name}:1 or {name}:3.")
    return router_options("default", router=name, k=int(detail) if detail else None)


@torch.no_grad()
def answer_all(
    base: BaseModel, task: Task, users: Sequence[User], prepared: Prepared, shift: int = 0
) -> list[list[dict[str, Any]]]:
    """Every person's queries answered: per person a list of {id, answer, nll, tokens, labels}.

    Args:
        shift: person i answers with what was prepared for person i + shift: 0, or 1 for the wrong user.
    """
    asked = [(u, q) for u, user in enumerate(users) for q in range(len(user.queries))]
    out: list[list[dict[str, Any]]] = [[{} for _ in user.queries] for user in users]
    for at in range(0, len(asked), _ROWS):
        part = asked[at : at + _ROWS]
        owner = torch.tensor([(u + shift) % len(users) for u, _ in part], device=base.device)
        adapter = prepared.adapter(owner)
        prompts = [_prompt(task, users[(u + shift) % len(users)], users[u].queries[q], prepared) for u, q in part]
        golds = [users[u].queries[q].gold or "" for u, q in part]
        for (u, q), row in zip(part, _answer_batch(base, task, prompts, golds, adapter), strict=True):
            out[u][q] = {"id": users[u].queries[q].id, **row}
    return out


def _prompt(task: Task, user: User, query: Query, prepared: Prepared) -> str:
    """The query as it is asked with what a method tells of ``user``, who need not be who asks."""
    return prompt_about(task, query, user.history, prepared.shows, prepared.tells)


def _answer_batch(
    base: BaseModel, task: Task, prompts: Sequence[str], golds: Sequence[str], adapter: Adapter | None
) -> list[dict[str, Any]]:
    targets = [
        encode_pair(base.tokenizer, prompt, f" {gold}", base.max_tokens)
        for prompt, gold in zip(prompts, golds, strict=True)
    ]
    nll, counts = target_nll(base, targets, adapter)
    rows: list[dict[str, Any]] = [
        {"nll": float(total) / float(count), "tokens": int(count)} for total, count in zip(nll, counts, strict=True)
    ]
    if task.labels:
        updates: list[Updates] | None = None
        if adapter is not None:
            blank = torch.zeros(len(prompts), 1, 1, device=base.device, dtype=base.dtype)
            updates = [adapter(p, blank) for p in range(len(base.positions))]
        shares = label_log_probs(base, prompts, task.labels, updates).exp()
        for row, share in zip(rows, shares.tolist(), strict=True):
            row["labels"] = dict(zip(task.labels, [round(value, 5) for value in share], strict=True))
    ids = [encode_prompt(base.tokenizer, prompt, base.max_tokens, task.max_new_tokens) for prompt in prompts]
    *_, last = decode(base, ids, adapter, max_new_tokens=task.max_new_tokens)
    for row, new in zip(rows, last, strict=True):
        row["answer"] = text_of(base, new)
    return rows


def evaluate(
    base: BaseModel,
    pool: Pool,
    task: Task,
    users: Sequence[User],
    methods: Sequence[str],
    *,
    oracle: Mapping[str, Mapping[str, str]] | None = None,
    with_texts: bool = False,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Run methods on people with queries whose true answers are known.

    Args:
        oracle: per person and query, what somebody answers who knows the person's traits.

    Returns:
        ``methods.NAME.METRIC.{mean,low,high,n_users}``, always with ``nll`` (nats per target token); the differences to
        ``base``; ``references`` in the same shape without ``nll``; per-example rows, with answers and true answers only
        if ``with_texts``; settings, versions, pool hash.

    Raises:
        PerpcsError: for an unknown method, or people without queries or true answers.
    """
    people_with = [user for user in users if user.queries and user.history]
    if not people_with:
        raise PerpcsError("Nobody in the file has both a history and queries.", "Give users with `query` entries.")
    if any(query.gold is None for user in people_with for query in user.queries):
        raise PerpcsError("A query has no true answer.", "Give every query its `gold`, or the outputs file.")
    results: dict[str, Any] = {}
    examples: dict[str, Any] = {}
    by_user: dict[str, dict[str, list[float]]] = {}
    ready: dict[str, Prepared] = {}
    for method in methods:
        plain = method.removeprefix("wrong:")
        if plain not in ready:
            say(f"{plain}: preparing {len(people_with)} people")
            ready[plain] = prepare(base, pool, task, people_with, plain)
        say(f"{method}: answering")
        rows = answer_all(base, task, people_with, ready[plain], shift=int(plain != method))
        scores = [_person_scores(task, user, own) for user, own in zip(people_with, rows, strict=True)]
        names = sorted({name for score in scores for name in score})
        by_user[method] = {name: [score[name] for score in scores if name in score] for name in names}
        results[method] = {name: summary(values) for name, values in by_user[method].items()}
        if "base" in by_user and method != "base":
            results[method]["nll_minus_base"] = paired(by_user[method]["nll"], by_user["base"]["nll"])
        results[method]["prepare_seconds"] = round(ready[plain].seconds, 4)
        results[method]["bytes"] = ready[plain].bytes
        examples[method] = [_example_rows(user, own, with_texts) for user, own in zip(people_with, rows, strict=True)]
    return {
        "kind": "perpcs-evaluation",
        "task": task.name,
        "task_version": task.version,
        "pool": pool.manifest.name,
        "pool_hash": pool.hash,
        "users": len(people_with),
        "queries": sum(len(user.queries) for user in people_with),
        "units": {"nll": "nats per target token", "prepare_seconds": "seconds per user", "bytes": "bytes per user"},
        "settings": {"decoding": "greedy", "router": asdict(RouterOptions()), "rows": _ROWS},
        "versions": {"perpcs": __version__, **versions()},
        "methods": results,
        "references": _references(task, people_with, oracle),
        "examples": examples,
    }


def _references(
    task: Task, users: Sequence[User], oracle: Mapping[str, Mapping[str, str]] | None
) -> dict[str, dict[str, Any]]:
    """What answers without a model reach: the own majority (label tasks) and the oracle (where it is known)."""
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
    """What the person answered most often, the newer of two equals."""
    given = [task.as_query(item).gold or "" for item in user.history]
    counts = Counter(given)
    return max(reversed(given), key=counts.__getitem__)


def _person_scores(task: Task, user: User, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    golds = [query.gold or "" for query in user.queries]
    scores = score_person(task, [row["answer"] for row in rows], golds)
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
