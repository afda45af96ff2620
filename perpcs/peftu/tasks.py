"""The thirteen tasks of PEFT-U (arXiv 2407.18078) and one of the small town, as data.

A task is a question about a text to which different people rightly give different answers: its labels, the words that
stand for them in a prompt, what is asked, and whether several labels may hold at once. Names and labels are those of
the benchmark's public files; the questions and words are ours.

The first token of each label's word must differ from that of every other. Then the likelihood of a label among the
labels is a softmax over these first tokens, and one forward pass scores them all.

PEFT-U's files, read strictly, and the division of their people.

    {user: {"train" | "val" | "test": {id: {"text": str, "label": [str, ...]}}}}

Whoever is measured is not among those on whom rates are searched. Nobody is trained on a text on which somebody else is
measured: in the benchmark's files the same text may be one person's training text and another's test text.

A task of PEFT-U's kind whose truth is known: customers of the small town judge the same reviews.

A review tells how good a thing is in some aspects. A customer weighs the aspects and marks harshly or generously, so
one review is rightly good to one and bad to another (perpcs/data/smalltown/ratings.py). One judgement in ten goes
against the customer's traits; those of test texts are kept beside what the traits say.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from perpcs.data.smalltown import ratings
from perpcs.errors import PerpcsError, unknown

# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PeftTask:
    """One task."""

    name: str
    """The name of its file, without ``.json``."""
    title: str
    asks: str
    """What is said before the text."""
    ends: str
    """What stands between the text and the answer."""
    words: Mapping[str, str]
    """Each label, and the word that stands for it."""
    several: bool = False
    """Whether several labels may hold."""
    version: int = 1

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.words)

    @property
    def metric(self) -> str:
        """What accuracy means."""
        return (
            "mean over texts of the labels both named over the labels either named"
            if self.several
            else "share of texts with the right label"
        )

    def before(self) -> str:
        """The prompt up to the text."""
        said = ", ".join(self.words.values())
        return f"{self.asks} Possible answers: {said}.\n\nText: "

    def after(self) -> str:
        """The prompt from the end of the text to the answer, which follows with a space."""
        return f"\n\n{self.ends}"


def _same(*labels: str) -> dict[str, str]:
    return {label: label for label in labels}


_EMOTIONS = "Question: which emotions did the reader feel?\nAnswer:"
_HATE = {"Hateful": "hateful", "Non-hateful": "fine"}
_FEELING = {
    "veryNegative": "terrible",
    "negative": "negative",
    "somewhatNegative": "doubtful",
    "neutral": "neutral",
    "somewhatPositive": "fair",
    "positive": "positive",
    "veryPositive": "excellent",
}
TASKS: dict[str, PeftTask] = {
    task.name: task
    for task in (
        PeftTask(
            "hatexplain",
            "HateXplain",
            "How does this reader judge the post?",
            "Question: what is this post to the reader?\nAnswer:",
            {"hatespeech": "hate", "offensive": "offensive", "normal": "normal"},
        ),
        PeftTask(
            "gabhate",
            "GabHate",
            "Does this reader find the post hateful?",
            "Question: is the post hateful or fine to the reader?\nAnswer:",
            _HATE,
        ),
        PeftTask(
            "measuringhatespeech",
            "Measuring Hate Speech",
            "How much hate speech does this reader find in the post?",
            "Question: how much hate speech is in it?\nAnswer:",
            {"0": "none", "1": "some", "2": "much"},
        ),
        PeftTask(
            "tweeteval",
            "TweetEval",
            "Does this reader find the tweet hateful?",
            "Question: is the tweet hateful or fine to the reader?\nAnswer:",
            _HATE,
        ),
        PeftTask(
            "unhealthyconversations",
            "Unhealthy Conversations",
            "Does this reader find the comment healthy for a conversation?",
            "Question: is the comment healthy or harmful to the reader?\nAnswer:",
            {"healthy": "healthy", "unhealthy": "harmful"},
        ),
        PeftTask(
            "wikidetox",
            "WikiDetox",
            "Does this reader find the comment aggressive?",
            "Question: is the comment aggressive or normal to the reader?\nAnswer:",
            {"Aggressive": "aggressive", "Normal": "normal"},
        ),
        PeftTask(
            "goemotion",
            "GoEmotions",
            "Which emotions does this reader see in the comment?",
            "Question: which emotions are in the comment?\nAnswer:",
            _same("anger", "disgust", "fear", "joy", "sadness", "surprise"),
            several=True,
        ),
        PeftTask(
            "studemo",
            "StudEmo",
            "Which emotions does this reader feel when reading the text?",
            _EMOTIONS,
            _same("anger", "anticipation", "disgust", "fear", "joy", "neutral", "sadness", "surprise", "trust"),
            several=True,
        ),
        PeftTask(
            "cockamamie",
            "Cockamamie Gobbledegook",
            "Does this reader find the word funny?",
            "Question: is it funny?\nAnswer:",
            _same("no", "yes"),
        ),
        PeftTask(
            "epic",
            "EPIC",
            "Does this reader find the reply ironic?",
            "Question: is the reply ironic or literal?\nAnswer:",
            {"Ironic": "ironic", "Non-ironic": "literal"},
        ),
        PeftTask(
            "subjectivediscourse_response",
            "Subjective Discourse: response",
            "How does this reader see a witness answer a question?",
            "Question: what does the witness do?\nAnswer:",
            {
                "answer": "answer",
                "answer_overans-sway": "persuade",
                "shift-dodge": "dodge",
                "shift-correct": "correct",
                "cant-answer-sincere": "unable",
                "cant-answer-lying": "lie",
            },
        ),
        PeftTask(
            "subjectivediscourse_question_sentiment",
            "Subjective Discourse: question sentiment",
            "How does this reader feel about those who ask?",
            "Question: what does the reader feel about them?\nAnswer:",
            _FEELING,
        ),
        PeftTask(
            "subjectivediscourse_response_sentiment",
            "Subjective Discourse: response sentiment",
            "How does this reader feel about the witness?",
            "Question: what does the reader feel about the witness?\nAnswer:",
            _FEELING,
        ),
        PeftTask(
            "smalltown",
            "Small town: what a customer makes of a review",
            "How does this reader judge the thing that the review is about?",
            "Question: what does the reader think of it?\nAnswer:",
            {"bad": "bad", "fair": "fair", "good": "good"},
        ),
    )
}
PUBLISHED_TASKS = tuple(name for name in TASKS if name != "smalltown")
"""Those of the benchmark."""


def get_peft_task(name: str) -> PeftTask:
    """The task of a name.

    Raises:
        PerpcsError: for an unknown one.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


