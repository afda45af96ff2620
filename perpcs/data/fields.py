"""From the names people give their fields to the fields of a task, and from there to an item.

One table of synonyms serves the reader and the guesser of tasks. LaMP's own names come first; the others are used only
where LaMP's are absent. Names that LaMP uses for another task are no synonyms: ``abstract`` is never a news article.

Dates as files write them, to put a history in order: years, ISO dates, archive stamps, RFC 822, epochs, CSL parts.

``moment`` gives a tuple that sorts: (year, month, day, second of the day), with 0 for what is not said. Nothing here
needs a calendar beyond that, and a date that cannot be read is None, never an error.

Ratings as sites write them, as whole stars from 1 to 5.

4.0, "4", "4 stars", "★★★★", "4/5", "8/10"     4
4.5, "★★★★½", "9/10"                           5: halves are rounded up, since LaMP's scores are whole
0, "0.0"                                        no rating: sites write it where nobody has rated
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unicodedata import normalize

from perpcs.data.clean import Limits, clean_field
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, Item, Task

# ---- dates -----------------------------------------------------------------------------------------------------------


Moment = tuple[int, int, int, float]

_NAMES = (
    *("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august"),
    *("sep sept september", "oct october", "nov november", "dec december"),
)
_MONTHS = {name: number for number, names in enumerate(_NAMES, start=1) for name in names.split()}
_ISO = re.compile(r"(\d{4})(?:[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?(?![\d-])")
_COMPACT = re.compile(r"((?:19|20)\d\d)([01]\d)([0-3]\d)(?=$|T)")
_EPOCH = re.compile(r"\d{9,10}(?:\.\d*)?|\d{12,13}|\d{15,16}")
_SHORT = re.compile(r"(\d{1,2})[-/. ]+(\d{1,2})[-/.,]+ *(\d{4}|\d\d)(?!\d)")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d+)?))?\s*([ap])?\.?m?", re.IGNORECASE)
_ZONE = re.compile(r"([+-])(\d\d):?(\d\d)\b")
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")


def moment(value: Any, day_first: bool = False) -> Moment | None:
    """When a date was, or None. ``day_first`` settles 03/04/2024 where the numbers themselves do not.

    An object may hold the date: CSL's ``{"date-parts": [[2021, 3]]}``, MongoDB's ``{"$date": ...}``.
    """
    if isinstance(value, dict):
        inner = next((value[name] for name in ("date-parts", "date-time", "raw", "$date") if value.get(name)), None)
        return moment(inner) if inner is not None else None
    if isinstance(value, list):
        parts = value[0] if value and isinstance(value[0], list) else value
        return moment("-".join(str(part) for part in parts[:3])) if parts else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()[:80]
    if _EPOCH.fullmatch(text):
        return _epoch(float(text))
    if found := _COMPACT.match(text):
        return _checked(int(found[1]), int(found[2]), int(found[3]), 0.0)
    if (found := _ISO.match(text)) and 1000 <= int(found[1]) < 3000:
        return _checked(int(found[1]), int(found[2] or 0), int(found[3] or 0), _seconds(text[found.end() :]))
    if found := _SHORT.match(text):
        first, second, year = int(found[1]), int(found[2]), _full_year(found[3])
        by_day = first > 12 or (day_first and second <= 12)
        day, month = (first, second) if by_day else (second, first)
        return _checked(year, month, day, _seconds(text[found.end() :]))
    return _in_words(text)


def in_order(dates: Sequence[Any]) -> list[int] | None:
    """The places of the dates from the oldest to the newest; None where fewer than half are dates.

    What has no date stays behind what stood before it. Equal dates keep their order, save that a file that runs from
    the newest to the oldest is turned round.
    """
    if all(date is None for date in dates):
        return None
    day_first = _is_day_first(dates)
    moments = [moment(date, day_first) for date in dates]
    known = [each for each in moments if each is not None]
    if not known or len(known) * 2 < len(moments):
        return None
    newest_first = all(a >= b for a, b in itertools.pairwise(known)) and known[0] > known[-1]
    filled, last = [], (0, 0, 0, 0.0)
    for each in moments:
        last = each or last
        filled.append(last)
    places = range(len(filled))
    return sorted(reversed(places) if newest_first else places, key=filled.__getitem__)


def _is_day_first(dates: Iterable[Any]) -> bool:
    """Whether 03/04/2024 is in April: a number above twelve shows which place is the day's; else the one in order."""
    found = [match for date in dates if isinstance(date, str) and (match := _SHORT.match(date.strip()))]
    if any(int(match[1]) > 12 for match in found):
        return True
    if any(int(match[2]) > 12 for match in found):
        return False
    keys = [(_full_year(match[3]), int(match[2]), int(match[1])) for match in found]
    return "." in "".join(match[0] for match in found[:1]) or all(a <= b for a, b in itertools.pairwise(keys))


