"""Text out of markup: HTML to plain text, and the repair of text that was encoded twice.

The tags are found by one regular expression and no tree is built: parsers that build one, Python's own among them, take
minutes over a megabyte of tags that nothing closes, and here everything is read in the time of its length.
"""

import re
from collections.abc import Iterator
from html import unescape

import ftfy

_ELEMENT = re.compile(
    r"<(?:/?(?:p|div|span|blockquote|[uo]l|li|h[1-6]|a|[bius]|em|strong|table|t[rdh]|code|pre|sup|sub|jats:\w+)\b[^<>]*"
    r"|(?:br|hr|img)\b[^<>]*)>",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"</\w[\w:]*>|<(?:br|hr|p|img)\b[^<>]*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[0-9a-fA-F]{1,5});")
_BREAKS = re.compile(r"<(?:br|p|div|li)\b", re.IGNORECASE)
_BLOCKS = frozenset(
    (
        *("div", "blockquote", "ul", "ol", "li", "table", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "article"),
        *("section", "header", "footer", "figure", "jats:p", "jats:title"),
    )
)
_PARAGRAPHS = frozenset(("p", "jats:p"))
_SILENT = frozenset(["script", "style", "head", "title", "template", "noscript", "svg", "iframe"])
_TAG = re.compile(
    r"<!--(?:.*?-->|.*)|<[!?][^>]*+>?|"
    r"<(?P<end>/?)(?P<name>[a-zA-Z][\w:.-]*)(?P<attributes>(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+|[^<>]*+)>",
    re.DOTALL,
)
_CLASS = re.compile(r"(?:class|id)\s*=\s*[\"']?([^\"'>]*)", re.IGNORECASE)
_VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"))


_HUGE = re.compile(r"&#\d{8,};?")
"""Beyond every character; Python refuses to read thousands of digits as a number."""


def decoded(text: str) -> str:
    """The text with HTML's entities as the characters they stand for."""
    return unescape(_HUGE.sub("\ufffd", text))


def holds_markup(text: str) -> bool:
    """Whether a text is HTML rather than prose that speaks of a tag: some element is closed, or is a line break."""
    return "<" in text and _ELEMENT.search(text) is not None and _CLOSED.search(text) is not None


def html_to_text(html: str, skip: frozenset[str] = frozenset()) -> str:
    """The text that a reader of the page sees: a line break for <br>, a blank line between paragraphs.

    Args:
        skip: elements that are left out with all that they hold, by name or as ``.class``: the mail that is quoted.
    """
    if "<" not in html:
        return decoded(html).replace("\xa0", " ").strip()
    if _BREAKS.search(html):  # where elements break the lines, line breaks in the source are spaces
        html = re.sub(r"\s+", " ", html)
    text = "".join(_parts(html, skip)).replace("\xa0", " ")
    text = "\n".join(line.strip(" \t") for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def without_markup(text: str) -> str:
    """A text as it reads, if it is HTML or holds HTML's entities; any other as it is."""
    if holds_markup(text):
        return html_to_text(text)
    return decoded(text).replace("\xa0", " ") if _ENTITY.search(text) else text


def decoded_once(text: str) -> str:
    """Text whose UTF-8 was written as if each byte were a character, as Meta's archives do, read as it was meant."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return ftfy.fix_encoding(text)


def _parts(html: str, skip: frozenset[str]) -> Iterator[str]:
    """The text between the tags, with line breaks where elements make them. One pass, whatever is open or nested."""
    skip = skip | _SILENT
    inside, depth, pos = "", 0, 0  # what is being left out, and how many elements of that name are open in it
    for tag in _TAG.finditer(html):
        if tag.start() > pos and not depth:
            yield decoded(html[pos : tag.start()])
        pos = tag.end()
        name = (tag["name"] or "").lower()
        if not name:  # a comment or a declaration; one that never ends takes all that follows
            continue
        if depth:
            depth += 0 if name != inside else -1 if tag["end"] else 1
        elif name in ("br", "hr"):
            yield "\n"
        elif not tag["end"] and name not in _VOID and (name in skip or _has_class(tag["attributes"], skip)):
            inside, depth = name, int(not tag["attributes"].endswith("/"))
        elif name in _PARAGRAPHS or name in _BLOCKS:
            yield "\n\n" if name in _PARAGRAPHS else "\n"
    if not depth:
        yield decoded(html[pos:])


def _has_class(attributes: str, skip: frozenset[str]) -> bool:
    return any(f".{word}" in skip for found in _CLASS.finditer(attributes) for word in found[1].split())
