"""RSS, Atom and WordPress exports by feedparser: posts as articles with their headlines.

The feed is handed over as bytes, never as an address, so nothing is fetched; one that declares entities is refused.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import feedparser

from perpcs.data.exports.given import Given, History, lines_at, row_of
from perpcs.data.limits import Row
from perpcs.data.markup import html_to_text
from perpcs.errors import PerpcsError

_ROOT = re.compile(r"(?:<\?[^>]*>|<!--.*?-->|<!DOCTYPE[^>\[]*>|\s++)*+<(?:\w+:)?(rss|feed|RDF)\b", re.DOTALL)
_PLACE = re.compile(r"<(?:\w+:)?(?:item|entry)\b")
_DECLARATION = re.compile(r"<\?xml[^<>]*\?>")
_KIND = "http://schemas.google.com/g/2005#kind"
"""What Blogger's export says each entry is."""
_SHORTCODE = re.compile(r"\[/?(?:gallery|caption|embed|audio|video|playlist|contact-form|su_\w+|vc_\w+)\b[^\[\]\n]*\]")
"""Markup of WordPress that is no HTML."""
_PUBLISHED = ("", "publish", "inherit")


def feed(given: Given) -> History | None:
    """The posts of a feed or of WordPress's export (published posts; comments are others' words)."""
    if given.sheets or not _ROOT.match(given.text):
        return None
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
