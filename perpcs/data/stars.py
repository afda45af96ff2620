"""Ratings as sites write them, as whole stars from 1 to 5.

4.0, "4", "4 stars", "★★★★", "4/5", "8/10"     4
4.5, "★★★★½", "9/10"                           5: halves are rounded up, since LaMP's scores are whole
0, "0.0"                                        no rating: sites write it where nobody has rated
"""

import re

from perpcs.errors import PerpcsError

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
