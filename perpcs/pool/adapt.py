"""What a base model is adapted on: base users' items, with and without retrieved history and a profile.

A history item or a profile that stands in a prompt must help, or RAG and PAG are no honest baselines; so a share of the
prompts carry what BM25 retrieves from the writer's strictly earlier history, or counts over it. Base users' queries are
learned from too: where the history is free text, only they show what is asked.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from perpcs.data.bm25 import retrieve
from perpcs.data.profile import statistics
from perpcs.model.text import Lesson
from perpcs.pool.unheard import unheard_item, unheard_query
from perpcs.tasks import Item, Query, Task, User

Notes = tuple[tuple[str, str], ...]
"""(which of a query's options is spoken of, or "" for the text that is given; what it says)."""
RETRIEVED = (1, 1, 2, 4)
"""How many items a prompt with history carries: one of these, equally likely."""
RETRIEVED_FOR_LABELS = (1, 2, 4, 4)
"""The same where the answer is a label: one item tells little of what decides between several."""
LABEL_WEIGHT = 4
"""How much a token of a label counts beside one of a text or a note: a label has few, and one of these decides."""
_NOTES = " Notes:"
_MARKED = 0.7
"""How likely a text is marked in a lesson with marks."""
_CAPITALS = 0.7
"""How likely those lessons are in capitals; else they are in small letters."""
_CAMEL = re.compile(r"[a-z][A-Z]")
_MARK = re.compile(r" \{[^{}]*\}")
_SHORT = 3  # letters; no word as short says what a text is about
_FEWEST_TO_COUNT = 4  # a profile of fewer items says next to nothing


@dataclass(frozen=True)
class Shares:
    """What share of lessons is of which sort, each drawn apart from the others, and how much labels count."""

    with_history: float = 0.4
    """Prompts that carry retrieved, strictly earlier items."""
    with_profile: float = 0.0
    """Prompts that carry a profile of strictly earlier items."""
    open_book: float = 0.0
    """Prompts for a label whose history holds the very item asked about. From these a model that starts from nothing
    learns to look up, before it can tell what else a like item says."""
    strange: float = 0.0
    """Prompts for a label where what is known of the world does not help, so that a small model learns to look at what
    a prompt shows; with true labels alone it reads the text and never does. All show up to four items. Among them is in
    one half the very item asked about, all labels drawn at random, so that it has to be found; in the others every
    label stands in the place of another (of a choice all are of the first sort)."""
    taste: float = 0.0
    """Prompts for a choice in which a taste drawn at random decides, for the items shown and the one asked about alike.
    One of those shown, at least, leaves the same choice. Looking up what was chosen there is a step that a model does
    not find by itself: of the very item it can go by every word, here only by those that say what fits."""
    alone: float = 0.0
    """How many of these two sorts show that item and nothing else: the first step, before it has to be found among
    others."""
    named: float = 0.0
    """Prompts for a choice that show nothing and name, in the place of a profile, what of the two is chosen, drawn at
    random, or name nothing and ask for the one that fits (``misfits``). Which of two texts is the one that is spoken of
    is the first step of every choice. A small model takes it where nothing else decides, and without it learns nothing
    by taste."""
    misfits: float = 0.4
    """How often in these, where both of the two fit, one gives way to one of another of the writer's items, nothing is
    named and the one that fits is chosen; where one does not fit it always does."""
    told: float = 0.0
    """Prompts that tell, in the place of a profile, how the person decides. What somebody's items say of the next is
    learned in two steps then: how a manner decides, which such a prompt shows plainly, and what a manner is seen by."""
    marks: float = 0.0
    """Lessons in which notes stand within the prompt too, right behind most of the texts that they speak of: of the
    items shown and of what is asked. To write them there a text must be read before the answer is due, and what it says
    is then at hand at its end, written or not. No prompt of a method ever shows them."""
    label_weight: int = LABEL_WEIGHT
    """How much a token of a label counts beside one of a text or a note."""
    unheard: float = 0.0
    """Prompts for a text whose words are partly ones that nobody has heard (perpcs/pool/unheard.py)."""
    recased: float = 0.0
    """Prompts for a text that show some, all of them and the answer in capitals, or in small letters: few people write
    so, and a word in capitals is other tokens than the same word in small letters."""


@dataclass(frozen=True)
class Said:
    """What is known beside people's texts, because they were made up; empty for real ones."""

    notes: Mapping[str, Notes] = field(default_factory=dict)
    """By id of an item or a query, what its text says to anybody. It stands behind the answer and the token that ends
    it, where no answer ever shows it: a label says one bit of everything that a text says, from which a small model
    would hardly learn to read."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """By id of an item, what its text and its answer together say of the writer. It is marked behind shown items."""
    manners: Mapping[str, str] = field(default_factory=dict)
    """By id of a user, how they decide in a few words."""
    last: str = ""
    """How a note on an option ends which nobody prefers to one without."""
    end: str = ""
    """The text of the token that ends an answer."""


def base_lessons(
    task: Task,
    users: Sequence[User],
    shares: Shares = Shares(),
    said: Said = Said(),
    seed: int = 0,
    labels: Sequence[str] = (),
    all_drawn: bool = False,
) -> list[Lesson]:
    """Lessons from base users' histories and queries; a user's depend on them and the seed alone.

    Args:
        all_drawn: only those that the prompt alone decides (strange, by taste, named), and none of the writer's own.
        labels: what strange lessons draw labels from; () = the task's own.
    """
    lessons: list[Lesson] = []
    for user in users:
        writer = _Writer(task, user, shares, said, seed, labels or task.labels)
        if all_drawn:
            lessons += filter(None, map(writer.drawn, range(len(user.history))))
            continue
        lessons += [writer.of_item(index) for index in range(len(user.history))]
        lessons += [writer.of_query(query) for query in user.queries if query.gold is not None]
    return lessons


class _Writer:
    """Writes the lessons of one user, item after item."""

    def __init__(self, task: Task, user: User, shares: Shares, said: Said, seed: int, labels: Sequence[str]) -> None:
        self.task, self.user, self.shares, self.said, self.labels = task, user, shares, said, labels
        self.manner = said.manners.get(user.id, "")
        self.rng, self.looks, self.writes, self.tells, self.turns, self.hears, self.tastes, self.shouts, self.names = (
            random.Random(f"{seed}/{task.name}/{user.id}{what}")
            for what in ("", "/open book", "/marks", "/told", "/strange", "/unheard", "/taste", "/recased", "/named")
        )

    def of_item(self, index: int) -> Lesson:
        """What somebody made of an item, as they are known before it."""
        task, item, earlier = self.task, self.user.history[index], self.user.history[:index]
        shown, profile = self._about(task.as_query(item).sought, earlier)
        if item.y is None:
            shown, profile = [], ""  # free text is learned as it is
        elif task.labels and self.looks.random() < self.shares.open_book:
            shown = [*shown[1:], item]
            self.looks.shuffle(shown)
        if lesson := self.drawn(index):
            return lesson
        if self._is_unheard():
            item, shown = unheard_item(self.hears, item), [unheard_item(self.hears, one) for one in shown]
        if casing := self._casing(shown):
            item, *shown = (_recased(one, casing) for one in (item, *shown))
        return self._written(item, shown, "" if casing else profile)

    def drawn(self, index: int) -> Lesson | None:
        """What is asked of an item in one of the lessons that the prompt alone decides, where it falls to one."""
        task, shares, item, earlier = self.task, self.shares, self.user.history[index], self.user.history[:index]
        if task.has_options and self.names.random() < shares.named and (lesson := self._named(item)):
            return lesson
        if task.labels and self.turns.random() < shares.strange:
            item, shown = self._strange(item, earlier)
            return self._written(item, shown, "", own=False)
        if task.labels and self.tastes.random() < shares.taste and (items := self._by_taste(item, earlier)):
            return self._written(items[0], items[1:], "", own=False)
        return None

    def of_query(self, query: Query) -> Lesson:
        """A query's true answer, as its person is known by all of their history."""
        shown, profile = self._about(query.sought, self.user.history)
        if self._is_unheard():
            query, shown = unheard_query(self.hears, query), [unheard_item(self.hears, one) for one in shown]
        if casing := self._casing(shown):
            query = replace(query, gold=casing(query.gold or ""))
            shown = [_recased(one, casing) for one in shown]
        return self._asked(query, self.said.notes.get(query.id, ()), shown, "" if casing else profile)

    def _about(self, sought: str, earlier: Sequence[Item]) -> tuple[list[Item], str]:
        """What a prompt says of the person: retrieved items and a profile, each perhaps empty."""
        shares, rng = self.shares, self.rng
        shows, tells = rng.random() < shares.with_history, rng.random() < shares.with_profile
        k = rng.choice(RETRIEVED_FOR_LABELS if self.task.labels else RETRIEVED)
        shown = retrieve(sought, earlier, k) if shows and earlier else []
        profile = statistics(self.task, earlier) if tells and len(earlier) >= _FEWEST_TO_COUNT else ""
        if self.manner and self.tells.random() < shares.told:
            profile = f"{{{self.manner}}}"
        return shown, profile

    def _is_unheard(self) -> bool:
        return not self.task.labels and self.hears.random() < self.shares.unheard

    def _casing(self, shown: Sequence[Item]) -> Callable[[str], str] | None:
        """What is done to the texts of a lesson, where something is; a profile would say another casing."""
        if self.task.labels or not shown or self.shouts.random() >= self.shares.recased:
            return None
        return _in_capitals if self.shouts.random() < _CAPITALS else str.lower

    def _named(self, item: Item) -> Lesson | None:
        """A lesson that names which of an item's two is chosen, or in which one alone fits; None where both are alike
        or nothing is known of them.
        """
        fits, names = self._what_fits(item), self.names
        fit = [what for what in sorted(fits) if not self._goes_last(what)]
        if len(fits) < 2 or not fit:
            return None
        what = names.choice(fit)
        if len(fit) == 1 or (self.said.last and names.random() < self.shares.misfits):
            return self._misfit(item, fits[what], what)
        return self._written(self._chosen(item, [what, *fits]), [], f"{{{what}}}", own=False)

    def _misfit(self, item: Item, fit: str, what: str) -> Lesson | None:
        """A lesson in which only that one of the item's two fits; None if what is drawn for the other shares a word.

        Only those of other items teach to compare the two with what they are chosen for: where all that do not fit are
        of one sort (the town's are about problems, never about methods), a model goes by that.

        Args:
            what: the note on the one that fits.
        """
        drawn = self.names.choice(self.user.history)
        of_drawn = self.said.notes.get(drawn.id)
        if not of_drawn:
            return None
        other, kind = self.names.choice(sorted(of_drawn))
        if not _long_words(other).isdisjoint(_long_words(item.x)):
            return None
        notes = ((fit, what), (other, kind.removesuffix(self.said.last) + self.said.last))
        return self._asked(self.task.as_query(replace(item, y=fit, other=other)), notes, [], "", own=False)

    def _strange(self, item: Item, earlier: Sequence[Item]) -> tuple[Item, list[Item]]:
        """The item and what is shown of the person, where only what is shown tells the label."""
        task, turns = self.task, self.turns
        like = retrieve(task.as_query(item).sought, earlier, RETRIEVED[-1])
        if task.has_options or len(earlier) < _FEWEST_TO_COUNT or turns.random() < 0.5:
            alone = bool(self.shares.alone) and turns.random() < self.shares.alone
            item, *others = (self._relabelled(one) for one in (item, *([] if alone else like[1:])))
            shown = [item, *others]
            turns.shuffle(shown)
            return item, shown
        item, *shown = self._exchanged([item, *like])
        return item, shown

    def _relabelled(self, item: Item) -> Item:
        """The item with a label drawn at random; of a choice, perhaps with the other reference cited."""
        if not self.task.has_options:
            return replace(item, y=self.turns.choice(self.labels))
        return replace(item, y=item.other, other=item.y or "") if item.other and self.turns.random() < 0.5 else item

    def _exchanged(self, items: Sequence[Item]) -> list[Item]:
        """The items with every label in the place of another, the same for all of them."""
        own = self.task.labels
        names = dict(zip(own, self.turns.sample(self.labels, len(own)), strict=True))
        return [replace(item, y=names[item.y or ""]) for item in items]

    def _by_taste(self, item: Item, earlier: Sequence[Item]) -> list[Item]:
        """The item and what is shown, with what a taste drawn at random chooses; nothing if no earlier item leaves two
        of the same to choose from.
        """
        rng, fits = self.tastes, self._what_fits(item)
        like = [one for one in earlier if len(fits.keys() & self._what_fits(one).keys()) > 1]
        if not like:
            return []
        one = rng.choice(like)
        names = sorted({name for other in (item, *earlier) for name in self._what_fits(other)})
        rng.shuffle(names)
        if rng.random() < self.shares.alone:
            shown = [one]  # and one of what both leave is the favourite, or this one would not say enough
            names.insert(0, rng.choice(sorted(fits.keys() & self._what_fits(one).keys())))
        else:
            found = retrieve(self.task.as_query(item).sought, earlier, RETRIEVED[-1])
            shown = [one, *[other for other in found if other is not one][: rng.randint(1, RETRIEVED[-1] - 1)]]
            rng.shuffle(shown)
        names.sort(key=self._goes_last)
        return [self._chosen(other, names) for other in (item, *shown)]

    def _goes_last(self, what: str) -> bool:
        """Whether a note speaks of an option that nobody prefers."""
        return bool(self.said.last) and what.endswith(self.said.last)

    def _what_fits(self, item: Item) -> dict[str, str]:
        """What there is to choose from, as its note names it, and the answer that it stands for."""
        notes = self.said.notes.get(item.id, ())
        if self.task.has_options:
            return {what: text for text, what in notes}
        return {what: what for _, note in notes for what in note.split(", ") if what in self.task.labels}

    def _chosen(self, item: Item, names: Sequence[str]) -> Item:
        """The item with the answer that comes first in an order."""
        fits = self._what_fits(item)
        first, *others = (fits[name] for name in dict.fromkeys(names) if name in fits)
        return replace(item, y=first, other=others[0] if self.task.has_options else item.other)

    def _written(self, item: Item, shown: list[Item], profile: str, own: bool = True) -> Lesson:
        if notes := self.said.notes.get(item.id):
            return self._asked(self.task.as_query(item), notes, shown, profile, own)
        prompt, target = self.task.pair(item, history=shown, profile=profile)
        return self._lesson(prompt, target, shown if own else [])

    def _asked(self, query: Query, notes: Notes, shown: list[Item], profile: str, own: bool = True) -> Lesson:
        """A lesson on a query, with these notes, where there are some.

        Args:
            own: whether the answers shown and asked for are the writer's, or drawn ones that the prompt alone decides.
        """
        task, said = self.task, self.said
        of_shown = [said.notes.get(item.id, ()) for item in shown]
        target = f" {query.gold}" + (f"{said.end}{_NOTES} {_in_order(notes, task, query)}" if notes else "")
        shown, query = self._marked(shown, of_shown, query, notes, said.evidence if own else {})
        return self._lesson(task.prompt(query, shown, profile), target, shown if own else [], bool(notes))

    def _marked(
        self,
        shown: Sequence[Item],
        of_shown: Sequence[Notes],
        query: Query,
        notes: Notes,
        evidence: Mapping[str, str],
    ) -> tuple[list[Item], Query]:
        """The items shown and the query, with notes behind most of their texts, and evidence of the writer behind most
        of the items, in a share of lessons.

        Args:
            of_shown: the notes on each item.
            notes: those on the query.
        """
        rng = self.writes
        share = _MARKED if rng.random() < self.shares.marks else 0.0

        def mark(text: str, notes: Notes) -> str:
            said = dict(notes)
            what = said.get(text) or said.get("")
            return f"{text} {{{what}}}" if what and rng.random() < share else text

        def shows(item: Item, text: str) -> str:
            what = evidence.get(item.id)
            return f"{text} {{{what}}}" if what and rng.random() < share else text

        items = [
            replace(item, y=mark(item.y or "", notes), other=shows(item, mark(item.other, notes)))
            if item.other
            else replace(item, x=mark(item.x, notes), y=item.y and shows(item, item.y))
            for item, notes in zip(shown, of_shown, strict=True)
        ]
        if query.options:
            return items, replace(query, options=tuple(mark(option, notes) for option in query.options))
        return items, replace(query, x=mark(query.x, notes))

    def _lesson(self, prompt: str, target: str, shown: Sequence[Item], noted: bool = False) -> Lesson:
        """A lesson with where the answers of shown items stand in it, and marks where there may be some.

        Args:
            shown: the items whose answers are learned too.
        """
        task, end, spans, at = self.task, self.said.end, [], 0
        for item in shown:
            rendered = task.render_item(item)
            found = prompt.find(rendered, at)
            at = found + len(rendered)
            if found >= 0 and not task.history_instruction:  # a cited title is not what a query asks for
                length = len(item.x) if item.y is None else len(item.y)
                spans.append((at - length - 1, at))
        asides = [mark.span() for mark in _MARK.finditer(prompt)] if noted else []
        # What an item says of its writer stands behind its label, which is then no label any more.
        spans = [(low, min([high, *(a for a, _ in asides if a > low)])) for low, high in spans]
        answer = target.find(end) + len(end) if noted and end else len(target)
        if answer < len(target):
            asides.append((len(prompt) + answer, len(prompt) + len(target)))
        return Lesson(prompt, target, tuple(spans), self.shares.label_weight if task.labels else 1, tuple(asides))


def _long_words(text: str) -> set[str]:
    """What a text may be about."""
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > _SHORT}


def _in_capitals(text: str) -> str:
    """The text in capitals, but for names with capitals inside, which stay as they are."""
    return " ".join(word if _CAMEL.search(word) else word.upper() for word in text.split(" "))


def _recased(item: Item, casing: Callable[[str], str]) -> Item:
    """The item with what its person wrote in another casing."""
    return replace(item, x=casing(item.x)) if item.y is None else replace(item, y=casing(item.y))


def _in_order(notes: Notes, task: Task, query: Query) -> str:
    """Notes as text, those on options under the options' labels."""
    if not query.options:
        return "; ".join(what for _, what in notes)
    by_text = dict(notes)
    return "; ".join(f"{label} {by_text[text]}" for label, text in zip(task.labels, query.options, strict=True))


def prompt_about(task: Task, query: Query, history: Sequence[Item], shows: int = 0, tells: bool = False) -> str:
    """A query with so many retrieved items of a history, and its profile where asked."""
    return task.prompt(query, retrieve(query.sought, history, shows), statistics(task, history) if tells else "")
