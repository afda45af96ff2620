"""A fake engine with the surface of perpcs.serve.engine.Engine: deterministic, no torch, answers in no time.

6 layers x 4 modules = 24 positions, 40 sharers in 5 clusters, 2 tasks (headlines, movie tags), 6 people each.
``delay`` seconds pass at every position and every word, so that stopping and watching can be tested.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from perpcs.assembly.explain import END, ItemTokens, TokenScores
from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router, Step
from perpcs.assembly.routers import decided_by, flat_options, make_router
from perpcs.errors import PerpcsError
from perpcs.personalizers.methods import Prepared, Progress, parse, title_of
from perpcs.pool.manifest import Candidates, Example, Manifest, Sharer, TaskPool, only_sharers
from perpcs.pool.portraits import Portraits
from perpcs.schema import Position
from perpcs.serve.answer import Answer
from perpcs.serve.stored import Shared
from perpcs.tasks import Item, Query, Task, get_task

LAYERS, MODULES, SHARERS, WIDTH, RANK = 6, ("q_proj", "k_proj", "v_proj", "o_proj"), 40, 192, 8
TERMS = (
    ("harbour", "boats", "tide"),
    ("bakery", "bread", "oven"),
    ("council", "budget", "vote"),
    ("football", "goal", "league"),
    ("garden", "roses", "bees"),
)
ROUTED = make_router(router="prototype")
"""How stored people were assembled: so that votes and weights belong together, and no model is needed to say why."""
TRAINING = 12
"""Steps that a fake OPPU takes."""
ORIGIN = "A made-up person, drawn from a seed."
NAMES = ("Ada", "Bruno", "Cleo", "Dario", "Elif", "Fay")
STYLES = ("asks a question", "shouts", "puts the number first", "rhymes", "stays dry", "ends with a wink")


def _random(*words: object) -> np.random.Generator:
    digest = hashlib.sha256("|".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _headline(topic: int, style: int, n: int) -> Item:
    noun, other, last = TERMS[topic]
    x = (
        f"The town's {noun} saw {n + 2} changes this week. People near the {other} spoke of the {last}, and the mayor "
        f"promised to look into it before the month is over."
    )
    y = (
        f"What now for the {noun}?",
        f"{noun.upper()} IN UPROAR",
        f"{n + 2} things about the {noun}",
        f"The {noun} and the {last}, too fast and too vast",
        f"{noun.capitalize()}: {n + 2} changes",
        f"The {noun} changes again, surprise",
    )[style]
    return Item(x=x, y=y, id=f"h{n}")


def _film(topic: int, style: int, n: int) -> Item:
    noun, other, last = TERMS[topic]
    tags = ("comedy", "dystopia", "romance", "true story", "classic", "twist ending")
    return Item(
        x=f"A film about a {noun}, a {other} and a {last}, part {n + 1}.", y=tags[(style + n % 2) % 6], id=f"f{n}"
    )


def _paper(topic: int, style: int, n: int) -> Item:
    noun, other, last = TERMS[topic]
    return Item(x=f"Paper {n} on the {noun}", y=f"A survey of the {other}", id=f"p{n}", other=f"Against the {last} {n}")


_WRITERS = {"LaMP_4": _headline, "LaMP_2": _film, "LaMP_1": _paper}


def _examples(task: str) -> tuple[Example, ...]:
    write = _WRITERS[task]
    people = []
    for index, name in enumerate(NAMES):
        items = [write((index + n // 6) % 5, index, n) for n in range(14 + index)]
        asked = [get_task(task).as_query(item) for item in items[-3:]]
        queries = tuple(replace(query, id=f"q{i}") for i, query in enumerate(asked))
        what = f"{name} writes about the {TERMS[index % 5][0]} and {STYLES[index]}."
        people.append(Example(id=name.lower(), description=what, history=tuple(items[:-3]), queries=queries, name=name))
    return tuple(people)


class FakePool:
    """What a pool says of itself, its sharers and its example people."""

    def __init__(self, tasks: Sequence[str]) -> None:
        positions = tuple(
            Position(layer, module, f"model.layers.{layer}.self_attn.{module}", WIDTH, WIDTH)
            for layer in range(LAYERS)
            for module in MODULES
        )
        parts = tuple(TaskPool(name, 1, SHARERS, 120, "history cluster", 1.0, 0, {}, origin=ORIGIN) for name in tasks)
        self.manifest = Manifest(
            name="people",
            title="People",
            base="base",
            base_hash="ab" * 32,
            rank=RANK,
            alpha=16.0,
            dtype="float16",
            positions=positions,
            tasks=parts,
            licence="CC0-1.0",
            users={"base": 300, "candidates": 120},
        )
        self.hash = "5eed" * 16
        self._examples = {name: _examples(name) for name in tasks}

    def sharers(self, task: str) -> tuple[Sharer, ...]:
        self.manifest.task(task)
        return tuple(
            Sharer(
                id=f"s{i:03d}",
                items=20 + i % 17,
                cluster=i * 7 % 5,
                terms=TERMS[i * 7 % 5],
                loss=(2.1, 1.4, 1.0 + i / 80),
                xy=(round(0.9 * np.cos(i), 4), round(0.9 * np.sin(i), 4)),
            )
            for i in range(SHARERS)
        )

    def mask(self, task: str) -> np.ndarray:
        mask = np.ones((len(self.manifest.positions), SHARERS), dtype=bool)
        mask[0, 1] = False
        return mask

    def candidates(self, task: str) -> Candidates:
        """40 sharers and 80 others around them; the others wrote more, so that the most active are none of those."""
        own = only_sharers(self.sharers(task))
        others = _random("candidates").uniform(-1, 1, (80, 2))
        clusters = np.concatenate([own.clusters, np.arange(80) % 5])
        items = np.concatenate([own.items, 30 + np.arange(80)])
        return Candidates(np.concatenate([own.xy, others]), clusters, items, own.sharers)

    def examples(self, task: str) -> tuple[Example, ...]:
        return self._examples[task]


class FakeStored:
    """Stored people are assembled by the fake; answers and shared answers are what a test puts there."""

    def __init__(self, pool: FakePool) -> None:
        self.pool = pool
        self.answered: dict[tuple[str, str, str], dict[str, Answer]] = {}
        self.shared_by_task: dict[str, tuple[Shared, ...]] = {}
        self.portraits_by_task: dict[str, Portraits] = {}

    def assembly(self, task: str, id: str) -> Assembly:
        for example in self.pool.examples(task):
            if example.id == id:
                return assembled(self.pool, task, example.history, ROUTED, example.id)
        raise PerpcsError(f"There is no example {id!r}.", "Choose another example.")

    def answers(self, task: str, id: str, query: str) -> dict[str, Answer]:
        return self.answered.get((task, id, query), {})

    def shared(self, task: str) -> tuple[Shared, ...]:
        return self.shared_by_task.get(task, ())

    def portraits(self, task: str) -> Portraits:
        return self.portraits_by_task.get(task, Portraits())

    def recognised(self, task: str) -> np.ndarray | None:
        return _random("recognised", task).uniform(0, 0.2, (SHARERS, len(self.pool.manifest.positions)))


class FakeQueue:
    """So many wait, whoever asks."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting

    def ahead(self, thread: int | None) -> int:
        return self.waiting


