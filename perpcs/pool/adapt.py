"""What a base model is adapted on: base users' items, with and without retrieved history and a profile.

A history item or a profile that stands in a prompt must help, or RAG and PAG are no honest baselines; so a share of the
prompts carry what BM25 retrieves from the writer's strictly earlier history, or counts over it. Base users' queries are
learned from too: where the history is free text, only they show what is asked.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from perpcs.data.bm25 import retrieve
from perpcs.data.profile import statistics
from perpcs.model.text import Lesson
from perpcs.tasks import Item, Query, Task, User

Notes = tuple[tuple[str, str], ...]
"""(which of a query's options is spoken of, or "" for the text that is given; what it says)."""
RETRIEVED = (1, 1, 2, 4)
"""How many items a prompt with history carries: one of these, equally likely."""
LABEL_WEIGHT = 4
"""How much a token of a label counts beside one of a text: a label has few of them, and one of these decides."""
_NOTES = " Notes:"
_MARKED = 0.7
"""How likely a text is marked in a lesson with marks."""
_MARK = re.compile(r" \{[^{}]*\}")
_FEWEST_TO_COUNT = 4  # a profile of fewer items says next to nothing


def base_lessons(
    task: Task,
    users: Sequence[User],
    *,
    with_history: float = 0.4,
    with_profile: float = 0.0,
    open_book: float = 0.0,
    notes: Mapping[str, Notes] | None = None,
    marks: float = 0.0,
    end: str = "",
    seed: int = 0,
) -> list[Lesson]:
    """Lessons from base users' histories and queries.

    Args:
        with_history: share of prompts that carry retrieved, strictly earlier items.
        with_profile: share of prompts that carry a profile of strictly earlier items, drawn apart from the other.
        open_book: share of prompts for a label whose history holds the very item asked about. From these a model that
            starts from nothing learns to look up, before it can tell what else a like item says.
        notes: by id of an item or a query, what its text says to anybody. They stand behind the answer and the token
            that ends it, where no answer ever shows them: a label says one bit of everything that a text says, from
            which a small model would hardly learn to read.
        marks: share of lessons in which notes stand within the prompt too, right behind most of the texts that they
            speak of: of the items shown and of what is asked. To write them there a text must be read before the answer
            is due, and what it says is then at hand at its end, written or not. No prompt of a method ever shows them.
        end: the text of the token that ends an answer.
    """
    lessons, notes = [], notes or {}

    def behind(id: str, query: Query) -> str:
        said = notes.get(id)
        return f"{end}{_NOTES} {_in_order(said, task, query)}" if said else ""

    for user in users:
        rng, looks, writes = (
            random.Random(f"{seed}/{task.name}/{user.id}{what}") for what in ("", "/open book", "/marks")
        )

        for index, item in enumerate(user.history):
            sought = task.as_query(item).sought
            shown, profile = _about(task, rng, sought, user.history[:index], with_history, with_profile)
            if item.y is None:
                shown, profile = [], ""  # free text is learned as it is
            elif task.labels and looks.random() < open_book:
                shown = [*shown[1:], item]
                looks.shuffle(shown)
            noted = bool(notes.get(item.id))
            if noted:
                query = task.as_query(item)
                target = f" {query.gold}" + behind(item.id, query)
                shown, query = _marked(shown, query, item.id, notes, marks, writes)
                prompt = task.prompt(query, shown, profile)
            else:
                prompt, target = task.pair(item, history=shown, profile=profile)
            lessons.append(_lesson(task, prompt, target, shown, noted))
        for query in user.queries:
            if query.gold is not None:
                shown, profile = _about(task, rng, query.sought, user.history, with_history, with_profile)
                target = f" {query.gold}" + behind(query.id, query)
                noted = bool(notes.get(query.id))
                shown, query = _marked(shown, query, query.id, notes, marks, writes)
                lessons.append(_lesson(task, task.prompt(query, shown, profile), target, shown, noted))
    return lessons


def _about(
    task: Task, rng: random.Random, sought: str, earlier: Sequence[Item], with_history: float, with_profile: float
) -> tuple[list[Item], str]:
    """What a prompt says of the person: retrieved items and a profile, each perhaps empty."""
    shows, tells, k = rng.random() < with_history, rng.random() < with_profile, rng.choice(RETRIEVED)
    shown = retrieve(sought, earlier, k) if shows and earlier else []
    return shown, statistics(task, earlier) if tells and len(earlier) >= _FEWEST_TO_COUNT else ""


def _marked(
    shown: Sequence[Item], query: Query, id: str, notes: Mapping[str, Notes], marks: float, rng: random.Random
) -> tuple[list[Item], Query]:
    """The items shown and the query of that id, with notes behind most of their texts in a share of lessons."""
    share = _MARKED if rng.random() < marks else 0.0

    def mark(text: str, id: str) -> str:
        said = dict(notes.get(id, ()))
        what = said.get(text) or said.get("")
        return f"{text} {{{what}}}" if what and rng.random() < share else text

    items = [
        replace(item, y=mark(item.y or "", item.id), other=mark(item.other, item.id))
        if item.other
        else replace(item, x=mark(item.x, item.id))
        for item in shown
    ]
    if query.options:
        return items, replace(query, options=tuple(mark(option, id) for option in query.options))
    return items, replace(query, x=mark(query.x, id))


def _in_order(notes: Notes, task: Task, query: Query) -> str:
    """Notes as text, those on options under the options' labels."""
    if not query.options:
        return "; ".join(what for _, what in notes)
    by_text = dict(notes)
    return "; ".join(f"{label} {by_text[text]}" for label, text in zip(task.labels, query.options, strict=True))


def prompt_about(task: Task, query: Query, history: Sequence[Item], shows: int = 0, tells: bool = False) -> str:
    """A query with so many retrieved items of a history, and its profile where asked."""
    return task.prompt(query, retrieve(query.sought, history, shows), statistics(task, history) if tells else "")


def _lesson(task: Task, prompt: str, target: str, shown: Sequence[Item], noted: bool) -> Lesson:
    """A lesson with where the answers of shown items stand in it, and marks where there may be some."""
    spans, at = [], 0
    for item in shown:
        rendered = task.render_item(item)
        found = prompt.find(rendered, at)
        at = found + len(rendered)
        if found >= 0 and not task.history_instruction:  # a cited title is not what a query asks for
            length = len(item.x) if item.y is None else len(item.y)
            spans.append((at - length - 1, at))
    if noted:
        spans = sorted([*spans, *(mark.span() for mark in _MARK.finditer(prompt))])
    return Lesson(prompt, target, tuple(spans), LABEL_WEIGHT if task.labels else 1)
