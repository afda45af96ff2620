"""From the names people give their fields to the fields of a task, and from there to an item.

One table of synonyms serves the reader and the guesser of tasks. LaMP's own names come first; the others are used only
where LaMP's are absent. Names that LaMP uses for another task are no synonyms: ``abstract`` is never a news article.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from unicodedata import normalize

from perpcs.data.clean import clean_field
from perpcs.data.limits import Limits
from perpcs.data.stars import whole_stars
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, Item, Task

GENERIC_X = ("x", "input", "source", "prompt", "question")
GENERIC_Y = ("y", "output", "target", "answer", "label", "gold", "response", "completion")
X_NAMES = {
    "LaMP_1": ("paper title", "paper"),
    "LaMP_2": ("plot", "overview", "synopsis", "movie", "text"),
    "LaMP_2N": ("article", "article text", "body", "content", "short description"),
    "LaMP_3": ("review", "review text", "review body", "review content", "comment", "body", "content"),
    "LaMP_4": (
        *("article", "article text", "article body", "body", "content", "content text", "content html", "story"),
        "short description",
    ),
    "LaMP_5": ("summary", "paper abstract", "abstract note", "abstract text"),
    "LaMP_7": (
        *("tweet", "full text", "tweet text", "post", "post text", "post content", "message", "message text"),
        *(
            "content",
            "content text",
            "content html",
            "contents",
            "body",
            "comment",
            "comment text",
            "share commentary",
            "status",
            "caption",
        ),
        *("note", "review", "review text", "article"),
    ),
}
Y_NAMES = {
    "LaMP_1": ("cites", "cited", "cited paper", "reference"),
    "LaMP_2": ("genre",),
    "LaMP_2N": ("section", "topic", "class", "news category"),
    "LaMP_3": ("rating", "stars", "star rating", "review rating", "overall", "overall rating", "review score", "grade"),
    "LaMP_4": ("headline", "subject", "post title", "article title"),
    "LaMP_5": ("paper title", "article title", "heading"),
}
PLAIN_NAMES = ("plain", "plain text", "neutral", "original", "paraphrase", "x", "input")
"""What a text was before it became a tweet; counts only beside the tweet."""
TWEET_NAMES = ("tweet", "tweet text", "y", "output", "target")
DATE_NAMES = (
    *("created at", "created", "created utc", "published", "published at", "publish date", "pub date", "posted"),
    *("date", "datetime", "timestamp", "timestamp ms", "time", "unix review time", "review time", "review date"),
    *("date rated", "watched date", "date read", "date added", "issued", "publication date", "publication year"),
    *("year", "update date", "submitted", "sent", "sent at", "ts"),
)
"""From the most telling to the least: a review's own date before the year of what it reviews."""
PERSON_NAMES = (
    *("sender", "sender name", "from", "user id", "reviewer id", "screen name", "username", "user name"),
    *("author id", "reviewer name", "reviewer", "user"),
)
"""Whose text a row is, where rows of several people lie in one file. An author alone may be that of a book."""
_ABOUT = {"id", "author", "user", "url", "link", *DATE_NAMES, *PERSON_NAMES}
_ALL_X = {*GENERIC_X, *(name for names in X_NAMES.values() for name in names)}
_ALL_Y = {*GENERIC_Y, *(name for names in Y_NAMES.values() for name in names)}
_LAMP_X = {name for task in TASKS.values() for name in task.x_fields}
_LAMP_Y = {task.y_field for task in TASKS.values() if task.y_field}
_ELSEWHERE = {
    "text": "texte texto testo tekst texten テキスト 正文 内容 內容 本文 내용 본문 текст",
    "title": "titel titre título titulo titolo überschrift schlagzeile 标题 標題 タイトル 見出し 제목 заголовок",
    "rating": "bewertung sterne calificación puntuación avaliação valutazione 评分 評分 評価 星 별점 평점 оценка",
    "review": "rezension avis reseña recensione resenha 评论 評論 レビュー 리뷰 отзыв",
    "date": "datum fecha 日期 日付 날짜 дата",
}
"""Names that spreadsheets and sites give the same fields in other languages."""
_TRANSLATED = {word: name for name, words in _ELSEWHERE.items() for word in words.split()}
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def plain(name: str) -> str:
    """A field name in lower case, its words apart: ``reviewText`` and ``My review_text (optional)`` are the same."""
    name = re.sub(r"[\s_\-.:]+", " ", _HUMP.sub(" ", re.sub(r"\([^()]*\)", " ", name[:80]))).strip().lower()
    name = re.sub(r"^(?:my|your) (?=.)", "", name)
    return name if name.isascii() and name not in _TRANSLATED else _TRANSLATED.get(normalize("NFC", name), name)


