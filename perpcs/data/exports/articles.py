"""Texts with a title or a rating: papers (BibTeX, CSL-JSON and what Crossref, Semantic Scholar and arXiv give), reviews
(Letterboxd, Goodreads, StoryGraph, IMDb, Google Maps and Play), and posts (RSS, Atom and WordPress, by feedparser).

Zotero's CSV needs no reader of its own: ``fields.py`` knows the names of its columns.

Reviews whose fields have plain names (Amazon's and Yelp's data sets among them) need no reader of their own: the table
of synonyms in ``fields.py`` knows them. A rating stays as the site wrote it; ``fields.py`` makes it whole too.

The feed is handed over as bytes, never as an address, so nothing is fetched; one that declares entities is refused.
"""

import io
import logging
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import bibtexparser
import feedparser
from bibtexparser.middlewares import LatexDecodingMiddleware
from bibtexparser.model import DuplicateBlockKeyBlock, Entry

from perpcs.data.clean import Row, html_to_text, without_markup
from perpcs.data.exports.given import Given, History, at, lines_at, of_json, of_table, of_text, row_of, text_at
from perpcs.errors import PerpcsError

# ---- papers ----------------------------------------------------------------------------------------------------------


logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)  # it would log what people gave
logging.getLogger("pylatexenc").setLevel(logging.CRITICAL)

_ENTRY = re.compile(r"^[ \t]*@(?!comment|string|preamble)[a-zA-Z]+\s*[{(]\s*[^\s,{}=]*\s*,", re.MULTILINE)
_COMMANDS = re.compile(r"\\[a-zA-Z]+|\\[^a-zA-Z\s]|~")
_MADE_OF = {"abstract", "summary"}
_PAPER = {
    *("authors", "author", "DOI", "doi", "paperId", "arxiv_id", "issued", "year", "venue", "journal", "categories"),
    *("published", "externalIds", "container-title", "update_date", "submitter", "publicationDate", "primary_category"),
}


@of_text(_ENTRY.search)
def bibtex(given: Given) -> History | None:
    """A .bib file: the entries that have an abstract."""
    first = _ENTRY.search(given.text)  # soon found: the head has one
    if first is None or given.text.count("\n", 0, first.start()) > 200 or _is_prose(given.text, first.start()):
        return None
    library = bibtexparser.parse_string(given.text)
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        twice = [
            block.ignore_error_block for block in library.failed_blocks if isinstance(block, DuplicateBlockKeyBlock)
        ]
        entries = [*library.entries, *(block for block in twice if isinstance(block, Entry))]
        for entry in sorted(entries, key=lambda entry: entry.start_line or 0):
            fields = {name.lower(): _text_of(str(each.value)) for name, each in entry.fields_dict.items()}
            abstract, title = fields.get("abstract", ""), fields.get("title", "")
            raw = (entry.raw or "")[:300]
            line = (entry.start_line or 0) + 1
            if not abstract:
                left_out["entry without an abstract"] += 1
                continue
            date = fields.get("date") or " ".join(filter(None, (fields.get("month"), fields.get("year"))))
            yield row_of(Row(line, raw), {"abstract": abstract, "title": title, "date": date})
        for block in library.failed_blocks:
            if isinstance(block, DuplicateBlockKeyBlock):
                continue
            problem = ("The entry is not whole BibTeX.", "Close its braces and put commas between its fields.")
            yield Row((block.start_line or 0) + 1, (block.raw or "")[:300], problem=problem)

    return History("BibTeX", rows(), left_out)


def _is_prose(text: str, start: int) -> bool:
    """Whether text stands before the first entry that is no comment: then an entry is quoted in something else."""
    before = [line for line in text[:start].split("\n") if line.strip()]
    return any(not line.lstrip().startswith(("%", "@", "}", "#", "//")) for line in before) and len(before) > 20


def _text_of(value: str) -> str:
    """A field's value as it is printed: LaTeX's accents and commands decoded, braces gone, on one line."""
    if _COMMANDS.search(value):
        value = _DECODER.transform_text(value)
    return re.sub(r"\s+", " ", value.replace("{", "").replace("}", "")).strip()


class _Decoder(LatexDecodingMiddleware):
    def transform_text(self, value: str) -> str:
        """One value decoded; as it is where its LaTeX is broken."""
        decoded, _ = self._transform_python_value_string(value)
        return decoded


_DECODER = _Decoder(allow_inplace_modification=False)


@of_json('"abstract"', '"summary"')
def papers_json(given: Given) -> History | None:
    """Lists of papers as JSON: CSL (Zotero, Crossref), Semantic Scholar, arXiv, and what has title and abstract."""
    entries = [(found, _paper(found.value)) for found in given.objects]
    if not any(_is_paper(paper) for _, paper in entries):
        return None
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for found, paper in entries:
            abstract = _one_line(paper.get("abstract") or (paper.get("summary") if _is_paper(paper) else ""))
            title = _one_line(paper.get("title"))
            if not abstract:
                left_out["paper without an abstract"] += 1
                continue
            names = ("issued", "published", "publicationDate", "published-print", "date", "update_date", "year")
            date = next((paper[name] for name in names if paper.get(name)), "")
            yield row_of(found, {"abstract": abstract, "title": title, "date": date, "id": text_at(paper, "id")})

    return History("a list of papers", rows(), left_out)


def _paper(value: dict[str, Any]) -> dict[str, Any]:
    """The paper of an entry; lists of citations and of search results wrap it."""
    names = ("paper", "citedPaper", "citingPaper", "_source")
    return next((value[name] for name in names if isinstance(value.get(name), dict)), value)


