"""One engine serves all sessions: it holds a pool and its base model, and every call brings its own person.

Nothing about a person is kept between calls: a prepared person is returned, and the caller keeps it. Work takes fair
turns at the model: a step of a preparation, or one token of an answer.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from perpcs.assembly.activations import likeness
from perpcs.assembly.assemble import assemble, token_scores
from perpcs.assembly.descent import own_piece
from perpcs.assembly.explain import TokenScores
from perpcs.assembly.export import Adapter, adapter_of, make_adapter, refuse_inside, update_norms
from perpcs.assembly.record import Assembly, quantised_size
from perpcs.assembly.router import Router, Step
from perpcs.data.prompts import statistics
from perpcs.errors import PerpcsError
from perpcs.model.base import BaseModel
from perpcs.model.basis import fixed
from perpcs.model.decode import WordCheck, decode, text_of
from perpcs.model.likelihood import encode_pair, encode_prompt, label_log_probs
from perpcs.personalizers.methods import Person, Prepared, Progress, Setting, Watch, Writer, parse, prepare, title_of
from perpcs.pool.contribute import Say, Trained, train_person
from perpcs.pool.profile_writer import pool_writer
from perpcs.pool.store import Pool
from perpcs.serve.answer import Answer, word_check
from perpcs.serve.queue import Batches, Queue, row_updates
from perpcs.serve.stored import Stored
from perpcs.tasks import Item, Query, Task

Row = tuple[Prepared, Query]
"""One row of a batch: a person prepared for a method, and a query."""
_Asked = tuple[Prepared, Sequence[int], int, int, WordCheck | None]
"""A row to decode: the prepared person, ids of the prompt, maximum new tokens, seed, which words it may not write."""
_Labelled = tuple[Prepared, str]  # a row whose labels are scored: the prepared person, and the prompt


class Engine:
    """A pool and its base model, ready to assemble and to answer."""

    def __init__(self, pool: Pool, base: BaseModel | Future[BaseModel], writer: Writer = statistics) -> None:
        self.pool = pool
        self._base = base
        self.writer = writer
        """Writes the profiles of PAG."""
        self.stored = Stored(pool)
        """Example people as they were assembled and answered for when the pool was built."""
        self.queue = Queue()
        self._batches: Batches[_Asked, int] = Batches(self.queue)
        self._scoring: Batches[_Labelled, float] = Batches(self.queue)

    @classmethod
    def open(cls, folder: Path | str, device: str = "auto", dtype: str = "auto", wait: bool = True) -> "Engine":
        """Open a pool folder and load its base model and pieces.

        Args:
            wait: False = return at once and load in a thread; what is stored with the pool needs no model.

        Raises:
            PerpcsError: when the pool is missing, damaged or altered; its base model too, here or where it is used.
        """
        pool, loaded = Pool(Path(folder)), Future[BaseModel]()

        def load() -> None:
            try:
                base = pool.base(device, dtype)
                for part in pool.manifest.tasks:
                    pool.pieces(part.task, base.device, base.dtype)
                loaded.set_result(base)
            except Exception as error:  # raised again by whoever asks for the model
                loaded.set_exception(error)

        if wait:
            load()
            return cls(pool, loaded.result(), pool_writer(pool, device))
        threading.Thread(target=load, name="load-base", daemon=True).start()
        return cls(pool, loaded, pool_writer(pool, device))

    # ---- facts -------------------------------------------------------------------------------------------------

    @property
    def base(self) -> BaseModel:
        """The base model; waits while it is loaded."""
        return self._base.result() if isinstance(self._base, Future) else self._base

    @property
    def loaded(self) -> BaseModel | None:
        """The base model; None while it is loaded. Raises what went wrong."""
        return None if isinstance(self._base, Future) and not self._base.done() else self.base

    @cached_property
    def pool_bytes(self) -> int:
        """Bytes of the pool's folder."""
        return sum(file.stat().st_size for file in self.pool.folder.rglob("*") if file.is_file())

    @cached_property
    def user_bytes(self) -> int:
        """Bytes of a person's weights as they are kept, for the task with most sharers."""
        return quantised_size(
            len(self.pool.manifest.positions) * max(part.sharers for part in self.pool.manifest.tasks)
        )

    def count_tokens(self, task: Task, items: Sequence[Item]) -> int:
        """How many tokens a router reads of a history: prompts and answers, each item cut to what the model takes."""
        base, task = self.base, self.pool.labelled(task)
        return sum(len(encode_pair(base.tokenizer, *task.pair(item), base.max_tokens).ids) for item in items)

    def likeness(self, task: str, items: Sequence[Item]) -> np.ndarray:
        """How like a history is to each sharer's, by the pool's encoder: cosines (S,).

        Raises:
            PerpcsError: when the pool stores no embeddings.
        """
        with self.queue.turn():
            return likeness(self.pool, task, items).numpy()

    # ---- work --------------------------------------------------------------------------------------------------

    def check(self, assembly: Assembly) -> None:
        """Make sure that a saved person belongs to this pool.

        Raises:
            PerpcsError: when it was assembled from another pool, or another version of this one.
        """
        names = tuple(sharer.id for sharer in self.pool.sharers(assembly.task))
        if assembly.pool_hash != self.pool.hash or assembly.sharers != names:
            raise PerpcsError(
                f"This person was assembled from the pool {assembly.pool!r} ({assembly.pool_hash[:8]}), "
                f"but the open pool is {self.pool.manifest.name!r} ({self.pool.hash[:8]}).",
                "Open that pool, or assemble the person again from their history.",
            )
        if assembly.positions != tuple(position.label for position in self.pool.manifest.positions):
            raise PerpcsError(
                "The saved person is damaged: its layers are not the pool's.", "Assemble the person again."
            )
        own_piece(assembly.own, self.pool.manifest.positions)

    def assemble(
        self,
        task: Task,
        items: Sequence[Item],
        *,
        options: Router | None = None,
        user: str = "me",
        on_position: Callable[[Step], None] | None = None,
    ) -> Assembly:
        """Assemble a person; see ``perpcs.assembly.assemble``."""
        with self.queue.turn() as turn:
            waited = turn.waited

            def told(step: Step) -> None:
                if on_position:
                    on_position(step)
                if step.position == step.positions - 1:
                    turn.pass_on()

            found = assemble(self.base, self.pool, task, items, options=options, user=user, on_position=told)
            return replace(found, seconds=round(max(0.0, found.seconds - (turn.waited - waited)), 4))

    def train_sharer(self, task: Task, items: Sequence[Item], id: str, say: Say) -> Trained:
        """Train a person's own pieces and gates as this pool's were; see ``perpcs.pool.contribute``."""
        with ExitStack() as turn:
            turn.enter_context(self.queue.turn())

            def step(what: str, done: int, of: int) -> None:  # whoever waits for the model comes between two steps
                turn.close()
                say(what, done, of)
                turn.enter_context(self.queue.turn())

            return train_person(self.base, self.pool, task, items, id, step)

    def token_scores(
        self, task: Task, items: Sequence[Item], assembly: Assembly, position: int, sharer: int, which: Sequence[int]
    ) -> TokenScores:
        """How well one piece fits each word of some history items; see ``perpcs.assembly.assemble``."""
        self.check(assembly)
        with self.queue.turn():
            return token_scores(self.base, self.pool, task, items, assembly, position, sharer, which)

    def update_norms(self, assembly: Assembly) -> np.ndarray:
        """How large the person's update is beside each layer, (P,); see ``perpcs.assembly.export``. Runs no model."""
        self.check(assembly)
        pieces = self.pool.pieces(assembly.task, self.base.device, self.base.dtype)
        return update_norms(self.base, pieces, assembly)

    def adapter(self, assembly: Assembly, rank: int | None = None) -> Adapter:
        """A person as an adapter that peft reads; see ``perpcs.assembly.export``.

        Raises:
            PerpcsError: when the person belongs to another pool, or cannot be exported.
        """
        self.check(assembly)
        with self.queue.turn():
            return make_adapter(self.base, self.pool, assembly, rank)

    def export(self, assembly: Assembly, folder: Path, rank: int | None = None) -> Adapter:
        """The same, written to a folder, which may not lie inside the pool."""
        refuse_inside(self.pool, folder)
        made = self.adapter(assembly, rank)
        made.save(folder)
        return made

    def prepare(
        self,
        task: Task,
        method: str,
        history: Sequence[Item] = (),
        *,
        user: str = "me",
        assembly: Assembly | None = None,
        watch: Watch | None = None,
    ) -> Prepared:
        """Prepare a person for a method; what comes back serves any number of queries.

        ``wrong:X`` prepares X for an example person who is not the one who asks.

        Args:
            watch: told of every step in the calling thread; an exception raised in it ends the work.

        Raises:
            PerpcsError: for an unknown method, or one that lacks what it needs.
        """
        if assembly is not None:
            self.check(assembly)
        asked, person = parse(method), Person(user, tuple(history), assembly)
        strangers = [(example.id, example.history) for example in self.pool.examples(task.name)]
        setting = Setting(self.base, self.pool, task, strangers, self.writer)
        if asked.wrong:
            person = self._somebody_else(task, person)
        with self.queue.turn() as turn:
            waited = turn.waited

            def told(progress: Progress) -> None:
                if watch:
                    watch(progress)
                turn.pass_on()

            prepared = prepare(setting, [person], asked.plain, told)[0]
            waited = turn.waited - waited
        reused = assembly is not None and prepared.weights is assembly.weights  # its seconds are those of long ago
        return replace(prepared, method=method, seconds=max(0.0, prepared.seconds - (0.0 if reused else waited)))

    def _somebody_else(self, task: Task, person: Person) -> Person:
        """The example person after this one, else the first: with their history and stored assembly."""
        examples = self.pool.examples(task.name)
        others = [example for example in examples if example.id != person.id and example.history != person.history]
        if not others:
            raise PerpcsError("There is no one else to use as the wrong user.", "Use a pool with more example people.")
        at = next((place for place, example in enumerate(examples) if example.id == person.id), -1)
        other = next((example for example in examples[at + 1 :] if example in others), others[0])
        try:
            assembly = self.stored.assembly(task.name, other.id)
            self.check(assembly)
        except PerpcsError:  # the pool was built without; the history is there
            return Person(other.id, other.history)
        return Person(other.id, other.history, assembly)

    def prepared_adapter(self, prepared: Prepared, rank: int | None = None) -> Adapter:
        """What a prepared person carries, as an adapter that peft reads: an OPPU's LoRA, or pieces of the pool.

        Raises:
            PerpcsError: when nothing is carried, or it cannot be exported.
        """
        with self.queue.turn():
            return adapter_of(self.base, self.pool, prepared.task.name, prepared.weights, prepared.own, rank)

    def answer(
        self,
        task: Task,
        query: Query,
        methods: Sequence[str],
        *,
        history: Sequence[Item] = (),
        assembly: Assembly | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[tuple[Answer, ...]]:
        """Prepare a person for several methods and answer one query by all of them in one batch; see ``answer_rows``.

        Raises:
            PerpcsError: for an unknown method, or one that lacks what it needs.
        """
        user = "me" if assembly is None else assembly.user
        rows = [(self.prepare(task, name, history, user=user, assembly=assembly), query) for name in methods]
        return self.answer_rows(task, rows, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)

    def answer_rows(
        self,
        task: Task,
        rows: Sequence[Row],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[tuple[Answer, ...]]:
        """Answer rows of any people, methods and queries of a task in one batch, streamed.

        Yields a snapshot a token, the last with all done. Each row draws from its own generator, seeded alike, so its
        answer does not depend on its neighbours: not on these rows, nor on those of others who ask while the model is
        busy, which are answered in the same batch. Close the iterator to stop.
        """
        room, base = max_new_tokens or task.max_new_tokens, self.base
        prompts = [prepared.prompt(query) for prepared, query in rows]
        answers = [
            Answer(
                method=prepared.method,
                title=title_of(prepared.method),
                prompt=prompt.text,
                prepare_seconds=prepared.seconds,
                retrieved=prompt.retrieved,
                profile=prompt.profile,
                bytes_stored=prepared.bytes,
                text_leaves=prepared.text_leaves,
                says=prepared.says,
            )
            for (prepared, _), prompt in zip(rows, prompts, strict=True)
        ]
        pieces = self.pool.pieces(task.name, base.device, base.dtype).pieces

        def begin(asked: Sequence[_Asked]) -> Iterator[list[list[int]]]:
            carried, ids, rooms, seeds, checks = zip(*asked, strict=True)
            updates = fixed(row_updates(base, pieces, carried))
            return decode(
                *(base, ids, updates),
                max_new_tokens=rooms,
                temperature=temperature,
                seed=seeds,
                one_line=True,
                checks=checks,
            )

        asked = [
            (
                prepared,
                encode_prompt(base.tokenizer, prompt.text, base.max_tokens, room),
                *(room, seed, None if task.labels else word_check(query.x, [prompt.text])),
            )
            for (prepared, query), prompt in zip(rows, prompts, strict=True)
        ]
        previous: list[list[int]] = [[] for _ in rows]
        for now, worked in self._batches.answer((task.name, temperature), asked, begin):
            for index, new in enumerate(now):
                old = answers[index]
                if old.done:
                    continue
                answers[index] = replace(
                    old,
                    text=text_of(base, new),
                    tokens=len(new),
                    done=new == previous[index] or len(new) >= room,  # nothing new: end of text
                    seconds=worked,
                    first_token_seconds=worked if old.first_token_seconds is None else old.first_token_seconds,
                )
            previous = now
            yield tuple(answers)
            if all(answer.done for answer in answers):
                break
        task, labels = self.pool.labelled(task), [dict[str, float]() for _ in rows]
        if task.labels:

            def score(asked: Sequence[_Labelled]) -> Iterator[list[list[float]]]:
                carried, texts = zip(*asked, strict=True)
                yield label_log_probs(base, texts, task.labels, row_updates(base, pieces, carried)).exp().tolist()

            labelled = [(prepared, prompt.text) for (prepared, _), prompt in zip(rows, prompts, strict=True)]
            for shares, _ in self._scoring.answer(task.name, labelled, score):
                labels = [dict(zip(task.labels, share, strict=True)) for share in shares]
        yield tuple(
            replace(answer, done=True, valid=not task.labels or answer.text in task.labels, labels=share)
            for answer, share in zip(answers, labels, strict=True)
        )