def assembled(pool: FakePool, task: str, items: Sequence[Item], options: Router, user: str) -> Assembly:
    """A person as the fake assembles them."""
    sharers = pool.sharers(task)
    positions, k = tuple(p.label for p in pool.manifest.positions), getattr(options, "k", 3)
    clusters = np.array([sharer.cluster for sharer in sharers])
    taste = _random("sharers", options.name).normal(0, 0.5, (len(positions), SHARERS))
    choices = np.zeros((len(items), len(positions), k), np.int16)
    votes = np.zeros(choices.shape, np.float16)
    total = np.zeros((len(positions), SHARERS), np.float32)
    for i, item in enumerate(items):
        near = next((c for c, terms in enumerate(TERMS) if terms[0] in item.x), 0)
        score = taste + 0.9 * (clusters == near) + _random(item.x, item.y).normal(0, 0.25, taste.shape)
        order = np.argsort(-score, axis=1)[:, :k]
        top = np.take_along_axis(score, order, 1) / (0.35 * getattr(options, "temperature", 0.1))
        weight = np.exp(top - top.max(1, keepdims=True))
        choices[i], votes[i] = order, weight / weight.sum(1, keepdims=True)
        total += score.astype(np.float32)
    record = Assembly(
        weights=np.zeros(total.shape, np.float32),
        scores=total / len(items),
        choices=choices,
        votes=votes,
        task=task,
        positions=positions,
        sharers=tuple(s.id for s in sharers),
        pool=pool.manifest.name,
        pool_hash=pool.hash,
        router=flat_options(options),
        tokens=31 * len(items),
        seconds=0.41,
        user=user,
    )
    record.weights[:] = record.item_weights().mean(axis=0)
    if not record.additive:  # a descent gives every piece a weight of either sign
        record.weights[:] = _random(task, len(items)).normal(0, 0.2, record.weights.shape)
    return record


