"""What a base model is adapted on: base users' items, with and without retrieved history and a profile.

A history item or a profile that stands in a prompt must help, or RAG and PAG are no honest baselines; so a share of the
prompts carry what BM25 retrieves from the writer's strictly earlier history, or counts over it. Base users' queries are
learned from too: where the history is free text, only they show what is asked.
"""

import random
from collections.abc import Sequence

from perpcs.data.bm25 import retrieve
from perpcs.data.profile import statistics
from perpcs.model.text import Lesson
from perpcs.tasks import Item, Query, Task, User

RETRIEVED = (1, 1, 2, 4)
"""How many items a prompt with history carries: one of these, equally likely."""
LABEL_WEIGHT = 4
"""How much a token of a label counts beside one of a text: a label has few of them, and one of these decides."""
_WHICH = "Which of the two references does this researcher cite? Answer with its title."
_WHERE = "Which number has the reference {title}? Answer with its number only."
_FEWEST_TO_COUNT = 4  # a profile of fewer items says next to nothing


def base_lessons(
    task: Task,
    users: Sequence[User],
    *,
    with_history: float = 0.4,
    with_profile: float = 0.0,
    open_book: float = 0.0,
    pointing: float = 0.0,
    seed: int = 0,
) -> list[Lesson]:
    """Lessons from base users' histories and queries.

    Args:
        with_history: share of prompts that carry retrieved, strictly earlier items.
        with_profile: share of prompts that carry a profile of strictly earlier items, drawn apart from the other.
        open_book: share of prompts for a label whose history holds the very item asked about. From these a model that
            starts from nothing learns to look up, before it can tell what else a like item says.
        pointing: share of choices that are asked in two halves instead: which text, and which number a text has. A
            number says one bit of two things at once, from which a small model learns neither.
    """
    lessons = []
    for user in users:
        rng, looks = (random.Random(f"{seed}/{task.name}/{user.id}{what}") for what in ("", "/open book"))
        for index, item in enumerate(user.history):
            sought = task.as_query(item).sought
            shown, profile = _about(task, rng, sought, user.history[:index], with_history, with_profile)
            if item.y is None:
                shown, profile = [], ""  # free text is learned as it is
            elif task.labels and looks.random() < open_book:
                shown = [*shown[1:], item]
                looks.shuffle(shown)
            if item.other and looks.random() < pointing:
                lessons.append(_pointing(task, task.as_query(item), looks))
            else:
                lessons.append(_lesson(task, *task.pair(item, history=shown, profile=profile), shown))
        for query in user.queries:
            if query.gold is not None:
                shown, profile = _about(task, rng, query.sought, user.history, with_history, with_profile)
                lessons.append(_lesson(task, task.prompt(query, shown, profile), f" {query.gold}", shown))
    return lessons


def _about(
    task: Task, rng: random.Random, sought: str, earlier: Sequence[Item], with_history: float, with_profile: float
) -> tuple[list[Item], str]:
    """What a prompt says of the person: retrieved items and a profile, each perhaps empty."""
    shows, tells, k = rng.random() < with_history, rng.random() < with_profile, rng.choice(RETRIEVED)
    shown = retrieve(sought, earlier, k) if shows and earlier else []
    return shown, statistics(task, earlier) if tells and len(earlier) >= _FEWEST_TO_COUNT else ""


def _pointing(task: Task, query: Query, rng: random.Random) -> Lesson:
    """Half of a choice: the text that is chosen, or the number of one of the texts."""
    if rng.random() < 0.5:
        chosen = query.options[task.labels.index(query.gold or "")]
        return Lesson(task.prompt(query, instruction=_WHICH), f" {chosen}")
    label, title = rng.choice(list(zip(task.labels, query.options, strict=True)))
    return Lesson(task.prompt(query, instruction=_WHERE.format(title=title)), f" {label}", (), LABEL_WEIGHT)


def prompt_about(task: Task, query: Query, history: Sequence[Item], shows: int = 0, tells: bool = False) -> str:
    """A query with so many retrieved items of a history, and its profile where asked."""
    return task.prompt(query, retrieve(query.sought, history, shows), statistics(task, history) if tells else "")


def _lesson(task: Task, prompt: str, target: str, shown: Sequence[Item]) -> Lesson:
    spans, at = [], 0
    for item in shown:
        rendered = task.render_item(item)
        found = prompt.find(rendered, at)
        at = found + len(rendered)
        if found >= 0 and not task.history_instruction:  # a cited title is not what a query asks for
            length = len(item.x) if item.y is None else len(item.y)
            spans.append((at - length - 1, at))
    return Lesson(prompt, target, tuple(spans), LABEL_WEIGHT if task.labels else 1)
