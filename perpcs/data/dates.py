"""Dates as files write them, to put a history in order: years, ISO dates, archive stamps, RFC 822, epochs, CSL parts.

``moment`` gives a tuple that sorts: (year, month, day, second of the day), with 0 for what is not said. Nothing here
needs a calendar beyond that, and a date that cannot be read is None, never an error.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

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