class FakeEngine:
    """See the module's docstring."""

    def __init__(self, delay: float = 0.0, waiting: int = 0, tasks: Sequence[str] = ("LaMP_4", "LaMP_2")) -> None:
        self.pool = FakePool(tasks)
        self.stored, self.queue = FakeStored(self.pool), FakeQueue(waiting)
        self.base = SimpleNamespace(device="cpu", why="No GPU was found.")
        self.pool_bytes = 14_200_000
        self.user_bytes = len(self.pool.manifest.positions) * SHARERS + 2
        self.delay, self.stopped = delay, threading.Event()
        self.calls: list[tuple[Any, ...]] = []

    @property
    def loaded(self) -> Any:
        return self.base

    def count_tokens(self, task: Task, items: Sequence[Item]) -> int:
        return sum(len(f"{item.x} {item.y or ''}".split()) for item in items)

    def likeness(self, task: str, items: Sequence[Item]) -> np.ndarray:
        self.calls.append(("likeness", task))
        return _random("likeness", *(item.x for item in items)).uniform(0, 1, SHARERS)

    def check(self, assembly: Assembly) -> None:
        if assembly.pool_hash != self.pool.hash:
            raise PerpcsError("This person was assembled from another pool.", "Open the pool it was made with.")

    def assemble(
        self,
        task: Task,
        items: Sequence[Item],
        *,
        options: Router,
        user: str = "me",
        on_position: Callable[[Step], None] | None = None,
    ) -> Assembly:
        self.calls.append(("assemble", task.name, tuple(items), options))
        done = assembled(self.pool, task.name, items, options, user)
        weights, start = np.zeros_like(done.weights), time.monotonic()
        for p in range(len(done.positions)):
            time.sleep(self.delay)
            together = not done.additive  # a descent moves all positions in every step
            weights[:] = done.weights * (p + 1) / len(done.positions) if together else weights
            weights[p] = done.weights[p]
            where = (len(done.positions) - 1, len(done.positions), p, len(done.positions)) if together else None
            if on_position is not None:
                try:
                    on_position(Step(*(where or (p, len(done.positions), 0, 1)), weights, time.monotonic() - start))
                except BaseException:
                    self.stopped.set()
                    raise
        return done

    def token_scores(
        self, task: Task, items: Sequence[Item], assembly: Assembly, position: int, sharer: int, which: Sequence[int]
    ) -> TokenScores:
        self.calls.append(("token_scores", task.name, position, sharer, tuple(which)))
        found = []
        for index in which:
            words = tuple(f" {word}" for word in task.pair(items[index])[1].split())
            scores = _random(position, sharer, *words).normal(0, 1, len(words) + 1)
            found.append(ItemTokens(index, (*words, END), tuple(scores.tolist())))
        router = str(assembly.router["router"])
        stands_in = decided_by(router) != "votes"
        return TokenScores("prototype" if stands_in else router, stands_in, tuple(found))

    def update_norms(self, assembly: Assembly) -> np.ndarray:
        return np.abs(assembly.weights).sum(axis=1) / 10

    def prepare(
        self,
        task: Task,
        method: str,
        history: Sequence[Item] = (),
        *,
        user: str = "me",
        assembly: Assembly | None = None,
        watch: Callable[[Progress], None] | None = None,
    ) -> Prepared:
        asked, history = parse(method), tuple(history)
        self.calls.append(("prepare", task.name, method, user))
        if asked.reads and not history:
            raise PerpcsError("There is no history.", "Give the history again.")
        stem = asked.parts[0][0].name
        if stem == "retrieval":
            raise PerpcsError("The pool stores no embeddings of the sharers.", "Build the pool again.")
        curve = []
        for step in range(1, TRAINING + 1 if asked.slow else 1):
            time.sleep(self.delay)
            curve.append((step, 3.0 / step))
            if watch is not None:
                watch(Progress("training a LoRA", step, TRAINING, {"training": 3.0 / step}))
        shows = stem in ("rag", "pag") or "+" in method
        return Prepared(
            task,
            method,
            finds=(lambda query: history[:2],) if shows else (),
            profile="Likes questions." if stem == "pag" else "",
            text_bytes=sum(len(item.x) for item in history) if shows else 0,
            other_bytes={"perpcs": self.user_bytes, "oppu": self.pool.manifest.adapter_bytes}.get(stem, 0),
            text_leaves=shows,
            seconds={"perpcs": 0.41, "oppu": 9.0}.get(stem, 0.0),
            curve={"training": tuple(curve)} if curve else {},
        )

    def answer_rows(
        self,
        task: Task,
        rows: Sequence[tuple[Prepared, Query]],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[tuple[Answer, ...]]:
        query = rows[0][1]
        methods = tuple(prepared.method for prepared, _ in rows)
        self.calls.append(("answer", task.name, query, methods, max_new_tokens, temperature, seed))
        gold = query.gold or ("comedy" if task.labels else "What now for the harbour?")
        wanted = {"base": "Town changes " + query.x.split()[2], "rag": gold + " again"}
        if task.labels:
            wanted = {"base": task.labels[1], "rag": task.labels[-1]}
        words = [wanted.get(method, gold).split() for method in methods]
        longest = max(map(len, words))
        try:
            for n in range(1, longest + 1):
                time.sleep(self.delay)
                yield tuple(
                    self._one(task, prepared, query, said, n, n == longest)
                    for (prepared, query), said in zip(rows, words, strict=True)
                )
        finally:
            self.stopped.set()

    def _one(self, task: Task, prepared: Prepared, query: Query, words: list[str], n: int, last: bool) -> Answer:
        labels, prompt = {}, prepared.prompt(query)
        if task.labels:
            raw = _random(query.x, prepared.method).random(len(task.labels)) ** 6
            raw[task.labels.index(" ".join(words))] += 1.2
            labels = dict(zip(task.labels, (raw / raw.sum()).tolist(), strict=True))
        return Answer(
            method=prepared.method,
            title=title_of(prepared.method),
            text=" ".join(words[:n]),
            done=last,
            valid=True,
            tokens=min(n, len(words)),
            first_token_seconds=0.03,
            seconds=0.03 * n,
            prompt=prompt.text,
            retrieved=prompt.retrieved,
            profile=prompt.profile,
            bytes_stored=prepared.bytes,
            prepare_seconds=prepared.seconds,
            text_leaves=prepared.text_leaves,
            labels=labels,
        )


def _held_out_loss(engine: FakeEngine, assembly: Assembly, queries: Sequence[Query]) -> float | None:
    return 0.1 * assembly.distinct_sharers() if queries else None


def put_in_place(monkeypatch: Any, made: FakeEngine) -> Iterator[FakeEngine]:
    """The body of a fixture: pages open this engine, and nobody waits for pictures."""
    from perpcs.ui import compare, engine, give_history, whatif

    monkeypatch.setattr(engine, "open_engine", lambda folder: made)
    monkeypatch.setattr(whatif, "held_out_loss", _held_out_loss)
    monkeypatch.setattr(give_history, "TICK", 0.001)
    monkeypatch.setattr(compare, "TICK", 0.001)
    engine.opening.clear()
    yield made
    engine.opening.clear()