def _in_words(text: str) -> Moment | None:
    """``Tue Nov 01 08:30:00 +0000 2022``, ``Mon, 6 Mar 2023 09:00``, ``March 6, 2023``, ``May 2013``."""
    month = next((_MONTHS[word.lower()] for word in _WORD.findall(text) if word.lower() in _MONTHS), 0)
    if not month:
        return None
    clock = _seconds(text)
    numbers = [int(number[:9]) for number in _NUMBER.findall(_ZONE.sub(" ", _CLOCK.sub(" ", text)))]
    year = next((number for number in numbers if 1000 <= number < 3000), 0)
    if not year and numbers and len(numbers) > 1:
        year = _full_year(f"{numbers[-1] % 100:02d}")
    day = next((number for number in numbers if 1 <= number <= 31), 0)
    return _checked(year, month, day, clock) if year else None


def _seconds(text: str) -> float:
    """The second of the day in UTC, where a clock stands in the text; may leave the day by the zone's hours."""
    found = _CLOCK.search(text)
    if not found:
        return 0.0
    hour = int(found[1]) % 12 + (12 if found[4].lower() == "p" else 0) if found[4] else int(found[1])
    seconds = hour * 3600 + int(found[2]) * 60 + float(found[3] or 0)
    zone = _ZONE.search(text, found.end())
    if zone:
        shift = int(zone[2]) * 3600 + int(zone[3]) * 60
        seconds -= shift if zone[1] == "+" else -shift
    return seconds


def _full_year(digits: str) -> int:
    return int(digits) if len(digits) == 4 else int(digits) + (2000 if int(digits) < 70 else 1900)


def _checked(year: int, month: int, day: int, seconds: float) -> Moment | None:
    if not (0 <= month <= 12 and 0 <= day <= 31):
        return None
    if not 0 <= seconds < 86400:  # the zone's hours lead into the day before or after
        try:
            at = datetime(year, month, day) + timedelta(seconds=seconds)
        except (ValueError, OverflowError):
            return year, month, day, 0.0
        return at.year, at.month, at.day, at.hour * 3600 + at.minute * 60 + at.second
    return year, month, day, seconds


def _epoch(number: float) -> Moment | None:
    """Seconds, milliseconds or microseconds since 1970."""
    while number > 1e11:
        number /= 1000
    at = datetime.fromtimestamp(number, UTC)
    return at.year, at.month, at.day, at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6


# ---- stars -----------------------------------------------------------------------------------------------------------


_OF = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:/|out of|of)\s*(\d{1,9})(?:\s*stars?)?", re.IGNORECASE)
_STARS = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:stars?|★|⭐️?)?", re.IGNORECASE)
_GLYPHS = re.compile(r"([★⭐\ufe0f]*)(½?)([☆\ufe0f]*)")


def number_of(text: str) -> float | None:
    """The rating as a number of stars out of five, or None where the text is no rating."""
    text = text.strip()
    if found := _STARS.fullmatch(text):
        return float(found[1].replace(",", "."))
    if found := _OF.fullmatch(text):
        out_of = int(found[2])
        return float(found[1].replace(",", ".")) * 5 / out_of if out_of in (5, 10, 20, 100) else None
    if text and (glyphs := _GLYPHS.fullmatch(text)):
        return glyphs[1].count("★") + glyphs[1].count("⭐") + (0.5 if glyphs[2] else 0.0)
    return None


def is_between(text: str) -> bool:
    """Whether a rating lies between two whole stars, so that ``whole_stars`` rounds it."""
    number = number_of(text)
    return number is not None and 0 < number <= 5 and number != int(number)


def whole_stars(text: str) -> str:
    """The rating as "1" to "5", halves rounded up; what is no number from 0 to 5 as it is.

    Raises:
        PerpcsError: for 0, which stands for no rating.
    """
    number = number_of(text)
    if number is None or number > 5:
        return text
    if number == 0:
        raise PerpcsError("It has no rating: 0 means unrated.", "Rate it from 1 to 5, or leave it out.")
    return str(max(1, int(number + 0.5)))


# ---- fields ----------------------------------------------------------------------------------------------------------


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
NAMES_OF_X = {task.name: (*task.x_fields, *X_NAMES.get(task.name, ())) for task in TASKS.values()}
"""Every name under which a task's input may stand, LaMP's own first."""
NAMES_OF_Y = {task.name: (task.y_field, *Y_NAMES.get(task.name, ())) for task in TASKS.values() if task.y_field}
"""Every name under which a task's answer may stand, LaMP's own first."""
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
    for name in (*NAMES_OF_Y[task.name], *GENERIC_Y) if task.y_field else ():
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
