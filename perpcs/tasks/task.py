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

How somebody writes, measured in counts: casing, length, opening, end mark, emoji, hashtags and mentions.

A style is a value for each trait of one text. A person's habits are the shares of these values over their texts. Both
hold counts only, so they may leave the texts behind.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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


# ---- style -----------------------------------------------------------------------------------------------------------


Style = dict[str, str]
"""A value for each of ``TRAITS``."""

_SMALL = re.compile(r"a|an|and|as|at|but|by|for|from|in|into|is|it|nor|of|off|on|or|over|per|the|to|up|via|vs|with")
"""Words that titles do not capitalise."""
_OPENINGS = (
    (r"[\"'“‘«].*", "a quotation"),
    (r"\d.*", "a number"),
    (r"(how|why|what|when|where|who|which|whose)\b.*", "how, why or what"),
    (r"(the|a|an)", "an article"),
    (r"(i|i['’]m|my|we|our)", "I or we"),
    (r"(do|don['’]t|never|stop|meet|see|watch|here['’]s|this|these)", "a call to the reader"),
    (r"(on|for|towards?|from|with|in|after)", "on, toward or for"),
    (r"\w{3,}ing", "a verb in -ing"),
)
_EMOJI = re.compile("[\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff]")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_ENDS = {".": "a full stop", "!": "an exclamation mark", "?": "a question mark", "…": "an ellipsis"}
_LENGTHS = (
    (3, "1 to 3 words"),
    (6, "4 to 6 words"),
    (9, "7 to 9 words"),
    (13, "10 to 13 words"),
    (20, "14 to 20 words"),
)


def _casing(text: str) -> str:
    words = _WORD.findall(text)
    letters = [ch for ch in text if ch.isupper() or ch.islower()]
    if not letters:
        return "no casing"
    if not any(ch.isupper() for ch in letters):
        return "lower case"
    if len(letters) > 3 and sum(ch.isupper() for ch in letters) > 0.8 * len(letters):
        return "capital letters"
    long = [word for word in words[1:] if not _SMALL.fullmatch(word.lower())]
    if len(long) > 1 and sum(word[0].isupper() for word in long) >= 0.8 * len(long):
        return "every word with a capital"
    if any(len(word) > 3 and word.isupper() for word in words):
        return "a word in capital letters"
    return "sentence case"


def _length(text: str) -> str:
    count = len(text.split())
    return next((name for most, name in _LENGTHS if count <= most), "over 20 words")


def _opening(text: str) -> str:
    first = next(iter(text.split()), "").lower().rstrip(",:;.!?)")
    return next((name for shape, name in _OPENINGS if re.fullmatch(shape, first)), "another word")


def _ending(text: str) -> str:
    end = re.sub(r"[\s\"'”’»)]+$", "", _EMOJI.sub("", text))
    if end.endswith("..."):
        return "an ellipsis"
    return _ENDS.get(end[-1:], "no end mark")


def _inside(text: str) -> str:
    marks = [
        name
        for mark, name in ((":", "a colon"), ("?", "a question"), ("—", "a dash"), (" - ", "a dash"))
        if mark in text
    ]
    return marks[0] if marks else "no colon or dash"


def _extras(text: str) -> str:
    if _EMOJI.search(text):
        return "emoji"
    if re.search(r"(?<!\w)#\w", text):
        return "hashtags"
    return "mentions" if re.search(r"(?<!\w)@\w", text) else "no emoji or hashtags"


TRAITS: dict[str, Callable[[str], str]] = {
    "casing": _casing,
    "length": _length,
    "opens with": _opening,
    "ends with": _ending,
    "inside": _inside,
    "extras": _extras,
}
"""What is measured of a text, by name."""

PLAIN = frozenset(
    ("sentence case", "another word", "no end mark", "no colon or dash", "no emoji or hashtags", "no casing")
)
"""Values that do not stand out."""


_COMMON = {"every word with a capital": 0.2, "a full stop": 0.2, "an article": 0.1}
"""Values that many writers share stand behind rarer ones, and so does length: nine words do not make two alike."""
USUAL = 0.5
"""A value that at least this share of somebody's texts have is their habit."""
LEAST_ABOVE = 0.15
"""How much more common than with others a habit must be to set somebody apart."""


def style_of(text: str) -> Style:
    """The value of every trait of one text."""
    return {trait: measure(text.strip()) for trait, measure in TRAITS.items()}


def style_match(answer: str, gold: str) -> float:
    """The share of traits in which an answer is like the person's own text: 0 to 1."""
    ours, theirs = style_of(answer), style_of(gold)
    return sum(ours[trait] == theirs[trait] for trait in TRAITS) / len(TRAITS)


@dataclass(frozen=True)
class Habits:
    """How often each value of each trait occurs in somebody's texts."""

    texts: int
    shares: Mapping[str, Mapping[str, float]]
    """For each trait, the share of texts with each value; only values that occur."""
    words: float
    """Mean length in words."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Habits":
        """Measure somebody's texts."""
        own = [text for text in texts if text.strip()]
        styles = [style_of(text) for text in own]
        shares = {
            trait: {value: n / len(own) for value, n in Counter(style[trait] for style in styles).most_common()}
            for trait in TRAITS
            if own
        }
        return cls(len(own), shares, sum(len(text.split()) for text in own) / len(own) if own else 0.0)

    def usual(self, trait: str) -> tuple[str, float]:
        """The most common value of a trait and its share of the texts; ("", 0) without texts."""
        values = self.shares.get(trait, {})
        return max(values.items(), key=lambda pair: pair[1]) if values else ("", 0.0)

    def visible(self, others: Sequence["Habits"] = ()) -> list[tuple[str, str, float]]:
        """Traits that set this person apart, most visible first: (trait, value, share of their texts).

        A value counts if at least half of the texts have it and it is not one that nobody notices. Where others are
        given it must be more common here than with them, and the order is by how much.
        """
        found = []
        for trait in TRAITS:
            value, share = self.usual(trait)
            if share < USUAL or value in PLAIN:
                continue
            elsewhere = [other.shares.get(trait, {}).get(value, 0.0) for other in others]
            above = share - (sum(elsewhere) / len(elsewhere) if elsewhere else 0.0)
            if above < LEAST_ABOVE:
                continue
            found.append((above - (0.3 if trait == "length" else _COMMON.get(value, 0.0)), trait, value, share))
        return [(trait, value, share) for _, trait, value, share in sorted(found, key=lambda row: -row[0])]


def own_texts(task: Task, items: Iterable[Item]) -> list[str]:
    """What a person wrote themselves: the answers of a text task, the inputs of a rating; nothing elsewhere."""
    if task.kind == "text":
        return [item.y or item.x for item in items]
    return [item.x for item in items] if task.kind == "rating" else []