def _is_paper(value: dict[str, Any]) -> bool:
    names = set(value)
    return "title" in names and bool(_MADE_OF & names) and bool(_PAPER & names) and "overall" not in names


def _one_line(value: Any) -> str:
    """A title or abstract on one line; Crossref wraps titles in a list and abstracts in JATS."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return " ".join(without_markup(value).split()) if isinstance(value, str) else ""


# ---- reviews ---------------------------------------------------------------------------------------------------------


@of_table(("letterboxd uri",))
def letterboxd(table: Iterator[Row]) -> History | None:
    """reviews.csv of Letterboxd.

    Raises:
        PerpcsError: for its other files, which hold no text of the person's.
    """
    return _reviews(table, "Letterboxd", "reviews.csv", rating="rating", dates=("watched date", "date"))


@of_table(("book id", "exclusive shelf"))
def goodreads(table: Iterator[Row]) -> History | None:
    """goodreads_library_export.csv: the books that were reviewed, not those that wait on the shelf."""
    dates = ("date read", "date added")
    return _reviews(table, "Goodreads", "the library export", rating="rating", dates=dates)


@of_table(("read status", "star rating"))
def storygraph(table: Iterator[Row]) -> History | None:
    """The StoryGraph's export."""
    dates = ("last date read", "date added")
    return _reviews(table, "The StoryGraph", "the library export", rating="star rating", dates=dates)


@of_table(("const",))
def imdb(table: Iterator[Row]) -> History | None:
    """Ratings of IMDb, where reviews stand beside them; its stars are ten.

    Raises:
        PerpcsError: for a list without reviews, as IMDb itself exports it.
    """
    return _reviews(table, "IMDb", "your reviews, with columns review and rating", rating="rating", out_of=10)


_TEXTS = ("review", "review text", "comment", "description")


def _reviews(
    table: Iterator[Row],
    site: str,
    instead: str,
    rating: str,
    dates: tuple[str, ...] = ("date rated", "review date", "date"),
    out_of: int = 5,
) -> History:
    """The reviews of a table; entries without a text of the person's are left out."""
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


@of_json('"properties"', '"review"')
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


# ---- feeds -----------------------------------------------------------------------------------------------------------


_ROOT = re.compile(r"(?:<\?[^>]*>|<!--.*?-->|<!DOCTYPE[^>\[]*>|\s++)*+<(?:\w+:)?(rss|feed|RDF)\b", re.DOTALL)
_PLACE = re.compile(r"<(?:\w+:)?(?:item|entry)\b")
_DECLARATION = re.compile(r"<\?xml[^<>]*\?>")
_KIND = "http://schemas.google.com/g/2005#kind"
"""What Blogger's export says each entry is."""
_SHORTCODE = re.compile(r"\[/?(?:gallery|caption|embed|audio|video|playlist|contact-form|su_\w+|vc_\w+)\b[^\[\]\n]*\]")
"""Markup of WordPress that is no HTML."""
_PUBLISHED = ("", "publish", "inherit")


@of_text(_ROOT.match)
def feed(given: Given) -> History | None:
    """The posts of a feed or of WordPress's export (published posts; comments are others' words)."""
    if "<!ENTITY" in given.text.upper():
        raise PerpcsError("The XML declares entities, which can grow without bound.", "Save the feed without them.")
    text = _DECLARATION.sub(lambda found: " " * len(found[0]), given.text, count=1)  # it may name another encoding
    parsed = feedparser.parse(io.BytesIO(text.encode("utf-8")), sanitize_html=False, resolve_relative_uris=False)
    lines = lines_at(given.text, [found.start() for found in _PLACE.finditer(given.text)])
    papers = "arxiv.org/" in str(parsed.feed.get("id", "")) + str(parsed.feed.get("link", ""))
    many = len(lines) == len(parsed.entries)
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for number, entry in enumerate(parsed.entries):
            line = lines[number] if many else 1
            body = _body(entry)
            title = html_to_text(entry.get("title", ""))
            kinds = [
                tag["term"].rpartition("#")[2] for tag in entry.get("tags", ()) if _KIND in (tag.get("scheme") or "")
            ]
            if kinds and not {"post", "page"} & set(kinds):
                left_out["other entry of Blogger"] += 1
            elif entry.get("wp_post_type", "post") not in ("post", "page"):
                left_out["attachment or menu"] += 1
            elif entry.get("wp_status", "") not in _PUBLISHED:
                left_out["post that is not published"] += 1
            elif not body and not title:
                left_out["post without text"] += 1
            else:
                place = Row(line, (title or body)[:300])
                date = entry.get("published") or entry.get("updated") or entry.get("wp_post_date")
                tags = [tag["term"] for tag in entry.get("tags", ()) if tag.get("term") and tag.get("scheme") != _KIND]
                category = tags[0] if len(tags) == 1 else ""
                if papers:
                    fields = {"abstract": " ".join(body.split()), "title": " ".join(title.split()), "date": date}
                elif body:
                    fields = {"text": body, "title": title, "category": category, "date": date}
                else:
                    fields = {"tweet": title, "title": title, "date": date}
                yield row_of(place, fields, "" if papers else entry.get("author", ""))

    return History("a list of papers (arXiv)" if papers else "a feed", rows(), left_out)


def _body(entry: Any) -> str:
    """The longest of what the entry holds as its text, without markup."""
    given = [part.get("value", "") for part in entry.get("content", ())] + [entry.get("summary", "")]
    return _SHORTCODE.sub("", html_to_text(max(given, key=len))).strip()
