"""Papers with title and abstract: BibTeX, CSL-JSON and what Crossref, Semantic Scholar and arXiv give.

Zotero's CSV needs no reader of its own: ``fields.py`` knows the names of its columns.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import bibtexparser
from bibtexparser.middlewares import LatexDecodingMiddleware
from bibtexparser.model import DuplicateBlockKeyBlock, Entry

from perpcs.data.exports.given import Given, History, row_of, text_at
from perpcs.data.limits import Row
from perpcs.data.markup import without_markup

logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)  # it would log what people gave
logging.getLogger("pylatexenc").setLevel(logging.CRITICAL)

_ENTRY = re.compile(r"^[ \t]*@(?!comment|string|preamble)[a-zA-Z]+\s*[{(]\s*[^\s,{}=]*\s*,", re.MULTILINE)
_COMMANDS = re.compile(r"\\[a-zA-Z]+|\\[^a-zA-Z\s]|~")
_MADE_OF = {"abstract", "summary"}
_PAPER = {
    *("authors", "author", "DOI", "doi", "paperId", "arxiv_id", "issued", "year", "venue", "journal", "categories"),
    *("published", "externalIds", "container-title", "update_date", "submitter", "publicationDate", "primary_category"),
}


def bibtex(given: Given) -> History | None:
    """A .bib file: the entries that have an abstract."""
    if given.sheets or not _ENTRY.search(given.text):
        return None
    first = _ENTRY.search(given.text)
    if first is None or given.text[: first.start()].count("\n") > 200 or _is_prose(given.text, first.start()):
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
