"""One engine serves all sessions: it holds a pool and its base model, and every call brings its own person.

Nothing about a person is kept between calls. Work takes fair turns at the model: a whole assembly, or one token of an
answer.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from perpcs.assembly.assemble import Step, assemble
from perpcs.assembly.blind import likeness
from perpcs.assembly.export import Adapter, make_adapter, refuse_inside
from perpcs.assembly.options import RouterOptions
from perpcs.assembly.own import own_piece
from perpcs.assembly.record import Assembly
from perpcs.errors import PerpcsError
from perpcs.model.base import BaseModel
from perpcs.model.basis import Pieces, Updates, fixed, own_updates, together
from perpcs.model.decode import decode, text_of
from perpcs.model.likelihood import label_log_probs
from perpcs.model.text import encode_prompt
from perpcs.personalizers.answer import Answer
from perpcs.personalizers.examples import example_answers, example_assembly
from perpcs.personalizers.heldout import held_out_loss
from perpcs.personalizers.method import Person, Row
from perpcs.personalizers.methods import get_method
from perpcs.personalizers.turns import Turns
from perpcs.pool.candidates import Candidates
from perpcs.pool.manifest import Example, Manifest, Sharer
from perpcs.pool.store import Pool
from perpcs.tasks import Item, Query, Task


class Engine:
    """A pool and its base model, ready to assemble and to answer."""

    def __init__(self, pool: Pool, base: BaseModel) -> None:
        self.pool = pool
        self.base = base
        self.turns = Turns()

    @classmethod
    def open(cls, folder: Path | str, device: str = "auto", dtype: str = "auto") -> "Engine":
        """Open a pool folder and load its base model and pieces.

        Raises:
            PerpcsError: when the pool or its base model is missing, damaged or altered.
        """
        pool = Pool(Path(folder))
        base = pool.base(device, dtype)
        for part in pool.manifest.tasks:
            pool.pieces(part.task, base.device, base.dtype)
        return cls(pool, base)

    # ---- facts -------------------------------------------------------------------------------------------------

    @property
    def manifest(self) -> Manifest:
        return self.pool.manifest

    @property
    def pool_hash(self) -> str:
        return self.pool.hash

    @property
    def device(self) -> str:
        return str(self.base.device)

    @property
    def why_device(self) -> str:
        return self.base.why

    @property
    def waiting(self) -> int:
        """Pieces of work running or waiting at the model now."""
        return self.turns.waiting

    @cached_property
    def pool_bytes(self) -> int:
        """Bytes of the pool's folder."""
        return sum(file.stat().st_size for file in self.pool.folder.rglob("*") if file.is_file())

    @cached_property
    def user_bytes(self) -> int:
        """Bytes of a person's weights as half floats, for the task with most sharers."""
        return 2 * len(self.manifest.positions) * max(part.sharers for part in self.manifest.tasks)

    @property
    def adapter_bytes(self) -> int:
        return self.manifest.adapter_bytes

    def sharers(self, task: str) -> tuple[Sharer, ...]:
        return self.pool.sharers(task)

    def candidates(self, task: str) -> Candidates:
        return self.pool.candidates(task)

    def shared(self, task: str) -> np.ndarray:
        """Which pieces each sharer shares, bool (P, S)."""
        return self.pool.pieces(task, self.base.device, self.base.dtype).mask.cpu().numpy()

    def likeness(self, task: str, items: Sequence[Item]) -> np.ndarray:
        """How like a history is to each sharer's, by the pool's encoder: cosines (S,).

        Raises:
            PerpcsError: when the pool stores no embeddings.
        """
        with self.turns.turn():
            return likeness(self.pool, task, items).numpy()

    def held_out_loss(self, assembly: Assembly, queries: Sequence[Query]) -> float | None:
        """Nats per target token of a person's own answers, which lie after the history; None where there are none.

        Raises:
            PerpcsError: when the person belongs to another pool.
        """
        self.check(assembly)
        with self.turns.turn():
            return held_out_loss(self.base, self.pool, assembly, queries)

    def examples(self, task: str) -> tuple[Example, ...]:
        return self.pool.examples(task)

    def example_assembly(self, task: str, id: str) -> Assembly:
        """An example person's assembly as stored when the pool was built; no model is run."""
        return example_assembly(self.pool, task, id)

    def example_answers(self, task: str, id: str, query: str) -> dict[str, Answer]:
        """Stored answers to one query of an example person, by method; empty where there are none."""
        return example_answers(self.pool, task, id, query)

    # ---- work --------------------------------------------------------------------------------------------------

    def check(self, assembly: Assembly) -> None:
        """Make sure that a saved person belongs to this pool.

        Raises:
            PerpcsError: when it was assembled from another pool, or another version of this one.
        """
        names = tuple(sharer.id for sharer in self.sharers(assembly.task))
        if assembly.pool_hash != self.pool_hash or assembly.sharers != names:
            raise PerpcsError(
                f"This person was assembled from the pool {assembly.pool!r} ({assembly.pool_hash[:8]}), "
                f"and this is {self.manifest.name!r} ({self.pool_hash[:8]}).",
                "Open that pool, or assemble the person again from their history.",
            )

    def assemble(
        self,
        task: Task,
        items: Sequence[Item],
        *,
        options: RouterOptions | None = None,
        user: str = "me",
        on_position: Callable[[Step], None] | None = None,
    ) -> Assembly:
        """Assemble a person; see ``perpcs.assembly.assemble``."""
        with self.turns.turn():
            return assemble(self.base, self.pool, task, items, options=options, user=user, on_position=on_position)

    def adapter(self, assembly: Assembly, rank: int | None = None) -> Adapter:
        """A person as an adapter that peft reads; see ``perpcs.assembly.export``.

        Raises:
            PerpcsError: when the person belongs to another pool, or cannot be exported.
        """
        self.check(assembly)
        with self.turns.turn():
            return make_adapter(self.base, self.pool, assembly, rank)

    def export(self, assembly: Assembly, folder: Path, rank: int | None = None) -> Adapter:
        """The same, written to a folder; it is made if it is not there.

        Raises:
            PerpcsError: as above, or when the folder lies inside the pool or cannot be written.
        """
        refuse_inside(self.pool, folder)
        made = self.adapter(assembly, rank)
        made.save(folder)
        return made

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
        """Answer one query by several methods in one batch; yields a snapshot a token, the last with all done.

        Raises:
            PerpcsError: for an unknown method, or one that lacks what it needs.
        """
        if assembly is not None:
            self.check(assembly)
        person = Person(task, history, assembly)
        answers: list[Answer] = []
        rows: list[Row] = []
        for name in methods:
            method = get_method(name)
            began = time.perf_counter()
            row = method.prepare(person, query)
            rows.append(row)
            answers.append(
                Answer(
                    method=name,
                    title=method.title,
                    prompt=row.prompt,
                    prepare_seconds=time.perf_counter()
                    - began
                    + (assembly.seconds if assembly and row.weights is not None else 0),
                    retrieved=row.retrieved,
                    bytes_stored=row.bytes_stored,
                    text_leaves=row.text_leaves,
                )
            )
        return self._decode(task, rows, answers, max_new_tokens or task.max_new_tokens, temperature, seed)

    def _decode(
        self, task: Task, rows: list[Row], answers: list[Answer], room: int, temperature: float, seed: int
    ) -> Iterator[tuple[Answer, ...]]:
        base = self.base
        began = time.perf_counter()
        weights = self._weights(rows)
        pieces = self.pool.pieces(task.name, base.device, base.dtype).pieces
        updates = self._updates(pieces, weights, rows)
        prompts = [encode_prompt(base.tokenizer, row.prompt, base.max_tokens, room) for row in rows]
        steps = decode(base, prompts, fixed(updates), max_new_tokens=room, temperature=temperature, seed=seed)
        previous: list[list[int]] = [[] for _ in rows]
        while True:
            with self.turns.turn():
                now = next(steps, None)
            seconds = time.perf_counter() - began
            if now is None:
                break
            for index, ids in enumerate(now):
                old = answers[index]
                if old.done:
                    continue
                ended = len(ids) == len(previous[index])  # no new token: end of text
                answers[index] = replace(
                    old,
                    text=text_of(base, ids),
                    tokens=len(ids),
                    done=ended,
                    seconds=seconds,
                    first_token_seconds=seconds if old.first_token_seconds is None else old.first_token_seconds,
                )
            previous = now
            yield tuple(answers)
        labels: list[dict[str, float]] = [{} for _ in rows]
        if task.labels:
            with self.turns.turn():
                shares = label_log_probs(base, [row.prompt for row in rows], task.labels, updates).exp().tolist()
            labels = [dict(zip(task.labels, share, strict=True)) for share in shares]
        yield tuple(
            replace(answer, done=True, valid=not task.labels or answer.text in task.labels, labels=share)
            for answer, share in zip(answers, labels, strict=True)
        )

    def _updates(self, pieces: Pieces, weights: torch.Tensor, rows: Sequence[Row]) -> list[Updates]:
        """What every position adds for the rows: shared pieces, and pieces of their own."""
        own = [None if row.own is None else own_piece(row.own, self.base.positions) for row in rows]
        shared: list[Updates] = [pieces.shared(p, weights[:, p]) for p in range(len(pieces))]
        return together(shared, own_updates(own, self.base.device, self.base.dtype))

    def _weights(self, rows: Sequence[Row]) -> torch.Tensor:
        """Weights of a batch, (b, P, S); zeros where a row answers with the base model."""
        sharers = max((row.weights.shape[1] for row in rows if row.weights is not None), default=1)
        dense = np.zeros((len(rows), len(self.base.positions), sharers), dtype=np.float32)
        for index, row in enumerate(rows):
            if row.weights is not None:
                dense[index] = row.weights
        return torch.from_numpy(dense).to(self.base.device, self.base.dtype)