def x_noun(task: Task) -> str:
    """What the task calls its input: ``article``."""
    return task.input_label.rstrip(":").lower()


def y_noun(task: Task) -> str:
    """What the task calls its answer: ``headline``."""
    return task.answer_label.rstrip(":").lower()


def field_names(task: Task) -> str:
    """The task's own fields as they stand in a sentence: ``'text' and 'title'``."""
    return " and ".join(repr(name) for name in (task.x_fields[0], task.y_field) if name)


def x_names(task: Task) -> tuple[str, ...]:
    """Every name under which the task's input may stand, LaMP's own first."""
    return (*task.x_fields, *X_NAMES.get(task.name, ()))


def y_names(task: Task) -> tuple[str, ...]:
    """Every name under which the task's answer may stand, LaMP's own first."""
    return (task.y_field, *Y_NAMES.get(task.name, ())) if task.y_field else ()


def is_header(cells: Iterable[str]) -> bool:
    """Whether a table's record names fields of some task rather than being an item."""
    names = [name for name in map(plain, cells) if name]
    if any(len(name) > 40 for name in names):
        return False
    known = set(names)
    has_x, has_y = bool(known & (_ALL_X | _LAMP_X)), bool(known & (_ALL_Y | _LAMP_Y))
    if len(names) == 1:
        return bool(known & {"text", *X_NAMES["LaMP_7"]} - {"note", "status", "article"})
    pair = bool(known & set(PLAIN_NAMES)) and bool(known & set(TWEET_NAMES))
    return bool(known & _LAMP_X) or pair or (has_x and (has_y or bool(known & _ABOUT)))


def all_known(cells: Iterable[str]) -> bool:
    """Whether every cell is the name of a field that we know."""
    return all(plain(cell) in _LAMP_X | _LAMP_Y | _ALL_X | _ALL_Y | _ABOUT for cell in cells)


def by_name(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that hold something, under their plain names; of two of one name the first."""
    given: dict[str, Any] = {}
    for name, value in fields.items():
        if value is not None and value != "":
            given.setdefault(plain(name), value)
    return given


def lamp_fields(fields: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """The fields under the names that LaMP gives them; only those that the task reads, and the id."""
    given = by_name(fields)
    found = {name: given[name] for name in task.x_fields if name in given}
    if not found:
        synonyms = (*X_NAMES.get(task.name, ()), *GENERIC_X)
        found = next(({task.x_fields[0]: given[name]} for name in synonyms if name in given), {})
    for name in (*y_names(task), *GENERIC_Y) if task.y_field else ():
        if name in given:
            found[task.y_field or ""] = given[name]
            break
    for name in ("id", "other") if task.history_instruction else ("id",):
        if isinstance(given.get(name), str):
            found[name] = given[name]
    if task.y_field is None:
        found |= _paraphrase(given)
    return found


def date_of(fields: Mapping[str, Any]) -> Any:
    """The date of a row, in whatever form it was written; None where it has none."""
    given = by_name(fields)
    return next((given[name] for name in DATE_NAMES if name in given), None)


def person_of(fields: Mapping[str, Any]) -> str:
    """Whose text a row is, where it says so."""
    given = by_name(fields)
    return next((given[name].strip() for name in PERSON_NAMES if isinstance(given.get(name), str)), "")


def _paraphrase(given: Mapping[str, Any]) -> dict[str, Any]:
    """A tweet and the plain text that it was made of, where a row has both."""
    before = next((given[name] for name in PLAIN_NAMES if name in given), None)
    after = next((given[name] for name in TWEET_NAMES if name in given), None)
    return {"text": before, "tweet": after} if before is not None and after is not None else {}


def to_item(fields: Mapping[str, Any], task: Task, limits: Limits) -> tuple[Item, int]:
    """The item, and how many of its fields were cut to the limit.

    Raises:
        PerpcsError: when a field is missing, is no text, or the answer is not one of the task's labels.
    """
    found = lamp_fields(fields, task)
    cut = 0
    for name, value in found.items():
        if not isinstance(value, str):
            kind = {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), "something else")
            raise PerpcsError(f"The field {name!r} holds {kind}, not text.", "Give it one text.")
        text = clean_field(value)
        if name == task.y_field and task.kind == "rating":
            text = whole_stars(text)
        if len(text) > limits.max_chars_per_field:
            text = text[: limits.max_chars_per_field].rstrip()
            cut += name != "id"
        found[name] = text
    tweet = found.pop("tweet", "") if task.y_field is None else ""
    item = task.read_item(found)
    return (Item(item.x, tweet, item.id) if tweet else item), cut
