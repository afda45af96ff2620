"""What a task is: the wording of its prompts, where its fields are, what counts as an answer.

A prompt has the sections of the paper's Table 6, and a section that is empty is left out:

    ### User Profile:
    <profile>
    ### User History:
    <one rendered item a line>
    ### User Instruction:
    <instruction>
    <input label> <x> <answer label>

The target is a space and the answer, so that prompt + target is the text a person would have typed.

What a person wrote is in the same three records for every task: ``Item``, ``Query``, ``User``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from zlib import crc32

from perpcs.errors import PerpcsError

# ---- what a person wrote ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """One past item of a person's history.

    ``x`` is what was given (an article, a film's description), ``y`` what the person made of it (their headline, their
    tag). ``y`` is None where the history is free text without inputs, as in LaMP-7.
    """

    x: str
    y: str | None = None
    id: str = ""
    other: str = ""
    """What the person passed over for y, where the task is a choice between two and the history tells."""


@dataclass(frozen=True)
class Query:
    """One question to answer for a person. ``gold`` is their own answer where it is known."""

    x: str
    gold: str | None = None
    id: str = ""
    options: tuple[str, ...] = ()

    @property
    def sought(self) -> str:
        """What retrieval looks for in a history: as LaMP does, the two references of a choice, else what is given."""
        return " ".join(self.options) or self.x


@dataclass(frozen=True)
class User:
    """A person: an id, the ordered history (oldest first) and queries that all lie after it."""

    id: str
    history: tuple[Item, ...]
    queries: tuple[Query, ...] = field(default=())


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One LaMP task as data. Raise ``version`` whenever a change alters a prompt or what is read."""

    name: str
    """LaMP name, for example ``LaMP_4``; also the name of its folder on disk."""
    title: str
    """What a person reads in the app."""
    kind: Literal["label", "rating", "text"]
    """``label``: one of ``labels``; ``rating``: one of ``labels``, in order; ``text``: free text."""
    instruction: str
    input_label: str
    answer_label: str
    x_fields: tuple[str, ...]
    """Fields of a history item that hold x; those present are joined by a line break."""
    y_field: str | None
    """Field of a history item that holds y; None where the history is free text."""
    query_pattern: str
    """Regular expression over a LaMP query input; group ``x`` and, for citations, ``option1`` and ``option2``."""
    labels: tuple[str, ...] = ()
    other_labels: tuple[str, ...] = ()
    """Labels under which other data of the task come; where there are any, data may also bring labels of their own."""
    metric: str = "rouge-L"
    max_new_tokens: int = 60
    """Room for an answer: the longest that the town writes take 47 tokens of its base model."""
    history_instruction: str = ""
    """Instruction for a history item where it differs from the query's (citations)."""
    text_instruction: str = ""
    """Instruction before a history item that is free text, so that what is learned of it stands behind the same words
    as an answer; empty = nothing stands before it, as in the paper."""
    version: int = 1

    @property
    def has_options(self) -> bool:
        """Whether a query is a choice between two texts that it names."""
        return "option1" in self.query_pattern

    def with_labels(self, labels: Sequence[str]) -> "Task":
        """The task as data with other labels define it; as it is for no labels."""
        return replace(self, labels=tuple(labels), other_labels=()) if labels else self

    # ---- reading LaMP fields -------------------------------------------------------------------------------------

    def read_item(self, fields: Mapping[str, Any]) -> Item:
        """One history item from its LaMP fields.

        Raises:
            PerpcsError: when no input field is there, or the answer is missing or not one of the labels.
        """
        parts = [str(fields[name]).strip() for name in self.x_fields if str(fields.get(name) or "").strip()]
        if not parts:
            raise PerpcsError(
                f"The item has no {' or '.join(repr(name) for name in self.x_fields)}.",
                f"Give every {self.name} history item that field.",
            )
        x = "\n".join(parts)
        if self.y_field is None:
            return Item(x=x, id=str(fields.get("id", "")))
        y = str(fields.get(self.y_field) if fields.get(self.y_field) is not None else "").strip()
        if not y and self.history_instruction:  # LaMP's own citation profiles hold papers without what they cite
            return Item(x=x, id=str(fields.get("id", "")))
        if self.history_instruction and y:
            return Item(x=x, y=y, id=str(fields.get("id", "")), other=str(fields.get("other") or "").strip())
        if not y:
            raise PerpcsError(f"The item has no {self.y_field!r}.", f"Give every {self.name} history item that field.")
        return Item(x=x, y=self.read_answer(y), id=str(fields.get("id", "")))

    def read_query(self, input: str, gold: str | None = None, id: str = "") -> Query:
        """One query from LaMP's wording of it. Text that does not follow the wording is taken whole as x.

        Raises:
            PerpcsError: when the task needs options (citations) and the text holds none, or the text is empty.
        """
        match = re.search(self.query_pattern, input.strip(), flags=re.DOTALL)
        groups = match.groupdict() if match else {}
        x = (groups.get("x") or input).strip()
        options = tuple(groups[name].strip() for name in ("option1", "option2") if groups.get(name))
        if not x:
            raise PerpcsError("The query is empty.", "Type or paste the text to answer for.")
        if self.has_options and len(options) != 2:
            raise PerpcsError(
                "The query does not name its two references.",
                'Write: title "...", which reference is related? [1]: "..." [2]: "..."',
            )
        return Query(x=x, gold=gold, id=id, options=options)

    def read_answer(self, y: str) -> str:
        """The canonical spelling of an answer: labels match without regard to case, other text stays as it is.

        Raises:
            PerpcsError: when the task has labels, its history is labelled, and ``y`` is none of them.
        """
        if self.kind == "text" or not self.labels or self.history_instruction:
            return y
        by_key = {label.lower(): label for label in (*self.other_labels, *self.labels)}
        label = by_key.get(y.strip().lower())
        if label is None:
            raise PerpcsError(f"{y[:40]!r} is not a label of {self.name}.", f"Use one of: {', '.join(self.labels)}.")
        return label

    # ---- prompts -------------------------------------------------------------------------------------------------

    def prompt(self, query: Query, history: Sequence[Item] = (), profile: str = "") -> str:
        """The text before the answer, with retrieved ``history`` items and a ``profile`` where given."""
        sections = []
        if profile:
            sections.append(f"### User Profile:\n{profile}")
        if history:
            sections.append("### User History:\n" + "\n".join(self.render_item(item) for item in history))
        body = f"{self.input_label} {query.x}"
        if query.options:
            body += " Reference: " + " ".join(f"[{i}] - {option}" for i, option in enumerate(query.options, start=1))
        sections.append(f"### User Instruction:\n{self.instruction}\n{body} {self.answer_label}")
        return "\n".join(sections)

    def render_item(self, item: Item) -> str:
        """One history item as it stands in another prompt's history section."""
        if item.y is None:
            return f"{self.answer_label} {item.x}"
        if self.history_instruction:
            return f"{self.input_label} {item.x} Cites: {item.y}" + (f" rather than {item.other}" if item.other else "")
        return f"{self.input_label} {item.x} {self.answer_label} {item.y}"

    def as_query(self, item: Item) -> Query:
        """The question that a history item answers. Of a choice, the item's text decides which option comes first."""
        if not item.other:
            return Query(x=item.x, gold=item.y, id=item.id)
        options = (item.y or "", item.other)
        turned = crc32(f"{item.x}/{min(options)}/{max(options)}".encode()) % 2 == (options[0] < options[1])
        return Query(x=item.x, gold=self.labels[int(turned)], id=item.id, options=options[::-1] if turned else options)

    def pair(self, item: Item, history: Sequence[Item] = (), profile: str = "") -> tuple[str, str]:
        """A history item as (prompt, target), formatted as a query would be.

        Before free text stands the task's ``text_instruction``, or nothing. A citation whose rejected alternative is
        known is the choice that a query is; one without it names the cited paper.
        """
        if item.y is None and not self.text_instruction:
            return "", item.x
        if item.y is None:
            return f"### User Instruction:\n{self.text_instruction}\n{self.answer_label}", f" {item.x}"
        if self.history_instruction and not item.other:
            head = f"### User Instruction:\n{self.history_instruction}\n{self.input_label} {item.x} Cites:"
            return head, " " + item.y
        query = self.as_query(item)
        return self.prompt(query, history=history, profile=profile), f" {query.gold}"