# ---- people ----------------------------------------------------------------------------------------------------------


SPLITS = ("train", "val", "test")
_SHAPE = 'Give a file {user: {"train" | "val" | "test": {id: {"text": ..., "label": [...]}}}}.'


@dataclass(frozen=True)
class Judged:
    """A text and how one person judged it."""

    text: str
    labels: tuple[str, ...]
    """In the task's order; several where the task allows it."""


@dataclass(frozen=True)
class Reader:
    """One person of a file."""

    id: str
    train: tuple[Judged, ...]
    val: tuple[Judged, ...]
    test: tuple[Judged, ...]
    truth: tuple[str, ...] = ()
    """Of each test text, what the person's traits say; empty where nobody knows."""


def read_readers(path: Path, task: PeftTask) -> list[Reader]:
    """The people of a task's file, in its order.

    Raises:
        PerpcsError: when the file is missing, is not JSON, or has another shape or other labels than the task.
    """
    try:
        data = json.loads(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise PerpcsError(
            f"There is no {Path(path).name}.", f"Name a folder that holds it with --data; {task.title} needs it."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise PerpcsError(f"{Path(path).name} is not a JSON file.", _SHAPE) from error
    if not isinstance(data, dict) or not data:
        raise PerpcsError(f"{Path(path).name} holds no people.", _SHAPE)
    return [_reader(Path(path).name, str(id), person, task) for id, person in data.items()]


def _reader(file: str, id: str, person: Any, task: PeftTask) -> Reader:
    if not isinstance(person, dict) or set(person) - set(SPLITS) or "train" not in person:
        raise PerpcsError(f"{file}: user {id!r} does not have the parts train, val and test.", _SHAPE)
    parts = {split: _judged(f"{file}: user {id!r}, {split}", person.get(split, {}), task) for split in SPLITS}
    seen: set[str] = set()
    for split in SPLITS:
        again = seen & {one.text for one in parts[split]}
        if again:
            raise PerpcsError(
                f"{file}: user {id!r} has the same text in two parts.", "Put each text of a person into one part."
            )
        seen |= {one.text for one in parts[split]}
    return Reader(id, parts["train"], parts["val"], parts["test"])


def _judged(where: str, part: Any, task: PeftTask) -> tuple[Judged, ...]:
    if not isinstance(part, dict):
        raise PerpcsError(f"{where} is not a mapping of ids to texts.", _SHAPE)
    found = []
    for id, one in part.items():
        fits = isinstance(one, dict) and set(one) == {"text", "label"} and isinstance(one["text"], str)
        if not fits or not one["text"].strip():
            raise PerpcsError(f"{where}, id {id!r} does not have exactly a text and a list of labels.", _SHAPE)
        labels = one["label"]
        if not isinstance(labels, list) or not labels or any(label not in task.words for label in labels):
            raise PerpcsError(
                f"{where}, id {id!r} has labels that {task.title} does not know.",
                f"Its labels are {', '.join(task.labels)}.",
            )
        if len(set(labels)) != len(labels) or (len(labels) > 1 and not task.several):
            raise PerpcsError(
                f"{where}, id {id!r} has {len(labels)} labels.",
                "Name each label once." if task.several else f"{task.title} allows one label a text.",
            )
        found.append(Judged(one["text"], tuple(label for label in task.labels if label in labels)))
    return tuple(found)


@dataclass(frozen=True)
class Division:
    """The people of a task in their parts, cut to a stated size."""

    measured: tuple[Reader, ...]
    """Whose test texts are scored."""
    search: tuple[Reader, ...]
    """On whom rates and thresholds are searched; never scored."""
    dropped: int
    """Training and validation texts left out because somebody else is measured on them."""

    @property
    def everybody(self) -> tuple[Reader, ...]:
        return (*self.measured, *self.search)


def divide(
    readers: Sequence[Reader],
    *,
    measured: int,
    search: int,
    train: int,
    val: int,
    test: int,
    fewest: int = 12,
    seed: int = 0,
) -> Division:
    """Draw who is measured and who is searched on, and at most so many texts of each part of each.

    Args:
        fewest: people with fewer training texts left are passed over.

    Raises:
        PerpcsError: when there are too few people for both.
    """
    order = np.random.default_rng(seed).permutation(len(readers))
    drawn = [_cut(readers[i], train, val, test, seed + 1 + int(i)) for i in order]
    # The search people come first, so that asking for more measured people does not change them.
    chosen = [one for one in drawn if len(one.train) >= min(fewest, train) and one.val and one.test]
    if len(chosen) < search + 2:
        raise PerpcsError(
            f"Only {len(chosen)} people have {fewest} training texts or more, and texts to test.",
            "Give a file with more people.",
        )
    some, tested = chosen[:search], chosen[search : search + measured]
    texts = {one.text for person in tested for one in person.test}
    before = sum(len(one.train) + len(one.val) for one in (*some, *tested))
    some, tested = (
        [left for one in people if (left := _without(one, texts)).train and left.val] for people in (some, tested)
    )
    if not some or len(tested) < 2:
        raise PerpcsError("Too few people have texts that nobody is tested on.", "Give a file with more texts.")
    after = sum(len(one.train) + len(one.val) for one in (*some, *tested))
    return Division(tuple(tested), tuple(some), before - after)


def _cut(reader: Reader, train: int, val: int, test: int, seed: int) -> Reader:
    random = np.random.default_rng(seed)
    parts: dict[str, Any] = {}
    for split, most in (("train", train), ("val", val), ("test", test)):
        all_of_it = getattr(reader, split)
        kept = sorted(random.permutation(len(all_of_it))[:most].tolist())
        parts[split] = tuple(all_of_it[i] for i in kept)
        if split == "test" and reader.truth:
            parts["truth"] = tuple(reader.truth[i] for i in kept)
    return replace(reader, **parts)


def _without(reader: Reader, texts: set[str]) -> Reader:
    """The person without training and validation texts among ``texts``; their own test texts are in neither."""
    return replace(
        reader,
        train=tuple(one for one in reader.train if one.text not in texts),
        val=tuple(one for one in reader.val if one.text not in texts),
    )


# ---- the town --------------------------------------------------------------------------------------------------------


NOISE = 0.1
"""Probability that a judgement goes against the customer's traits."""
PARTS = {"train": 0.8, "val": 0.1, "test": 0.1}


@dataclass(frozen=True)
class Town:
    """How many people and reviews."""

    people: int = 20
    reviews: int = 400
    """Different reviews; every person judges ``each`` of them."""
    each: int = 100
    seed: int = 29


def judged(points: int) -> str:
    """A score of one to five as a label."""
    return "bad" if points <= 2 else "fair" if points == 3 else "good"


def town_readers(town: Town = Town()) -> list[Reader]:
    """The customers, each with their traits and their own draw of the same reviews."""
    rng = random.Random(town.seed)
    drawn: dict[str, dict[str, int]] = {}
    while len(drawn) < town.reviews:
        levels, text = ratings.draw_review(rng, False)
        drawn.setdefault(text, levels)
    reviews = list(drawn.items())
    labels = get_peft_task("smalltown").labels
    people = []
    for number in range(town.people):
        own = random.Random(f"{town.seed}/{number}")
        traits = ratings.draw(own)
        rows, truths = [], []
        for text, levels in own.sample(reviews, town.each):
            true = judged(ratings.score(levels, traits))
            noisy = own.random() < NOISE
            said = own.choice([label for label in labels if label != true]) if noisy else true
            rows.append(Judged(text, (said,)))
            truths.append(true)
        ends = [round(town.each * share) for share in (PARTS["train"], PARTS["train"] + PARTS["val"])]
        train, val, test = rows[: ends[0]], rows[ends[0] : ends[1]], rows[ends[1] :]
        people.append(Reader(str(number), tuple(train), tuple(val), tuple(test), tuple(truths[ends[1] :])))
    return people
