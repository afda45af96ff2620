"""Reviews with a rating: Letterboxd, Goodreads, StoryGraph, IMDb, Google Maps and Play.

Reviews whose fields have plain names (Amazon's and Yelp's data sets among them) need no reader of their own: the table
of synonyms in ``fields.py`` knows them. A rating stays as the site wrote it; ``stars.py`` makes it whole.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from perpcs.data.exports.given import Given, History, at, row_of, text_at
from perpcs.data.limits import Row
from perpcs.data.markup import without_markup
from perpcs.errors import PerpcsError


def letterboxd(given: Given) -> History | None:
    """reviews.csv of Letterboxd.

    Raises:
        PerpcsError: for its other files, which hold no text of the person's.
    """
    return _table(given, "Letterboxd", ("letterboxd uri",), "reviews.csv", rating="rating", dates=_WATCHED)


def goodreads(given: Given) -> History | None:
    """goodreads_library_export.csv: the books that were reviewed, not those that wait on the shelf."""
    dates = ("date read", "date added")
    return _table(
        given, "Goodreads", ("book id", "exclusive shelf"), "the library export", rating="rating", dates=dates
    )


def storygraph(given: Given) -> History | None:
    """The StoryGraph's export."""
    dates = ("last date read", "date added")
    wanted = ("read status", "star rating")
    return _table(given, "The StoryGraph", wanted, "the library export", rating="star rating", dates=dates)


def imdb(given: Given) -> History | None:
    """Ratings of IMDb, where reviews stand beside them; its stars are ten.

    Raises:
        PerpcsError: for a list without reviews, as IMDb itself exports it.
    """
    return _table(given, "IMDb", ("const",), "your reviews, with columns review and rating", rating="rating", out_of=10)


_WATCHED = ("watched date", "date")
_TEXTS = ("review", "review text", "comment", "description")


def _table(
    given: Given,
    site: str,
    wanted: tuple[str, ...],
    instead: str,
    rating: str,
    dates: tuple[str, ...] = ("date rated", "review date", "date"),
    out_of: int = 5,
) -> History | None:
    """The reviews of a table that has the wanted columns; entries without a text of the person's are left out."""
    table = given.table(*wanted)
    if table is None:
        return None
    given_rows = list(table)
    names = {name for row in given_rows for name in row.fields}
    text_name = next((name for name in _TEXTS if name in names), None)
    if text_name is None:
        listed = ", ".join(sorted(names))[:160]
        raise PerpcsError(f"This file of {site} holds no reviews; its columns are {listed}.", f"Give {instead}.")
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for row in given_rows:
            text = without_markup(text_at(row.fields, text_name))
            score = text_at(row.fields, rating)
            if row.problem:
                yield row
            elif not text:
                left_out["entry without a review"] += 1
            else:
                date = next((row.fields[name] for name in dates if row.fields.get(name)), "")
                scaled = f"{score}/{out_of}" if score and out_of != 5 else score
                yield row_of(row, {"text": text, "score": scaled, "date": date})

    return History(f"{site} reviews", rows(), left_out)


def google_reviews(given: Given) -> History | None:
    """Reviews.json of Google Takeout: those of places (Maps) and those of apps (Play)."""
    reviews = [(found, _google(found.value)) for found in given.objects]
    if not any(review is not None for _, review in reviews):
        return None
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for found, review in reviews:
            if review is None or not review["text"]:
                left_out["entry without a review"] += 1
            else:
                yield row_of(found, review)

    return History("Google reviews", rows(), left_out)


def _google(value: dict[str, Any]) -> dict[str, Any] | None:
    place, app = value.get("properties"), value.get("review")
    if isinstance(place, dict) and {"review_text_published", "five_star_rating_published"} & set(place):
        score = place.get("five_star_rating_published") or ""
        return {"text": text_at(place, "review_text_published"), "score": score, "date": place.get("date")}
    if isinstance(app, dict) and {"starRating", "creationTime"} & set(app):
        score = at(app, "starRating") or ""
        return {"text": text_at(app, "comment"), "score": score, "date": app.get("creationTime")}
    return None
